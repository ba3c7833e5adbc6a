"""The effect sink: an HTTP server outside of Rayloom that notes every request that reaches it, and under which key.

`POST /<shape>/<node>?n=&t=&ms=`: answers after `ms` with what was asked and a serial number of its own, so that an output tells
which of several answers it was made from. `…&mood=refuse` answers 422; `mood=flaky` answers the first request of a key with 503,
`mood=mend` with 422.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

REASONS = {200: "OK", 422: "Unprocessable Content", 503: "Service Unavailable"}


@dataclass(frozen=True, slots=True)
class Seen:
    """One request: its key, what it was for, when (Unix seconds) it came, and how it was answered."""

    key: str
    path: str
    tenant: str
    n: int
    at_s: float
    serial: int
    status: int


@dataclass(slots=True)
class Sink:
    """What the server has seen."""

    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    _known: set[str] = field(default_factory=set)
    _open: set[asyncio.StreamWriter] = field(default_factory=set)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["Sink"]:
        """Listen on a free port of 127.0.0.1 until the block ends."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for writer in self._open:
                writer.transport.abort()
            await server.wait_closed()

    def take(self, target: str, key: str, at_s: float) -> tuple[Seen, float]:
        """Note a request and return it with the milliseconds that its answer takes."""
        parts = urlsplit(target)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        first = key not in self._known
        self._known.add(key)
        mood = asked.get("mood", "")
        status = 422 if mood == "refuse" or (mood == "mend" and first) else 503 if mood == "flaky" and first else 200
        seen = Seen(key, parts.path, asked.get("t", ""), int(asked["n"]), at_s, len(self.seen) + 1, status)
        self.seen.append(seen)
        return seen, float(asked.get("ms", 0))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
                await reader.readexactly(int(headers.get("content-length", 0)))
                seen, ms = self.take(head[0].split(" ")[1], headers.get("idempotency-key", ""), time.time())
                await asyncio.sleep(ms / 1000)
                writer.write(_answer(seen.status, {"n": seen.n, "t": seen.tenant, "serial": seen.serial}))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # whoever asked has closed, or was killed
        finally:
            self._open.discard(writer)
            writer.transport.abort()


def _answer(status: int, body: Mapping[str, object]) -> bytes:
    data = json.dumps(body).encode()
    head = (
        f"HTTP/1.1 {status} {REASONS[status]}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    return head.encode() + data
