"""What can go wrong with a provider of language models, as errors of nodes: a code for each thing that somebody can do about it."""

import re
from collections.abc import Mapping
from typing import Any

from actors.chat import error_of
from actors.models import Provider
from nodes.outbound.answers import retry_after_ms
from nodes.outbound.client import AddressRefused, causes
from workflow.errors import NodeError

TEXT_MAX = 500
HIDDEN = "***"
KEY_CHARS_MIN = 8
"""A key as long as this is hidden wherever it stands, a shorter one only as a word of its own."""
KEY_REFUSED = "API_KEY_INVALID"
"""The reason that Gemini gives with a 400 for a wrong key."""


def of_status(provider: str, status: int, body: Any, headers: Mapping[str, str]) -> NodeError:
    """Return the node's error for an answer that is none."""
    told = body.get("error", body) if isinstance(body, dict) else {"message": str(body or "no reason given")[:TEXT_MAX]}
    named = error_of({**(told if isinstance(told, dict) else {"message": str(told)}), "code": _code(told)})
    fields: dict[str, Any] = {"provider": provider, "status": status, "retryable": False}
    if named.code in ("context_too_long", "content_filtered", "schema_unsupported"):
        return NodeError(named.message, named.code, fields)
    reason = str(told.get("message") or told)[:TEXT_MAX] if isinstance(told, dict) else str(told)[:TEXT_MAX]
    message = f"{provider} answers {status}: {reason}"
    if status == 429:
        waits = {"retry_after_ms": retry_after_ms(headers) or 0}
        return NodeError(message, "provider_limited", {**fields, **waits, "retryable": True})
    if status in (401, 402, 403) or KEY_REFUSED in str(told):
        return NodeError(message, "provider_refused", fields)
    if status == 404:
        return NodeError(message, "model_unknown", fields)
    if status >= 500 or status == 408:
        return NodeError(message, "provider_failed", {**fields, "retryable": True})
    return NodeError(message, "model_failed", fields)


def _code(told: Any) -> Any:
    return told.get("code") or told.get("type") if isinstance(told, dict) else None


def unreachable(provider: str, error: Exception) -> NodeError:
    """Return the node's error for a connection that did not come about, or broke."""
    for cause in causes(error):
        if isinstance(cause, AddressRefused):
            return NodeError(str(cause), "http_address_refused", {"provider": provider, "retryable": False})
    return failed(provider, f"cannot be reached: {type(error).__name__}: {error}")


def late(provider: str, timeout_ms: int) -> NodeError:
    """Return the node's error for an answer that has not come in time."""
    return failed(provider, f"has not answered within {timeout_ms} ms")


def cut(provider: str) -> NodeError:
    """Return the node's error for an answer that ended before it said why."""
    return failed(provider, "ended its answer in the middle")


def failed(provider: str, what: str) -> NodeError:
    """Return the node's error for a provider's fault that may be over the next time."""
    return NodeError(f"{provider} {what}"[:TEXT_MAX], "provider_failed", {"provider": provider, "retryable": True})


def key_for(provider: Provider, base_url: str, api_key: str) -> str:
    """Return the key to send: the request's own, or the configured one, which goes to the configured address alone."""
    if api_key or (base_url and base_url.rstrip("/") != provider.base_url.rstrip("/")):
        return api_key
    return provider.api_key


def without_key(error: NodeError, key: str) -> NodeError:
    """Return an error that does not say the key: some providers repeat in their answer what they were sent."""
    if not key or key not in error.message:
        return error
    # A short key may be a part of any word, and would garble the message.
    told = error.message.replace(key, HIDDEN) if len(key) >= KEY_CHARS_MIN else _without_word(error.message, key)
    return NodeError(told, error.code, error.fields)


def _without_word(message: str, word: str) -> str:
    return re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", HIDDEN, message)
