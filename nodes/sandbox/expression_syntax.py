"""Whether expressions are JavaScript: they are parsed in this process and never run."""

import re
from collections.abc import Sequence
from typing import Any

from workflow.expression import SyntaxFault

_MEMORY_BYTES = 64 * 2**20
_STACK_BYTES = 256 * 1024
_TIME_S = 2
_PLACE = re.compile(r"<input>:(\d+):(\d+)")
# What is parsed is never reached. In brackets of either kind: what closes one of them does not close the other.
_FORMS = (
    "throw 0;(function(){{'use strict';return ($json)=>(\n{source}\n)}})",
    "throw 0;(function(){{'use strict';[\n{source}\n]}})",
)
_HEAD_LINES = 1


def expression_faults(sources: Sequence[str]) -> list[SyntaxFault | None]:
    """Look whether each source is one expression, without running anything."""
    import quickjs

    context = quickjs.Context()
    context.set_memory_limit(_MEMORY_BYTES)
    context.set_max_stack_size(_STACK_BYTES)
    return [_fault(quickjs, context, source) for source in sources]


def _fault(quickjs: Any, context: Any, source: str) -> SyntaxFault | None:
    context.set_time_limit(_TIME_S)
    for form in _FORMS:
        try:
            context.eval(form.format(source=source))
        except (quickjs.JSException, UnicodeError, ValueError) as error:
            text = str(error)
            if text.startswith("0\n"):
                continue
            return _shown(text, source)
        return SyntaxFault("this is not one expression")
    return None


def _shown(text: str, source: str) -> SyntaxFault:
    message = text.partition("\n")[0]
    place = _PLACE.search(text)
    if place is None:
        return SyntaxFault(message)
    line = int(place[1]) - _HEAD_LINES
    lines = source.split("\n")
    if line > len(lines):
        return SyntaxFault(message, len(lines), len(lines[-1]) + 1)
    return SyntaxFault(message, line, int(place[2])) if line > 0 else SyntaxFault(message)
