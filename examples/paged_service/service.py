"""A small HTTP service for the example: the metadata of the installed packages, in pages. Standard library only.

Its first line of output is the input of the workflow as JSON. It ends by itself when nobody has asked for a while.

    GET /packages?page=1     {"packages": [...], "next": "/packages?page=2"}; the first request for every third page
                             is answered with 503 and Retry-After
    GET /packages/<name>     one package; 404 when it is not installed
"""

import argparse
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import Distribution, distributions
from pathlib import PurePosixPath
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

HOST = "127.77.0.1"
"""A loopback address that nothing else uses: `make run` allows workflows to reach this one and no other."""
PAGE_SIZE = 25
BUSY_EVERY = 3


def canonical(name: str) -> str:
    """Return a package's name as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def describe(distribution: Distribution) -> dict[str, Any]:
    """Return what the service tells of a package."""
    metadata = distribution.metadata
    required = {}
    for line in distribution.requires or []:
        text, _, marker = line.partition(";")
        if "extra ==" not in marker:
            required[canonical(re.split(r"[^A-Za-z0-9._-]", text.strip(), maxsplit=1)[0])] = marker.strip()
    return {
        "name": canonical(metadata["Name"]),
        "version": distribution.version,
        "summary": (metadata.get("Summary") or "")[:100],
        "bytes": sum(file.size or 0 for file in distribution.files or ()),
        "requires": [{"name": name, "marker": required[name]} for name in sorted(required)],
    }


class Handler(BaseHTTPRequestHandler):
    """Answers requests."""

    protocol_version = "HTTP/1.1"
    packages: ClassVar[dict[str, dict[str, Any]]] = {}
    pages_asked: ClassVar[set[int]] = set()
    last_asked_s: ClassVar[float] = time.monotonic()

    def do_GET(self) -> None:
        """Answer a request."""
        Handler.last_asked_s = time.monotonic()
        address = urlsplit(self.path)
        path = PurePosixPath(address.path)
        if str(path) == "/packages":
            self._page(int(parse_qs(address.query).get("page", ["1"])[0]))
        elif str(path.parent) == "/packages" and path.name in self.packages:
            found = self.packages[path.name]
            self._answer(200, {name: found[name] for name in ("name", "version", "summary", "bytes")})
        else:
            self._answer(404, {"detail": f"{path.name} is not installed"})

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name that the library gives it
        """Say nothing: the example's report is what is printed."""

    def _page(self, number: int) -> None:
        if number % BUSY_EVERY == 0 and number not in self.pages_asked:
            self.pages_asked.add(number)
            self._answer(503, {"detail": "busy"}, {"Retry-After": "1"})
            return
        names = sorted(self.packages)
        end = number * PAGE_SIZE
        following = f"/packages?page={number + 1}" if end < len(names) else None
        page = [self.packages[name] for name in names[end - PAGE_SIZE : end]]
        fields = ("name", "version", "requires")
        self._answer(200, {"packages": [{f: each[f] for f in fields} for each in page], "next": following})

    def _answer(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **(headers or {}),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def serve(api: str, idle_s: float) -> None:
    """Serve until nobody has asked for so long."""
    found = [distribution for distribution in distributions() if distribution.metadata["Name"]]
    Handler.packages = {each["name"]: each for each in map(describe, found)}
    Handler.pages_asked = set()
    Handler.last_asked_s = time.monotonic()
    server = ThreadingHTTPServer((HOST, 0), Handler)
    print(json.dumps({"api": api, "service": f"http://{HOST}:{server.server_address[1]}"}), flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while time.monotonic() - Handler.last_asked_s < idle_s:
        time.sleep(0.2)
    server.shutdown()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serves the metadata of the installed packages in pages.")
    parser.add_argument("--api", default="http://127.0.0.1:8000", help="where Rayloom's own API is")
    parser.add_argument("--idle-s", type=float, default=60, help="ends when nobody has asked for so long")
    arguments = parser.parse_args()
    serve(arguments.api, arguments.idle_s)
