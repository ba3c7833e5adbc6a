"""`action.http`: sends HTTP requests, one for every item, several at once, and reads the answers, page after page if asked to."""

import asyncio
import base64
from typing import Any

import orjson

from nodes.outbound.answers import bodies, read_body, status_error, whole
from nodes.outbound.pages import PAGINATION_SCHEMA, Pages
from workflow.errors import NodeError
from workflow.http import HttpFile, HttpRequest
from workflow.spec import (
    MAIN,
    Binary,
    Config,
    Effect,
    Example,
    Item,
    Items,
    JsonObject,
    NodeContext,
    NodeSpec,
    NodeType,
    Outputs,
    Problem,
)

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_MIB = 2**20

_PAIRS: JsonObject = {
    "type": "object",
    "default": {},
    "additionalProperties": {
        "anyOf": [
            {"type": ["string", "number", "boolean", "null"]},
            {"type": "array", "items": {"type": ["string", "number", "boolean"]}},
        ]
    },
}

SPEC = NodeSpec(
    type="action.http",
    title="HTTP request",
    category="action",
    description=(
        "Sends a request for every item and gives the answers. Only addresses of the public internet can be reached, and "
        "what the deployment allows."
    ),
    effect=Effect.EFFECT,
    each_item=True,
    aliases=("http_request", "http"),
    timeout_ms=600_000,
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["url"],
        "properties": {
            "method": {
                "enum": list(_METHODS),
                "default": "GET",
                "title": "Method",
                "description": "What is asked of the server.",
            },
            "url": {
                "type": "string",
                "minLength": 1,
                "maxLength": 8_192,
                "title": "URL",
                "description": "With http:// or https://, without a user name or password.",
            },
            "query": {
                **_PAIRS,
                "title": "Query",
                "description": "Added to the URL. A list gives the parameter several times, null leaves it out.",
            },
            "headers": {**_PAIRS, "title": "Headers", "description": "Sent with the request; null leaves one out."},
            "auth": {
                "type": "object",
                "title": "Authentication",
                "description": "How the request says who asks.",
                "required": ["kind"],
                "properties": {
                    "kind": {"enum": ["basic", "bearer", "header", "query", "digest"]},
                    "user": {"type": "string", "title": "User", "description": "For `basic` and `digest`."},
                    "password": {"type": "string", "title": "Password", "x-secret": True},
                    "token": {"type": "string", "title": "Token", "x-secret": True, "description": "For `bearer`."},
                    "name": {"type": "string", "title": "Name", "description": "Of the `header` or `query` parameter."},
                    "value": {"type": "string", "title": "Value", "x-secret": True},
                },
                "additionalProperties": False,
                "allOf": [
                    {
                        "if": {"properties": {"kind": {"enum": ["basic", "digest"]}}},
                        "then": {"required": ["user", "password"]},
                    },
                    {"if": {"properties": {"kind": {"const": "bearer"}}}, "then": {"required": ["token"]}},
                    {
                        "if": {"properties": {"kind": {"enum": ["header", "query"]}}},
                        "then": {"required": ["name", "value"]},
                    },
                ],
            },
            "body_kind": {
                "enum": ["none", "json", "form", "multipart", "raw", "binary"],
                "default": "none",
                "title": "Kind of body",
                "description": (
                    "`json`: any JSON. `form`: fields, URL-encoded. `multipart`: fields, and files of the item. `raw`: a text. "
                    "`binary`: a file of the item."
                ),
            },
            "body": {
                "title": "Body",
                "description": (
                    "For `json` any value; for `form` an object; for `raw` a text; for `binary` the name of one of the item's "
                    "files; for `multipart` an object whose values are texts, or `{file: name}` for a file of the item."
                ),
            },
            "content_type": {"type": "string", "title": "Content type", "description": "For `raw` and `binary`."},
            "response": {
                "enum": ["auto", "json", "text", "binary", "none"],
                "default": "auto",
                "title": "Read the answer as",
                "description": "`auto` goes by its content type. `binary` puts it into the item's file `data`.",
            },
            "output": {
                "enum": ["body", "response"],
                "default": "body",
                "title": "Give",
                "description": (
                    "`body`: an object becomes the item, a list becomes one item for each of its elements, anything else stands "
                    "in the field `body`. `response`: `status_code`, `headers`, `url` and `body`."
                ),
            },
            "fail_on_status": {
                "type": "boolean",
                "default": True,
                "title": "Fail on error status",
                "description": "Whether an answer of 400 and above is a failure, with the code `http_` and the status.",
            },
            "timeout_ms": {
                "type": "integer",
                "minimum": 1,
                "maximum": 600_000,
                "default": 30_000,
                "title": "Time limit (ms)",
                "description": "For one request, its redirects included.",
            },
            "redirects_max": {
                "type": "integer",
                "minimum": 0,
                "maximum": 20,
                "default": 10,
                "title": "Redirects at most",
                "description": "0 gives a redirect as it is.",
            },
            "response_mib_max": {
                "type": "integer",
                "minimum": 1,
                "maximum": 256,
                "default": 16,
                "title": "Largest answer (MiB)",
                "description": "A larger answer is an error; it is not read to its end.",
            },
            "verify_tls": {
                "type": "boolean",
                "default": True,
                "title": "Verify certificates",
                "description": "Whether the certificate of an https server must be valid.",
            },
            "idempotency_header": {
                "type": "string",
                "default": "Idempotency-Key",
                "title": "Header for the idempotency key",
                "description": (
                    "Sent with methods that change something: the same for every attempt at the same item, so that a server "
                    "which knows it does the work once. Empty sends none."
                ),
            },
            "concurrency": {
                "type": "integer",
                "minimum": 1,
                "maximum": 100,
                "default": 5,
                "title": "Requests at once",
                "description": "For all items of the node together.",
            },
            "pagination": PAGINATION_SCHEMA,
        },
        "additionalProperties": False,
        "if": {
            "properties": {"body_kind": {"enum": ["json", "form", "multipart", "raw", "binary"]}},
            "required": ["body_kind"],
        },
        "then": {"required": ["body"]},
    },
    examples=(
        Example(
            title="A page of results, one item for each",
            config={"url": "https://api.example.org/orders", "query": {"customer": "{{ $json.id }}"}},
            items=[{"id": 17}],
        ),
        Example(
            title="Send a JSON body with a token",
            config={
                "method": "POST",
                "url": "https://api.example.org/orders",
                "auth": {"kind": "bearer", "token": "…"},
                "body_kind": "json",
                "body": {"customer": "{{ $json.id }}"},
                "output": "response",
            },
            items=[{"id": 17}],
        ),
    ),
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Send a request for every item. Raises the client's `NodeError`s, and `http_<status>` for an error status."""
    results: list[Items] = [[] for _ in items]
    with context.item(0):
        at_once = config.of(0).get("concurrency", 5) if items else 1
    turns = asyncio.Semaphore(at_once if items and 0 not in context.failed else 1)

    async def one(index: int) -> None:
        async with turns:
            with context.item(index):
                results[index] = await _item(context, config.of(index), items[index], index)

    try:
        async with asyncio.TaskGroup() as group:
            for index in range(len(items)):
                if index not in context.failed:
                    group.create_task(one(index))
    except BaseExceptionGroup as failed:  # the first failure; it has ended the other requests
        raise failed.exceptions[0] from None
    return {MAIN: [item for found in results for item in found]}


