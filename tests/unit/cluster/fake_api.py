"""An HTTP API that answers what a test tells it, on a free port, and writes down what it was asked."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class FakeApi:
    def __init__(self):
        self.answers = {}
        self.asked = []
        self.base_url = ""

    def answer(self, method, path, status, body, *more):
        """Answer with these, one after the other; the last one for ever."""
        self.answers[method, path] = [(status, body), *more]

    def take(self, method, path):
        left = self.answers.get((method, path))
        if left is None:
            return 404, {"code": "not_found", "detail": f"nothing at {path}"}
        return left.pop(0) if len(left) > 1 else left[0]


def sse(*messages, end="\n"):
    return (
        "".join(
            f": heartbeat\n\nid: {seq}\nevent: {kind}\ndata: {json.dumps({'seq': seq, 'kind': kind, **data})}\n\n"
            for seq, kind, data in messages
        )
        + end
    )


def handler_for(api):
    class Handler(BaseHTTPRequestHandler):
        def respond(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path, _, query = self.path.partition("?")
            api.asked.append((self.command, path, query, dict(self.headers), body))
            status, answer = api.take(self.command, path)
            data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/event-stream" if isinstance(answer, str) else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = respond  # noqa: N815 - the server calls it by this name
        do_POST = respond  # noqa: N815 - the server calls it by this name
        do_DELETE = respond  # noqa: N815 - the server calls it by this name

        def log_message(self, *_):
            pass

    return Handler


@contextmanager
def running_api():
    api = FakeApi()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(api))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    api.base_url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
