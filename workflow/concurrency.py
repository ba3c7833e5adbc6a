"""Concurrency keys: which executions are counted together, worked out when an execution is accepted, without an engine."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Any
from uuid import UUID

import orjson

from workflow import expression
from workflow.document import ConcurrencySettings
from workflow.errors import BadInput
from workflow.expression import Frame, NeedsEngine, Placeholder, Scope, ScriptFailure
from workflow.expression.paths import Undefined, as_text
from workflow.findings import Finding, error
from workflow.ports import Concurrency
from workflow.spec import Items

KEY_CHARS_MAX = 200
"""Of a key as it was filled in; a longer one is cut and ends with its hash, so that keys that differ stay apart."""
FIELD = "settings.concurrency.key"
NOBODY = UUID(int=0)


class ConcurrencyTemplate:
    """The settings with their key parsed once. Raises `BadInput` where it does not parse."""

    __slots__ = ("_parts", "_scope", "_settings", "_workflow_id")

    def __init__(self, settings: ConcurrencySettings, workflow_id: UUID | None, workflow_name: str) -> None:
        self._settings = settings
        self._workflow_id = workflow_id
        self._scope = f"name:{workflow_name}" if workflow_id is None else str(workflow_id)
        self._parts = tuple(_parts(settings.key))

    def of(self, given: Any) -> Concurrency | None:
        """Return the key of an execution that is given this input; None where there is no limit.

        What is missing in the input is an empty text. Executions of a definition that is not stored are counted by its name.
        """
        if not self._settings.limit:
            return None
        frame = _frame(given, self._workflow_id)
        scope = Scope(frame, 0, {})
        filled = "".join(part if isinstance(part, str) else _text(part, scope) for part in self._parts)
        key = orjson.dumps([self._scope, _cut(filled)]).decode()
        return Concurrency(key=key, limit=self._settings.limit, on_limit=self._settings.on_limit)


def shown_key(key: str) -> str:
    """Return a key as it was filled in, without what it belongs to."""
    return str(orjson.loads(key)[1])


def concurrency_findings(settings: ConcurrencySettings) -> Iterator[Finding]:
    """Find what keeps the key from being worked out when an execution is accepted."""
    found = expression.problems({"key": settings.key})
    for problem in found:
        yield error(problem.code, problem.message, "", FIELD)
    if found:
        return
    for placeholder in expression.compile_value(settings.key).placeholders:
        if placeholder.path is None or placeholder.uses.nodes:
            message = f"{placeholder.source.strip()[:100]!r}: a concurrency key takes plain paths into the input, such as $json.customer"
            yield error("concurrency_key_not_plain", message, "", FIELD)


def _parts(text: str) -> Iterator[str | Placeholder]:
    position = 0
    for placeholder in expression.compile_value(text).placeholders:
        if placeholder.path is None:
            raise BadInput("a concurrency key takes plain paths into the input", "concurrency_key_not_plain")
        yield text[position : placeholder.position - 2]
        yield placeholder
        position = placeholder.position + len(placeholder.source) + 2
    yield text[position:]


def _frame(given: Any, workflow_id: UUID | None) -> Frame:
    objects = given if isinstance(given, list) else [given]
    items: Items = [{"json": each} for each in objects if isinstance(each, dict)]
    return Frame(items=items, execution_id=NOBODY, workflow_id=workflow_id, workflow_name="")


def _text(placeholder: Placeholder, scope: Scope) -> str:
    if placeholder.path is None:
        return ""
    try:
        value = placeholder.path.evaluate(scope)
    except (ScriptFailure, NeedsEngine):
        return ""
    if value is None or value is Undefined:
        return ""
    try:
        return as_text(value)
    except NeedsEngine:  # a number that JavaScript would write otherwise: any spelling tells it from others
        return orjson.dumps(value).decode()


def _cut(text: str) -> str:
    data = text.replace("\0", "").encode("utf-8", "replace")
    text = data.decode()
    if len(text) <= KEY_CHARS_MAX:
        return text
    ending = sha256(data).hexdigest()
    return text[: KEY_CHARS_MAX - len(ending)] + ending
