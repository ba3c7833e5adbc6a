"""JavaScript in QuickJS workers."""

import re
from collections.abc import Hashable, Mapping
from typing import Any

import orjson

from nodes.sandbox import failures
from nodes.sandbox.engine_worker import Answer, EngineWorker, Kind
from nodes.sandbox.failures import UserError
from nodes.sandbox.logs import LogBuffer
from nodes.sandbox.pool import WorkerPool
from workflow.errors import NodeError
from workflow.spec import CodeLimits, CodeResult

_PARSE_MEMORY_BYTES = 64 * 2**20
_PARSE_STACK_BYTES = 256 * 1024
_PARSE_TIME_S = 2
_PLACE = re.compile(r"<input>:(\d+):\d+")
_FUNCTION_HEAD_LINES = 2
"""How many lines `new Function` puts before the body."""


class JavaScriptSandbox:
    """Runs JavaScript function bodies in up to `size` QuickJS workers, each evaluation in a fresh engine."""

    def __init__(self, size: int) -> None:
        self._pool = WorkerPool(EngineWorker, size)

    async def start(self) -> None:
        """Start one worker ahead of need."""
        async with self._pool.worker() as worker:
            await worker.start()

    async def close(self) -> None:
        """End all workers, also busy ones."""
        await self._pool.close()

    async def evaluate(
        self, body: str, arguments: Mapping[str, Any], limits: CodeLimits, *, each: str = "", whose: Hashable = None
    ) -> CodeResult:
        """Run `body` and return what it returned, as `JSON.stringify` sees it (NaN and undefined become None).

        The body is an ordinary function's: no modules, no `await`. With `each` it runs for every element of
        `arguments[each]`. Raises `NodeError` with the codes of `PythonSandbox.evaluate`. Cancelling kills the worker.
        """
        request = orjson.dumps(
            {
                "body": body,
                "names": [each] if each else list(arguments),
                "values": list(arguments[each]) if each else list(arguments.values()),
                "each": bool(each),
                "resultCharsMax": failures.RESULT_BYTES_MAX,
                "logCharsMax": limits.log_bytes_max + 1,
            }
        )
        async with self._pool.worker(whose) as worker:
            answer = await worker.run(request, limits)
        logs = LogBuffer(limits.log_bytes_max)
        logs.write(_logs(answer))
        try:
            return CodeResult(_value(answer, body, limits), logs.text())
        except NodeError as error:
            error.fields["logs"] = logs.text()
            raise


def syntax_error(body: str) -> UserError | None:
    """Look whether `body` parses as the body of a JavaScript function, without running anything."""
    import quickjs

    context = quickjs.Context()
    context.set_memory_limit(_PARSE_MEMORY_BYTES)
    context.set_max_stack_size(_PARSE_STACK_BYTES)
    context.set_time_limit(_PARSE_TIME_S)
    try:
        # A body that closes the function around it would go on outside of it, but nothing runs after the throw.
        context.eval(f"throw 0;(function(){{\n{body}\n}})")
    except (quickjs.JSException, UnicodeError, ValueError) as error:
        text = str(error)
        if text.startswith("0\n"):
            return None
        type_name, message = _type_and_message(text)
        return UserError(type_name, message, _line(text, 1, body))
    return UserError("SyntaxError", "not the body of a function")


def _logs(answer: Answer) -> str:
    try:
        logs = orjson.loads(answer.logs)
    except orjson.JSONDecodeError:
        return ""
    return logs if isinstance(logs, str) else ""


def _value(answer: Answer, body: str, limits: CodeLimits) -> Any:
    if answer.kind is Kind.VALUE:
        return failures.read_result(answer.data)
    if answer.kind is Kind.ENGINE:
        raise _engine_failure(answer.data.decode("utf-8", "replace"), limits)
    try:
        report = orjson.loads(answer.data)
        stage, index = str(report["stage"]), int(report["index"])
        name, message, stack = str(report["name"]), str(report["message"]), str(report["stack"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        raise failures.raised(UserError("Error", "the error cannot be shown")) from None
    item = index if index >= 0 else None
    if name == "InternalError" and message == "out of memory":
        raise failures.out_of_memory(limits)
    if stage == "parse":
        raise failures.bad_syntax(UserError(name, message, _line(stack, _FUNCTION_HEAD_LINES, body)))
    if stage == "result":
        raise failures.bad_result(f"{name}: {message}" if name else message.removeprefix("thrown: "), item)
    raise failures.raised(UserError(name or "Error", message, _line(stack, _FUNCTION_HEAD_LINES, body), item))


def _engine_failure(text: str, limits: CodeLimits) -> NodeError:
    """Sort out what passed by every `catch`: an interruption, and memory so short that there was no error object."""
    if text.startswith("InternalError: interrupted"):
        return failures.timed_out(limits)
    if text.startswith(("InternalError: out of memory", "null")):
        return failures.out_of_memory(limits)
    return failures.raised(UserError(*_type_and_message(text)))


def _type_and_message(text: str) -> tuple[str, str]:
    type_name, colon, message = text.split("\n", 1)[0].partition(": ")
    return (type_name, message) if colon else ("Error", type_name)


def _line(stack: str, lines_before: int, body: str) -> int | None:
    """Return the user's line of the innermost place in a stack."""
    place = _PLACE.search(stack)
    line = int(place[1]) - lines_before if place else 0
    # The engine gives 1:1 where it does not know (`return null.x`).
    return min(line, body.count("\n") + 1) if line > 0 else None
