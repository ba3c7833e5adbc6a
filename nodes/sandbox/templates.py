"""Jinja templates (minijinja) in worker processes of their own: what a template does to memory or time ends its worker."""

import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import orjson

from nodes.sandbox import failures
from nodes.sandbox.engine_worker import EngineWorker, Kind
from nodes.sandbox.pool import WorkerPool
from workflow.errors import NodeError
from workflow.spec import CodeLimits

ENGINE = "minijinja._lowlevel"
TEXT_CHARS_MAX = 4_000_000
ADDRESS_SPACE_BYTES = 512 * 2**20
_PROGRAM = Path(__file__).with_name("template_program.py")
_PLACE = re.compile(r" \(in <string>:(\d+)\)")
_TOO_MUCH = ("engine ran out of fuel", "it is longer than")


class TemplateSandbox:
    """Fills templates in, in up to `size` workers."""

    def __init__(self, size: int) -> None:
        self._pool = WorkerPool(lambda: EngineWorker(_PROGRAM, ENGINE, ADDRESS_SPACE_BYTES), size)

    async def close(self) -> None:
        """End all workers, also busy ones."""
        await self._pool.close()

    async def render(
        self, template: str, variables: Mapping[str, Any], limits: CodeLimits, whose: Hashable = None
    ) -> str:
        """Return the template filled in. A variable that is not there may be asked about, not written.

        Raises `NodeError`: `template_failed`, with the line; `template_too_large` where it has taken too many steps, too much memory,
        or gives too long a text; `code_timeout`. None of them is worth another attempt.
        """
        request = orjson.dumps({"template": template, "variables": dict(variables), "charsMax": TEXT_CHARS_MAX})
        try:
            async with self._pool.worker(whose) as worker:
                answer = await worker.run(request, limits)
        except NodeError as error:
            if error.code == "sandbox_crashed":
                raise _too_large("it needed too much memory") from error
            raise
        text = answer.data.decode("utf-8", "replace")
        if answer.kind is Kind.VALUE:
            return text
        raise _failure(text)


def template_error(template: str) -> str:
    """Return what is wrong with the syntax of a template, empty where nothing is. Nothing of it is executed."""
    import minijinja

    try:
        minijinja.Environment().add_template("it", template)
    except minijinja.TemplateError as error:
        return f"line {error.line}: {error.message}" if error.line else error.message
    return ""


def _too_large(why: str) -> NodeError:
    return NodeError(f"the template does too much: {why}", "template_too_large", {"retryable": False})


def _failure(text: str) -> NodeError:
    place, what = _PLACE.search(text), failures.cut(_PLACE.sub("", text))
    if text.startswith(_TOO_MUCH):
        return _too_large(what)
    line = int(place.group(1)) if place else None
    where = f" in line {line}" if line else ""
    return NodeError(
        f"the template cannot be filled in{where}: {what}", "template_failed", {"line": line, "retryable": False}
    )
