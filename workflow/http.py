"""Outgoing HTTP as node types see it: one request, one answer; who guards the way is not their business."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from workflow.errors import NodeError


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpFile:
    """One part of a multipart body: a field, or a file where `file_name` is given."""

    name: str
    content: bytes
    file_name: str = ""
    mime_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A request. At most one of `content`, `form` and `parts` is given; `json` bodies are content."""

    method: str
    url: str
    query: Sequence[tuple[str, str]] = ()
    headers: Sequence[tuple[str, str]] = ()
    content: bytes | None = None
    form: Sequence[tuple[str, str]] = ()
    parts: Sequence[HttpFile] = ()
    digest: tuple[str, str] | None = None
    """User name and password for HTTP digest authentication."""
    timeout_ms: int = 30_000
    redirects_max: int = 10
    response_bytes_max: int = 16 * 2**20
    verify_tls: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """The answer behind all redirects; header names in lower case, repeated ones joined with a comma."""

    status: int
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    elapsed_ms: float = 0.0
    charset: str = "utf-8"


class HttpClient(Protocol):
    """Sends requests to the world outside."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        """Return the answer, whatever its status.

        Raises `NodeError`: `http_url_invalid`, `http_header_invalid`, `http_address_refused`, `http_connect_failed`, `http_tls_failed`,
        `http_timeout`, `http_response_too_large`, `http_too_many_redirects`, `http_failed`; `fields["retryable"]` says
        whether trying again may help.
        """
        ...


class NoHttp:
    """Stands where there is no way out."""

    async def send(self, request: HttpRequest) -> Any:
        """Refuse."""
        raise NodeError(f"this process sends no HTTP requests ({request.url})", "http_not_here", {"retryable": False})
