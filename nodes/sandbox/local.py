"""The sandbox of one process: both languages and the expressions, a few worker processes each."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from nodes.sandbox.expressions import ExpressionSandbox
from nodes.sandbox.javascript import JavaScriptSandbox
from nodes.sandbox.python import PythonSandbox
from nodes.sandbox.templates import TemplateSandbox
from workflow.scripts import ExpressionLimits, ScriptResults, ScriptTask
from workflow.spec import CodeLimits, CodeResult, Sandbox


@dataclass(frozen=True, slots=True)
class _Engines:
    python: PythonSandbox
    javascript: JavaScriptSandbox
    expressions: ExpressionSandbox
    templates: TemplateSandbox


class LocalSandbox(Sandbox):
    """The sandbox as worker processes that are children of this process.

    Making one costs nothing and a worker is started when it is first needed. `size` is how many workers kind may
    have; more evaluations than that wait for their turn, which does not count against their time limit. `on_behalf` says whose
    turn it is: where several wait, they take turns, and one who has none need not wait for another's code to end.
    """

    def __init__(self, size: int = 2, *, engines: _Engines | None = None, whose: Hashable = None) -> None:
        self._engines = engines or _Engines(
            PythonSandbox(size), JavaScriptSandbox(size), ExpressionSandbox(size), TemplateSandbox(size)
        )
        self._whose = whose

    def on_behalf(self, whose: Hashable) -> "LocalSandbox":
        """Return the same sandbox, the same workers, for what is of somebody: a workspace."""
        return LocalSandbox(engines=self._engines, whose=whose)

    async def start(self) -> None:
        """Start one worker of each kind ahead of need. Raises `NodeError` (`sandbox_crashed`)."""
        await self._engines.python.start()
        await self._engines.javascript.start()
        await self._engines.expressions.start()

    async def close(self) -> None:
        """End every worker, also busy ones, whose evaluations fail; returns when no process is left."""
        await self._engines.python.close()
        await self._engines.javascript.close()
        await self._engines.expressions.close()
        await self._engines.templates.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def python(
        self, body: str, arguments: Mapping[str, Any], limits: CodeLimits, *, each: str = ""
    ) -> CodeResult:
        """Run `body` as the body of a Python function; see `PythonSandbox.evaluate`."""
        return await self._engines.python.evaluate(body, arguments, limits, each=each, whose=self._whose)

    async def javascript(
        self, body: str, arguments: Mapping[str, Any], limits: CodeLimits, *, each: str = ""
    ) -> CodeResult:
        """Run `body` as the body of a JavaScript function; see `JavaScriptSandbox.evaluate`."""
        return await self._engines.javascript.evaluate(body, arguments, limits, each=each, whose=self._whose)

    async def render(self, template: str, variables: Mapping[str, Any], limits: CodeLimits) -> str:
        """Fill a template in; see `TemplateSandbox.render`."""
        return await self._engines.templates.render(template, variables, limits, self._whose)

    async def evaluate(self, task: ScriptTask, limits: ExpressionLimits) -> ScriptResults:
        """Evaluate the expressions of a node; see `Scripts.evaluate`."""
        return await self._engines.expressions.evaluate(task, limits, self._whose)
