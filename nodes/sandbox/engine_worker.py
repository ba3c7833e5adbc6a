"""One process that holds an engine for foreign text (JavaScript, templates), and the socket to it."""

import asyncio
import contextlib
import importlib.util
import socket
import struct
import subprocess
import sys
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from nodes.sandbox import failures
from nodes.sandbox.child import ChildProcess
from workflow.errors import NodeError
from workflow.spec import CodeLimits

_EVALUATIONS_MAX = 1_000
ADDRESS_SPACE_BYTES = 4 * 2**30
_START_TIMEOUT_S = 30.0
_REQUEST = struct.Struct("!QdQ")
_ANSWER = struct.Struct("!BQQ")
CODE_PROGRAM = Path(__file__).with_name("quickjs_program.py")


class Kind(IntEnum):
    """What an answer is."""

    VALUE = 0
    """The JSON of the result."""
    ERROR = 1
    """A report of an exception, as JSON."""
    ENGINE = 2
    """What the engine said when it gave up."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker sent; all of it untrusted."""

    kind: Kind
    data: bytes
    logs: bytes


class EngineWorker:
    """A worker process; started by its first request, used for one request at a time.

    `program` is what runs in it, `engine` the name of the extension module that it is given the path of.
    """

    def __init__(
        self,
        program: Path = CODE_PROGRAM,
        engine: str = "_quickjs",
        address_space_bytes: int = ADDRESS_SPACE_BYTES,
    ) -> None:
        self._program = program
        self._engine = engine
        self._address_space_bytes = address_space_bytes
        self._process: subprocess.Popen[bytes] | None = None
        self._child: ChildProcess | None = None
        self._socket: socket.socket | None = None
        self._evaluations = 0
        self._clean = False
        self._killed = False

    def reusable(self) -> bool:
        """Whether the last request was answered in full and the process lives."""
        if not self._clean or self._killed or self._evaluations >= _EVALUATIONS_MAX:
            return False
        return self._child is not None and not self._child.ended()

    def kill(self) -> None:
        """End the process; whoever waits for its answer gets an error."""
        self._killed = True
        if self._child is not None:
            self._child.kill()

    def finish(self) -> None:
        """Reap the process; blocks until it has ended."""
        if self._process is not None:
            self._process.wait()
        if self._child is not None:
            self._child.close()
        if self._socket is not None:
            self._socket.close()

    async def start(self) -> None:
        """Start the process if there is none, and wait until it is ready. Raises `NodeError` (`sandbox_crashed`)."""
        await self._connected()

    async def _connected(self) -> socket.socket:
        if self._socket is not None:
            return self._socket
        self._socket, child = self._spawn()
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                await self._receive(self._socket, 1)
        except TimeoutError:
            raise failures.crashed("it did not start") from None
        # Only now: it had files to open until here.
        child.restrict(self._address_space_bytes)
        self._clean = True
        return self._socket

    def _spawn(self) -> tuple[socket.socket, ChildProcess]:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-B", str(self._program), _engine_path(self._engine)],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
                start_new_session=True,
            )
        self._child = ChildProcess(self._process.pid)
        return ours, self._child

    async def run(self, request: bytes, limits: CodeLimits) -> Answer:
        """Send a request and return the answer. Raises `NodeError` (`code_timeout`, `sandbox_crashed`)."""
        connection = await self._connected()
        self._clean = False
        self._evaluations += 1
        seconds = limits.timeout_ms / 1000
        head = _REQUEST.pack(len(request), seconds, limits.memory_bytes)
        try:
            async with asyncio.timeout(seconds + failures.KILL_GRACE_MS / 1000):
                answer = await self._exchange(connection, head + request)
        except TimeoutError:
            self.kill()
            raise failures.timed_out(limits) from None
        except BaseException:
            self.kill()
            raise
        self._clean = True
        return answer

    async def _exchange(self, connection: socket.socket, request: bytes) -> Answer:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            await asyncio.get_running_loop().sock_sendall(connection, request)
        kind, data_bytes, logs_bytes = _ANSWER.unpack(await self._receive(connection, _ANSWER.size))
        if kind > Kind.ENGINE or data_bytes + logs_bytes > 8 * failures.RESULT_BYTES_MAX:
            raise failures.crashed("it sent something that is not an answer")
        data = await self._receive(connection, data_bytes)
        return Answer(Kind(kind), data, await self._receive(connection, logs_bytes))

    async def _receive(self, connection: socket.socket, size: int) -> bytes:
        loop = asyncio.get_running_loop()
        buffer = bytearray(size)
        view = memoryview(buffer)
        while view:
            try:
                received = await loop.sock_recv_into(connection, view)
            except ConnectionResetError:
                received = 0
            if received == 0:
                raise self._gone()
            view = view[received:]
        return bytes(buffer)

    def _gone(self) -> NodeError:
        return failures.crashed("it was stopped" if self._killed else "it closed its socket")


def _engine_path(engine: str) -> str:
    spec = importlib.util.find_spec(engine)
    if spec is None or spec.origin is None:
        raise failures.crashed(f"the engine {engine} is not installed")
    return spec.origin