def check(config: JsonObject) -> list[Problem]:
    """Check that the URL is one, as far as it is written, and that a GET has no body."""
    found = []
    url = config.get("url")
    if isinstance(url, str) and "{{" not in url.split("://", 1)[0] and not url.startswith(("http://", "https://")):
        found.append(Problem("invalid_url", "an address begins with http:// or https://", "url"))
    if config.get("method", "GET") in ("GET", "HEAD") and config.get("body_kind", "none") != "none":
        found.append(Problem("body_not_sent", f"{config.get('method', 'GET')} has no body", "body_kind"))
    return found


async def _item(context: NodeContext, config: JsonObject, item: Item, index: int) -> Items:
    results: Items = []
    pages = Pages(config.get("pagination"), config["url"])
    while True:
        request = _request(context, config, item, index, pages)
        response = await context.http.send(request)
        if response.status >= 400 and config.get("fail_on_status", True):
            raise status_error(request, response)
        body = read_body(config.get("response", "auto"), response)
        if config.get("output", "body") == "response":
            results.append(whole(response, body, index))
        else:
            results.extend(bodies(pages.elements(body), response, index))
        if not pages.next(response, body):
            return results


def _request(context: NodeContext, config: JsonObject, item: Item, index: int, pages: Pages) -> HttpRequest:
    method = config.get("method", "GET")
    query = [*_pairs(config.get("query", {})), *pages.query()]
    headers = _pairs(config.get("headers", {}))
    names = {name.lower() for name, _ in headers}
    header = config.get("idempotency_header", "Idempotency-Key")
    if method not in _SAFE and header and header.lower() not in names:
        headers.append((header, f"{context.effect_key}:{index}" + (f":{pages.number}" if pages.number else "")))
    digest = None
    auth = config.get("auth") or {}
    match auth.get("kind"):
        case "basic":
            token = base64.b64encode(f"{auth['user']}:{auth['password']}".encode()).decode()
            headers.append(("Authorization", f"Basic {token}"))
        case "bearer":
            headers.append(("Authorization", f"Bearer {auth['token']}"))
        case "header":
            headers.append((auth["name"], auth["value"]))
        case "query":
            query.append((auth["name"], auth["value"]))
        case "digest":
            digest = (auth["user"], auth["password"])
    body = _sent(config, item, headers, names)
    return HttpRequest(
        method=method,
        url=pages.url,
        query=query,
        headers=headers,
        **body,
        digest=digest,
        timeout_ms=min(config.get("timeout_ms", 30_000), context.timeout_ms),
        redirects_max=config.get("redirects_max", 10),
        response_bytes_max=config.get("response_mib_max", 16) * _MIB,
        verify_tls=config.get("verify_tls", True),
    )


