"""Page after page of one resource: which request comes next, and where the elements are."""

import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urljoin

from workflow.errors import NodeError
from workflow.http import HttpResponse
from workflow.spec import JsonObject

_LINK = re.compile(r'<([^<>]{1,8192})>\s*;[^,<]{0,200}?\brel="?next\b')
_PAGES_MAX = 100

PAGINATION_SCHEMA: JsonObject = {
    "type": "object",
    "title": "Pages",
    "description": "Asks for page after page; the items of all of them are given together.",
    "required": ["mode"],
    "properties": {
        "mode": {
            "enum": ["page", "offset", "cursor", "next_url", "link_header"],
            "title": "Mode",
            "description": (
                "`page`: a number that grows by one. `offset`: a number that grows by the elements received. `cursor`: a value of "
                "the answer that is sent back. `next_url`: the answer holds the next address. `link_header`: the header `Link` "
                "does (RFC 8288)."
            ),
        },
        "parameter": {"type": "string", "title": "Query parameter", "description": "Of the page, offset or cursor."},
        "start": {
            "type": "integer",
            "minimum": 0,
            "title": "First page or offset",
            "description": "By default 1 and 0.",
        },
        "size_parameter": {"type": "string", "title": "Query parameter of the page size"},
        "size": {"type": "integer", "minimum": 1, "title": "Page size"},
        "path": {
            "type": "string",
            "title": "Path of the cursor or address",
            "description": "Names with dots between them, into the body.",
        },
        "items_path": {
            "type": "string",
            "title": "Path of the elements",
            "description": "Where the list is in the body; empty: the body is the list.",
        },
        "pages_max": {
            "type": "integer",
            "minimum": 1,
            "maximum": 10_000,
            "default": _PAGES_MAX,
            "title": "Pages at most",
            "description": "More pages than this are an error.",
        },
    },
    "additionalProperties": False,
    "allOf": [
        {"if": {"properties": {"mode": {"enum": ["page", "offset"]}}}, "then": {"required": ["parameter"]}},
        {"if": {"properties": {"mode": {"const": "cursor"}}}, "then": {"required": ["parameter", "path"]}},
        {"if": {"properties": {"mode": {"const": "next_url"}}}, "then": {"required": ["path"]}},
        {"if": {"required": ["size"]}, "then": {"required": ["size_parameter"]}},
    ],
}


class Pages:
    """Where one item's paging stands. Without a pagination there is one page."""

    def __init__(self, options: JsonObject | None, url: str) -> None:
        self._options = options or {}
        self._mode = self._options.get("mode", "")
        self._at: Any = self._options.get("start", 1 if self._mode == "page" else 0)
        self.url = url
        self.number = 0
        """How many pages have been read."""

    def query(self) -> list[tuple[str, str]]:
        """Return the query parameters of the page that is due."""
        found = []
        if self._mode in ("page", "offset") or (self._mode == "cursor" and self.number):
            found.append((self._options["parameter"], str(self._at)))
        if "size" in self._options and not (self._mode in ("next_url", "link_header") and self.number):
            found.append((self._options["size_parameter"], str(self._options["size"])))
        return found

    def elements(self, body: Any) -> Sequence[Any]:
        """Return the elements of a page: those of a list, else the body as the only one, if there is one.

        Raises `NodeError` (`http_page_invalid`) where `items_path` leads to something else than a list.
        """
        path = self._options.get("items_path", "")
        if not path:
            return body if isinstance(body, list) else [] if body is None else [body]
        found = _look_up(body, path)
        if found is None:
            return []
        if not isinstance(found, list):
            raise NodeError(f"`{path}` is not a list in the answer", "http_page_invalid", {"retryable": False})
        return found

    def next(self, response: HttpResponse, body: Any) -> bool:
        """Go on to the next page; whether there is one. Raises `NodeError` (`http_too_many_pages`)."""
        if not self._mode:
            return False
        more = self._advance(response, body)
        self.number += 1
        pages_max = self._options.get("pages_max", _PAGES_MAX)
        if more and self.number >= pages_max:
            message = f"there are more than {pages_max} pages"
            raise NodeError(message, "http_too_many_pages", {"pages_max": pages_max, "retryable": False})
        return more

    def _advance(self, response: HttpResponse, body: Any) -> bool:
        match self._mode:
            case "page" | "offset":
                count = len(self.elements(body))
                self._at += 1 if self._mode == "page" else count
                return count > 0 and count >= self._options.get("size", 1)
            case "cursor":
                before, self._at = self._at, _look_up(body, self._options["path"])
                return self._at not in (None, "", False, before)
            case "next_url":
                target = _look_up(body, self._options["path"])
                return self._go_to(response, target if isinstance(target, str) else "")
        link = _LINK.search(response.headers.get("link", "")[:65_536])
        return self._go_to(response, link[1] if link else "")

    def _go_to(self, response: HttpResponse, target: str) -> bool:
        before, self.url = self.url, urljoin(response.url, target) if target else self.url
        return bool(target) and self.url != before


def _look_up(body: Any, path: str) -> Any:
    for name in path.split("."):
        if isinstance(body, dict):
            body = body.get(name)
        elif isinstance(body, list) and name.isdecimal() and int(name) < len(body):
            body = body[int(name)]
        else:
            return None
    return body
