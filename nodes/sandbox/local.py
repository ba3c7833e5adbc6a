"""The sandbox of one process: both languages and the expressions, a few worker processes each."""

from collections.abc import Mapping
from typing import Any, Self

from nodes.sandbox.expressions import ExpressionSandbox
from nodes.sandbox.javascript import JavaScriptSandbox
from nodes.sandbox.python import PythonSandbox
from nodes.sandbox.templates import TemplateSandbox
from workflow.scripts import ExpressionLimits, ScriptResults, ScriptTask
from workflow.spec import CodeLimits, CodeResult, Sandbox


class LocalSandbox(Sandbox):
    """The sandbox as worker processes that are children of this process.

    Making one costs nothing and a worker is started when it is first needed. `size` is how many workers kind may
    have; more evaluations than that wait for their turn, which does not count against their time limit.
    """

    def __init__(self, size: int = 2) -> None:
        self._python = PythonSandbox(size)
        self._javascript = JavaScriptSandbox(size)
        self._expressions = ExpressionSandbox(size)
        self._templates = TemplateSandbox(size)

    async def start(self) -> None:
        """Start one worker of each kind ahead of need. Raises `NodeError` (`sandbox_crashed`)."""
        await self._python.start()
        await self._javascript.start()
        await self._expressions.start()

    async def close(self) -> None:
        """End every worker, also busy ones, whose evaluations fail; returns when no process is left."""
        await self._python.close()
        await self._javascript.close()
        await self._expressions.close()
        await self._templates.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def python(
        self, body: str, arguments: Mapping[str, Any], limits: CodeLimits, *, each: str = ""
    ) -> CodeResult:
        """Run `body` as the body of a Python function; see `PythonSandbox.evaluate`."""
        return await self._python.evaluate(body, arguments, limits, each=each)

    async def javascript(
        self, body: str, arguments: Mapping[str, Any], limits: CodeLimits, *, each: str = ""
    ) -> CodeResult:
        """Run `body` as the body of a JavaScript function; see `JavaScriptSandbox.evaluate`."""
        return await self._javascript.evaluate(body, arguments, limits, each=each)

    async def render(self, template: str, variables: Mapping[str, Any], limits: CodeLimits) -> str:
        """Fill a template in; see `TemplateSandbox.render`."""
        return await self._templates.render(template, variables, limits)

    async def evaluate(self, task: ScriptTask, limits: ExpressionLimits) -> ScriptResults:
        """Evaluate the expressions of a node; see `Scripts.evaluate`."""
        return await self._expressions.evaluate(task, limits)
