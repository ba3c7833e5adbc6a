"""A TCP proxy before PostgreSQL that cuts connections at the worst moment: after a commit, before its answer.

It reads the protocol only as far as needed: which prepared statement a `Bind` names, where a cycle ends (`Sync`), and when the
server has committed it (`ReadyForQuery`, which follows the commit; `CommandComplete` comes before). The answer of a chosen
statement is held back until then, and given or lost as a whole.
"""

import asyncio
import contextlib
import struct
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

HEAD = struct.Struct("!ci")
LENGTH = struct.Struct("!i")
FIELDS = struct.Struct("!h")
IDLE = b"I"


Row = list[bytes | None]


@dataclass(slots=True)
class CuttingProxy:
    """Stands before a server, and loses answers to commits that have written something, as often as `wants_cut` says so.

    `chosen` names a statement by its text, or gives nothing; `wrote` says of a row of its answer whether it tells of a write.
    """

    server_host: str
    server_port: int
    chosen: Callable[[bytes], str]
    wrote: Callable[[str, Row], bool]
    wants_cut: Callable[[], bool]
    port: int = 0
    cuts: Counter[str] = field(default_factory=Counter)
    """Commits whose answers were lost, by statement."""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["CuttingProxy"]:
        """Listen on a free port of 127.0.0.1 until the block ends."""
        listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        async with listener:
            yield self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(self.server_host, self.server_port)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(self)
        ways = {
            asyncio.ensure_future(link.from_client(reader, server_writer)),
            asyncio.ensure_future(link.from_server(server_reader, writer)),
        }
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            writer.transport.abort()
            server_writer.transport.abort()
            await asyncio.gather(*ways, return_exceptions=True)


class _Link:
    """One connection: its prepared statements, and the cycles that the server has not answered yet."""

    def __init__(self, proxy: CuttingProxy) -> None:
        self._proxy = proxy
        self._statements: dict[bytes, str] = {}
        self._cycle = ""
        self._cycles: deque[str] = deque()
        self._held: list[bytes] = []
        self._wrote = False

    async def from_client(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            length = await reader.readexactly(4)
            server.write(length + await reader.readexactly(LENGTH.unpack(length)[0] - 4))  # the startup has no type
            while True:
                kind, message = await _message(reader)
                self._note(kind, message[HEAD.size :])
                server.write(message)
                await server.drain()

    async def from_server(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                kind, message = await _message(reader)
                if self._lost(kind, message):
                    return
                self._held.append(message)
                if kind == b"Z" or not self._awaited():
                    client.write(b"".join(self._held))
                    self._held.clear()
                    await client.drain()

    def _note(self, kind: bytes, body: bytes) -> None:
        if kind == b"P":
            name, text = body.split(b"\0", 2)[:2]
            self._statements[name] = self._proxy.chosen(text)
        elif kind == b"B":
            self._cycle = self._statements.get(body.split(b"\0", 2)[1], "") or self._cycle
        elif kind in (b"S", b"Q"):
            self._cycles.append(self._cycle)
            self._cycle = ""

    def _awaited(self) -> str:
        return self._cycles[0] if self._cycles else self._cycle

    def _lost(self, kind: bytes, message: bytes) -> bool:
        """Whether the connection ends here: the statement is committed, and nobody hears of it."""
        if kind == b"D" and (statement := self._awaited()):
            self._wrote = self._wrote or self._proxy.wrote(statement, _fields(message[HEAD.size :]))
        if kind != b"Z" or not self._cycles:
            return False
        statement, wrote, self._wrote = self._cycles.popleft(), self._wrote, False
        if not wrote or message[-1:] != IDLE or not self._proxy.wants_cut():
            return False
        self._proxy.cuts[statement] += 1
        return True


def _fields(body: bytes) -> Row:
    fields: Row = []
    place = FIELDS.size
    for _ in range(FIELDS.unpack_from(body)[0]):
        (length,) = LENGTH.unpack_from(body, place)
        place += LENGTH.size
        fields.append(None if length < 0 else body[place : place + length])
        place += max(length, 0)
    return fields


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(HEAD.size)
    kind, length = HEAD.unpack(head)
    return kind, head + await reader.readexactly(length - 4)
