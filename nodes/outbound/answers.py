"""What an HTTP answer gives: an error, JSON, text, a file; and the items made of it."""

import base64
import email.utils
from collections.abc import Mapping, Sequence
from typing import Any

from workflow.errors import BadInput, NodeError
from workflow.http import HttpRequest, HttpResponse
from workflow.spec import Binary, Item, Items, JsonObject
from workflow.values import decode

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504, 507, 509, 529})
_TEXT_TYPES = ("text/", "application/xml", "application/javascript", "application/x-www-form-urlencoded")


def status_error(request: HttpRequest, response: HttpResponse) -> NodeError:
    """Return the failure that an error status is: code `http_<status>`, retryable where the status says so."""
    text = response.body[:500].decode("utf-8", "replace")
    fields: JsonObject = {
        "status_code": response.status,
        "url": response.url[:500],
        "body": text,
        "retryable": response.status in _AGAIN,
    }
    wait_ms = retry_after_ms(response.headers)
    if wait_ms is not None:
        fields["retry_after_ms"] = wait_ms
    message = f"{request.method} {response.url[:200]} answered {response.status}: {text[:200]}"
    return NodeError(message, f"http_{response.status}", fields)


def retry_after_ms(headers: Mapping[str, str]) -> int | None:
    """Return what `Retry-After` says: seconds, or a date, which counts from the server's own (RFC 9110, 10.2.3).

    The names of the headers are in lower case, or their case does not matter.
    """
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal() and len(text) < 7:
        return int(text) * 1000
    try:
        wanted = email.utils.parsedate_to_datetime(text)
        sent = email.utils.parsedate_to_datetime(headers.get("date", ""))
        return max(0, int((wanted - sent).total_seconds() * 1000))
    except (ValueError, TypeError):
        return None


def read_body(wanted: str, response: HttpResponse) -> Any:
    """Return the body as JSON, text or bytes; nothing where there is none. Raises `NodeError` (`http_response_invalid`)."""
    mime_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if wanted == "auto":
        if mime_type == "application/json" or mime_type.endswith("+json"):
            wanted = "json"
        elif not mime_type or mime_type.startswith(_TEXT_TYPES) or mime_type.endswith("+xml"):
            wanted = "text"
        else:
            wanted = "binary"
    if wanted == "none" or not response.body:
        return None
    if wanted == "json":
        try:
            return decode(response.body)
        except BadInput as error:
            raise NodeError(
                f"the answer of {response.url[:200]} is {error.message}", "http_response_invalid", {"retryable": False}
            ) from None
    if wanted == "text":
        return response.body.decode(_charset(response), "replace").replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return response.body


def _charset(response: HttpResponse) -> str:
    try:
        "".encode(response.charset)
    except LookupError:
        return "utf-8"
    return response.charset


def whole(response: HttpResponse, body: Any, index: int) -> Item:
    """Return the item of a whole answer; a body of bytes becomes its file `data`."""
    answer: JsonObject = {"status_code": response.status, "headers": dict(response.headers), "url": response.url}
    if isinstance(body, bytes):
        return Item(json={**answer, "body": None}, binary={"data": _binary(response)}, paired_item=index)
    return Item(json={**answer, "body": body}, paired_item=index)


def bodies(elements: Sequence[Any], response: HttpResponse, index: int) -> Items:
    """Return the items of the elements of a body."""
    found: Items = []
    for element in elements:
        if isinstance(element, bytes):
            file = _binary(response)
            found.append(Item(json={"status_code": response.status}, binary={"data": file}, paired_item=index))
        else:
            json = element if isinstance(element, dict) else {"body": element}
            found.append(Item(json=json, paired_item=index))
    return found


def _binary(response: HttpResponse) -> Binary:
    mime_type = response.headers.get("content-type", "application/octet-stream").partition(";")[0].strip()
    name = response.url.partition("?")[0].rstrip("/").rpartition("/")[2][:200] or "data"
    data = base64.b64encode(response.body).decode()
    return Binary(data=data, mime_type=mime_type, size_bytes=len(response.body), file_name=name)
