"""An HTTP server outside of Rayloom that counts what reaches it: the witness of effects."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Seen:
    """One request: what it was for, and under which key."""

    path: str
    n: int
    key: str


@dataclass
class Witness:
    """Answers `POST /<anything>?n=&ms=&failing=`: after so many ms, with 503 for the first `failing` requests of an `n`."""

    port: int = 0
    seen: list[Seen] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, path: str) -> list[Seen]:
        with self._lock:
            return [each for each in self.seen if each.path == path]

    def keys(self, path: str) -> dict[int, set[str]]:
        """Return the keys under which each number was seen."""
        found: dict[int, set[str]] = {}
        for each in self.of(path):
            found.setdefault(each.n, set()).add(each.key)
        return found

    def take(self, target: str, key: str) -> tuple[int, dict[str, Any]]:
        """Note a request and return the answer."""
        parts = urlsplit(target)
        asked = {name: int(values[0]) for name, values in parse_qs(parts.query).items()}
        with self._lock:
            self.seen.append(Seen(parts.path, asked["n"], key))
            times = Counter((each.path, each.n) for each in self.seen)[parts.path, asked["n"]]
        time.sleep(asked.get("ms", 0) / 1000)
        return (503 if times <= asked.get("failing", 0) else 200), {"n": asked["n"]}


@contextmanager
def witness_at(port: int) -> Iterator[Witness]:
    """Serve on a port of 127.0.0.1 until the block ends."""
    witness = Witness()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = witness.take(self.path, self.headers.get("Idempotency-Key", ""))
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                return  # whoever asked was killed

        def log_message(self, *_arguments: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    witness.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield witness
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
