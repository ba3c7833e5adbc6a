"""Python in Monty workers."""

from collections.abc import Hashable, Mapping
from typing import Any

import orjson

from nodes.sandbox import failures, python_program
from nodes.sandbox.logs import LogBuffer
from nodes.sandbox.monty_worker import Job, MontyWorker
from nodes.sandbox.pool import WorkerPool
from workflow.errors import NodeError
from workflow.spec import CodeLimits, CodeResult

_START_LIMITS = CodeLimits(timeout_ms=10_000, memory_bytes=16 * 2**20)


class PythonSandbox:
    """Runs Python function bodies in up to `size` Monty workers, each evaluation in a fresh session."""

    def __init__(self, size: int) -> None:
        self._pool = WorkerPool(MontyWorker, size)

    async def start(self) -> None:
        """Start one worker ahead of need."""
        await self.evaluate("return None", {}, _START_LIMITS)

    async def close(self) -> None:
        """End all workers, also busy ones."""
        await self._pool.close()

    async def evaluate(
        self, body: str, arguments: Mapping[str, Any], limits: CodeLimits, *, each: str = "", whose: Hashable = None
    ) -> CodeResult:
        """Run `body` and return what it returned, which went through JSON (tuples are lists, keys are strings).

        A body without `return` gives None. With `each` it runs for every element of `arguments[each]`. Raises
        `NodeError` with code `code_syntax`, `code_error`, `code_timeout`, `code_memory`, `code_result_invalid` or,
        worth another attempt, `sandbox_crashed`; `fields["logs"]` is what was printed. Cancelling kills the worker.
        """
        names = [each] if each else list(arguments)
        program = python_program.program(body, names, each)
        logs = LogBuffer(limits.log_bytes_max)
        job = Job(body, program, orjson.dumps(dict(arguments)).decode(), limits, logs)
        try:
            async with self._pool.worker(whose) as worker:
                text = await worker.run(job)
            if not isinstance(text, str):
                raise failures.bad_result("it is not JSON")
            if not text:
                raise failures.bad_result(f"it is larger than {failures.RESULT_BYTES_MAX // 2**20} MiB")
            return CodeResult(failures.read_result(text.encode()), logs.text())
        except NodeError as error:
            error.fields["logs"] = logs.text()
            raise