def _pairs(values: JsonObject) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, value in values.items():
        if value is not None:
            found.extend((name, _text(each)) for each in (value if isinstance(value, list) else [value]))
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _sent(config: JsonObject, item: Item, headers: list[tuple[str, str]], names: set[str]) -> dict[str, Any]:
    kind, body = config.get("body_kind", "none"), config.get("body")
    mime_type = config.get("content_type", "")
    sent: dict[str, Any] = {}
    match kind:
        case "json":
            sent, mime_type = {"content": orjson.dumps(body)}, mime_type or "application/json"
        case "raw":
            sent, mime_type = {"content": _text(body).encode()}, mime_type or "text/plain; charset=utf-8"
        case "binary":
            file = _file(item, body)
            sent = {"content": base64.b64decode(file["data"])}
            mime_type = mime_type or file["mime_type"] or "application/octet-stream"
        case "form" if isinstance(body, dict):
            return {"form": _pairs(body)}
        case "multipart" if isinstance(body, dict):
            return {"parts": [_part(item, name, value) for name, value in body.items()]}
        case "form" | "multipart":
            raise NodeError(f"a {kind} body is an object", "http_body_invalid", {"retryable": False})
    if mime_type and "content-type" not in names:
        headers.append(("Content-Type", mime_type))
    return sent


def _part(item: Item, name: str, value: Any) -> HttpFile:
    if isinstance(value, dict) and set(value) == {"file"}:
        file = _file(item, value["file"])
        return HttpFile(
            name=name,
            content=base64.b64decode(file["data"]),
            file_name=file.get("file_name", name),
            mime_type=file["mime_type"],
        )
    return HttpFile(name=name, content=_text(value).encode())


def _file(item: Item, name: Any) -> Binary:
    files = item.get("binary", {})
    if not isinstance(name, str) or name not in files:
        known = ", ".join(files) or "none"
        raise NodeError(f"the item has no file {name!r} (it has: {known})", "http_body_invalid", {"retryable": False})
    return files[name]


NODE_TYPE = NodeType(SPEC, run, check)
