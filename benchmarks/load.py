"""The load generator: keep-alive HTTP/1.1 connections in a closed loop, in one process.

It shares the machine with what it measures, so it is an `asyncio.Protocol` that sends the same bytes again and again and
looks at each answer only as far as needed: the status line, the length, and whether a text occurs in the body.
"""

import asyncio
from dataclasses import dataclass, field
from time import perf_counter
from typing import cast
from urllib.parse import urlsplit

HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request and what its answer must be: one of the statuses, with `expected` in the body."""

    request: bytes
    statuses: tuple[bytes, ...] = (b"200",)
    expected: bytes = b""


@dataclass(slots=True)
class Tally:
    """What a load gave. `failures` holds the first few wrong answers."""

    latencies_s: list[float] = field(default_factory=list)
    failed: int = 0
    failures: list[str] = field(default_factory=list)
    began_s: float = 0.0
    ended_s: float = 0.0

    @property
    def per_second(self) -> float:
        """Return the rate of good answers."""
        return len(self.latencies_s) / (self.ended_s - self.began_s)


def post(url: str, body: bytes, api_key: str) -> bytes:
    """Return the bytes of a POST."""
    return _request("POST", url, api_key, body)


def get(url: str, api_key: str = "") -> bytes:
    """Return the bytes of a GET."""
    return _request("GET", url, api_key, b"")


def _request(method: str, url: str, api_key: str, body: bytes) -> bytes:
    parts = urlsplit(url)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {parts.netloc}", f"Content-Length: {len(body)}"]
    if api_key:
        lines.append(f"X-API-Key: {api_key}")
    if body:
        lines.append("Content-Type: application/json")
    return "\r\n".join(lines).encode() + HEAD_END + body


class _Connection(asyncio.Protocol):
    def __init__(self, call: Call, tally: Tally, more: "Budget", done: "asyncio.Future[None]") -> None:
        self._call = call
        self._tally = tally
        self._more = more
        self._done = done
        self._buffer = b""
        self._needed = 0
        self._sent_s = 0.0
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer = self._buffer + data if self._buffer else data
        if not self._needed:
            end = self._buffer.find(HEAD_END)
            if end < 0:
                return
            self._needed = end + len(HEAD_END) + _length(self._buffer[:end])
        if len(self._buffer) >= self._needed:
            self._take(self._buffer[: self._needed])

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._fail(f"connection lost: {exc}")
            self._done.set_result(None)

    def _send(self) -> None:
        if not self._more.take():
            self._done.set_result(None)
            self._transport.close()
            return
        self._buffer, self._needed = b"", 0
        self._sent_s = perf_counter()
        self._transport.write(self._call.request)

    def _take(self, answer: bytes) -> None:
        now_s = perf_counter()
        if answer[9:12] in self._call.statuses and self._call.expected in answer:
            self._tally.latencies_s.append(now_s - self._sent_s)
        else:
            self._fail(answer[:500].decode(errors="replace"))
        self._tally.ended_s = now_s
        self._send()

    def _fail(self, text: str) -> None:
        self._tally.failed += 1
        if len(self._tally.failures) < 3:
            self._tally.failures.append(text)


class Budget:
    """Says whether another request is sent: until a moment, or a number of times."""

    def __init__(self, *, seconds: float | None = None, count: int | None = None) -> None:
        self._until_s = perf_counter() + seconds if seconds is not None else None
        self._left = count

    def take(self) -> bool:
        """Take one request out of the budget; False when it is used up."""
        if self._left is not None:
            self._left -= 1
            return self._left >= 0
        return self._until_s is not None and perf_counter() < self._until_s


async def drive(url: str, call: Call, connections: int, budget: Budget) -> Tally:
    """Keep so many connections busy until the budget is used up."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    tally = Tally(began_s=perf_counter())
    waiting = []
    for _ in range(connections):
        done: asyncio.Future[None] = loop.create_future()
        waiting.append(done)
        await loop.create_connection(
            lambda done=done: _Connection(call, tally, budget, done), parts.hostname, parts.port
        )
    await asyncio.gather(*waiting)
    return tally


def _length(head: bytes) -> int:
    at = head.lower().find(LENGTH)
    if at < 0:
        raise ValueError(f"an answer without a length: {head[:200]!r}")
    return int(head[at + len(LENGTH) :].split(b"\r\n", 1)[0])
