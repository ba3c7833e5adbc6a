"""One Monty process, the thread that talks to it, and the way to stop both.

Monty's asyncio client is not used: with it 2 of 35 interpreters aborted on their way out (its threads outlive the
interpreter), and none of 60 with the blocking client, which releases the GIL while it waits.
"""

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from nodes.sandbox import failures, python_program
from nodes.sandbox.child import ChildProcess, seal_descriptors
from nodes.sandbox.failures import UserError
from nodes.sandbox.logs import LogBuffer
from workflow.errors import NodeError
from workflow.spec import CodeLimits

_RECURSION_MAX = 500
_HOST_CALLS_MAX = 10_000
_EVALUATIONS_MAX = 1_000
_ADDRESS_SPACE_BYTES = 4 * 2**30
_SLEEP_MAX_S = 600.0
_SLEEPS = frozenset({"time.sleep", "asyncio.sleep"})


@dataclass(frozen=True, slots=True)
class Job:
    """One evaluation: the user's text, the program around it, its arguments as JSON."""

    body: str
    program: str
    arguments: str
    limits: CodeLimits
    logs: LogBuffer


class MontyWorker:
    """A worker process of Monty; started by its first job, used for one job at a time."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "monty")
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._pool: Any = None
        self._child: ChildProcess | None = None
        self._evaluations = 0
        self._clean = False

    def reusable(self) -> bool:
        """Whether the last job left nothing behind and the process lives."""
        if not self._clean or self._stopped.is_set() or self._evaluations >= _EVALUATIONS_MAX:
            return False
        return self._child is not None and not self._child.ended()

    def kill(self) -> None:
        """End the process and wake up a sleeping job."""
        with self._lock:
            # The process first: woken before that, the program would go on as if it had slept long enough.
            if self._child is not None:
                self._child.kill()
            self._stopped.set()

    def finish(self) -> None:
        """Wait for the thread and reap the process; blocks."""
        self._thread.shutdown(wait=True)
        with self._lock:
            if self._pool is not None:
                with contextlib.suppress(Exception):  # how it takes the death of its process does not matter any more
                    self._pool.__exit__(None, None, None)
                self._pool = None
            if self._child is not None:
                self._child.close()

    async def run(self, job: Job) -> Any:
        """Run a program in a fresh session and return its value.

        Raises `NodeError`; when cancelled or past its time it kills the process.
        """
        loop = asyncio.get_running_loop()
        self._clean = False
        try:
            if self._child is None:
                await loop.run_in_executor(self._thread, self._start)
            done = loop.run_in_executor(self._thread, self._work, job)
            # What an abandoned job ends with interests nobody, but asyncio complains if nobody looks.
            done.add_done_callback(lambda future: future.cancelled() or future.exception())
            await asyncio.wait({done}, timeout=(job.limits.timeout_ms + failures.KILL_GRACE_MS) / 1000)
        except BaseException:
            self.kill()
            raise
        if not done.done():
            self.kill()
            raise failures.timed_out(job.limits)
        return done.result()

    def _start(self) -> None:
        import pydantic_monty as monty

        seal_descriptors()
        try:
            self._pool = monty.Monty(min_processes=1, max_processes=1)
            self._pool.__enter__()
            with self._pool.checkout() as session:
                child = ChildProcess(session.worker_pid)
        except (monty.MontyError, OSError) as error:
            raise failures.crashed(str(error)) from None
        child.restrict(_ADDRESS_SPACE_BYTES)
        with self._lock:
            self._child = child
            if self._stopped.is_set():
                child.kill()

    def _work(self, job: Job) -> Any:
        import pydantic_monty as monty

        try:
            with self._session(job.limits) as session:
                return self._feed(monty, session, job)
        except (monty.MontyCrashedError, OSError) as error:
            raise failures.crashed(str(error)) from None

    def _session(self, limits: CodeLimits) -> Any:
        return self._pool.checkout(
            script_name="code",
            limits={
                "max_feed_duration_secs": limits.timeout_ms / 1000,
                "max_memory": limits.memory_bytes,
                "max_recursion_depth": _RECURSION_MAX,
                "max_suspensions": _HOST_CALLS_MAX,
            },
            os_policy={"sleep": "call_host"},
        )

    def _feed(self, monty: Any, session: Any, job: Job) -> Any:
        def answer(name: str, args: tuple[Any, ...], **_: Any) -> Any:
            if name not in _SLEEPS:
                return monty.NOT_HANDLED
            # Slept here, where a kill can end it: Monty's own sleep goes on although its process is dead.
            if (seconds := float(args[0])) > 0:
                self._stopped.wait(min(seconds, _SLEEP_MAX_S))
            return None

        self._evaluations += 1
        try:
            value = session.feed_run(
                job.program,
                inputs={python_program.ARGUMENTS: job.arguments},
                print_callback=lambda _, text: job.logs.write(text),
                os=answer,
            )
        except monty.MontySyntaxError as error:
            self._clean = True
            # An open bracket swallows the lines around the text; Python's own parser says where it opened.
            own = python_program.syntax_error(job.body, [])
            raise failures.bad_syntax(own or _user_error(error, job)) from None
        except monty.MontyRuntimeError as error:
            raise self._failure(session, error, job) from None
        if self._stopped.is_set():
            raise failures.crashed("it was ended")
        self._clean = True
        return value

    def _failure(self, session: Any, error: Any, job: Job) -> NodeError:
        inner = error.exception()
        if isinstance(inner, TimeoutError) and not error.traceback():
            return failures.timed_out(job.limits)
        if isinstance(inner, MemoryError):
            return failures.out_of_memory(job.limits)
        self._clean = True
        described = _user_error(error, job)
        if "monty syntax parser" in described.message:
            message = described.message.replace("The monty syntax parser", "the sandbox")
            return failures.bad_syntax(UserError("SyntaxError", message, described.line))
        index = self._item_index(session, job)
        if described.line is None:
            return failures.bad_result(described.sentence(), index)
        return failures.raised(UserError(described.type, described.message, described.line, index))

    def _item_index(self, session: Any, job: Job) -> int | None:
        """Ask the session, which outlives an exception, at which element it was."""
        if python_program.INDEX not in job.program:
            return None
        try:
            index = session.feed_run(python_program.INDEX)
        except Exception:  # noqa: BLE001 -- the name may be gone or the process; the error itself matters more
            self._clean = False
            return None
        return index if type(index) is int and index >= 0 else None


def _user_error(error: Any, job: Job) -> UserError:
    type_name, _, message = error.display("type-msg").partition(": ")
    for frame in reversed(error.traceback()):
        if (line := python_program.user_line(frame.line, job.body)) is not None:
            return UserError(type_name, message, line)
    return UserError(type_name, message)
