"""HTML that others wrote: what makes parsers take long is refused before they see it.

Parsing and selecting take the square of how deep a page nests and of how many attributes an element has, and `:nth-child`
that of how many elements stand side by side. No page that is meant to be read comes near these limits.
"""

import re
from typing import Final

from workflow.errors import NodeError

CHARS_MAX: Final = 10_000_000
_ELEMENTS_MAX = 60_000
_DEPTH_MAX = 5_000
_ATTRIBUTES_MAX = 5_000

_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")  # our own pattern: linear
_LONG_TAG = re.compile(r"<[a-zA-Z][^<>]{10000}[^<>]*")
_BETWEEN_ATTRIBUTES = re.compile(r"[\s/\"']+")
_NEVER_CLOSED = frozenset(
    [
        "area",
        "base",
        "br",
        "col",
        "dd",
        "dt",
        "embed",
        "hr",
        "img",
        "input",
        "li",
        "link",
        "meta",
        "option",
        "p",
        "param",
        "source",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "tr",
        "track",
        "wbr",
    ]
)


def check_markup(html: str) -> None:
    """Raise `NodeError` (`html_too_complex`) for HTML that would take too long."""
    opened = depth = deepest = 0
    for slash, name in _TAG.findall(html):
        if not slash:
            opened += 1
        if name.lower() in _NEVER_CLOSED:
            continue
        depth = max(depth - 1, 0) if slash else depth + 1
        deepest = max(deepest, depth)
    if opened > _ELEMENTS_MAX:
        raise _too_complex(f"{opened} elements", _ELEMENTS_MAX)
    if deepest > _DEPTH_MAX:
        raise _too_complex(f"elements {deepest} deep", _DEPTH_MAX)
    for match in _LONG_TAG.finditer(html):
        count = len(_BETWEEN_ATTRIBUTES.findall(match[0]))
        if count > _ATTRIBUTES_MAX:
            raise _too_complex(f"an element with about {count} attributes", _ATTRIBUTES_MAX)


def _too_complex(what: str, most: int) -> NodeError:
    return NodeError(f"the HTML has {what}, more than the {most} that are possible", "html_too_complex", {"most": most})
