"""Rows about models: embeddings batched across executions, the first token of a streamed answer, nearest passages, a long PDF."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from time import perf_counter
from typing import Any
from uuid import UUID

import httpx2
import numpy as np
import psutil

from actors.ids import new_id
from benchmarks.figures import median
from benchmarks.instance import ROOT
from benchmarks.load import Budget, Call, post
from benchmarks.nearest import Passages
from benchmarks.row import Bench, Row
from benchmarks.rows_api import WARM_UP_S, load
from benchmarks.texts import long_pdf, passage

MANY = 64
SHORT = "a short text"
FIRST_TOKEN_S = 0.02
TOKENS = 5
STREAMS_PER_ROUND = 30
PAGES = 500
PDF_LIMIT_S = 600
PROBE_EVERY_S = 0.05
MEBI = 1024 * 1024


def embed_64(bench: Bench) -> Row:
    """64 executions under way that embed a passage each, against one at a time that embeds 64: the same replica computes both."""
    workflow = bench.api.store(_embedding("{{ $json.text }}"))
    many = _embedding_call(bench, workflow, [{"text": passage(0)}])
    one = _embedding_call(bench, workflow, [{"text": passage(number)} for number in range(MANY)])
    for call, connections in ((one, 1), (many, MANY)):
        load(bench, call, connections, Budget(seconds=WARM_UP_S))
    rounds = []
    for _ in range(bench.rounds):
        ours = load(bench, many, MANY, Budget(seconds=bench.seconds))
        alone = load(bench, one, 1, Budget(seconds=bench.seconds))
        rounds.append({"ours": ours.per_second, "one_caller": MANY * alone.per_second})
    return _at_least(
        Row(
            name="embed_64",
            unit="texts/s",
            ours=median(each["ours"] for each in rounds),
            peers={"one caller": median(each["one_caller"] for each in rounds)},
            target=">= 0.75 x one caller",
            rounds=rounds,
            note="passages of about 100 tokens, whole executions over HTTP with their results, one CPU replica",
        ),
        0.75,
    )


def embed_short(bench: Bench) -> Row:
    """Short texts of 64 callers at once, against the same calls one after the other: on the replica, from a driver of the cluster."""
    rounds = []
    for _ in range(bench.rounds):
        told = _driver(bench, "benchmarks.peers.embed_driver", SHORT, str(MANY))
        rounds.append({"ours": told["batched_per_s"], "unbatched": told["unbatched_per_s"]})
    return _at_least(
        Row(
            name="embed_short",
            unit="texts/s",
            ours=median(each["ours"] for each in rounds),
            peers={"unbatched": median(each["unbatched"] for each in rounds)},
            target=">= 4 x unbatched",
            rounds=rounds,
            note=f"calls of one text each through the replica's handle, {MANY} at once against one at a time",
        ),
        4.0,
    )


def first_token(bench: Bench) -> Row:
    """The first token of a streamed answer, from the request that executes, against asking the model's server directly."""
    client = _client(bench)
    with token_server() as address:
        config = {"prompt": "say something", "provider": "vllm", "base_url": address, "model": "m", "api_key": "none"}
        workflow = bench.api.store({"name": "chat", "nodes": [{"id": "ask", "type": "ai.llm", "config": config}]})
        url = f"/workflows/{workflow}/execute?stream=true"
        body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "say something"}]}

        def direct() -> float:
            with httpx2.Client(timeout=30) as other:
                return _until(other, f"{address}/chat/completions", body, '"content"')

        def ours() -> float:
            return _until(client, url, {"input": {}}, "event: token")

        for _ in range(3):
            ours()
            direct()
        rounds = []
        for _ in range(bench.rounds):
            pairs = [(ours(), direct()) for _ in range(STREAMS_PER_ROUND)]
            rounds.append({"ours": median(a for a, _ in pairs), "direct": median(b for _, b in pairs)})
    client.close()
    ours_ms, direct_ms = (median(each[name] for each in rounds) * 1000 for name in ("ours", "direct"))
    return Row(
        name="first_token",
        unit="ms",
        ours=ours_ms,
        peers={"direct": direct_ms},
        ratio=ours_ms - direct_ms,
        target="<= 15 ms more",
        met=ours_ms - direct_ms <= 15,
        rounds=[{name: value * 1000 for name, value in each.items()} for each in rounds],
        note=f"a server on loopback that gives its first token after {FIRST_TOKEN_S * 1000:.0f} ms; the ratio is the difference in ms",
    )


def nearest_50000(bench: Bench) -> Row:
    """Recall@10 of 50,000 passages behind a filter that keeps 1 %, against comparing all of them; and how long it takes."""
    passages = Passages(bench.running.dsn(), UUID(bench.running.workspace_id))
    found = asyncio.run(passages.measure(rounds=max(1, bench.rounds)))
    return Row(
        name="nearest_50000",
        unit="ms p50",
        ours=found.filtered_ms,
        peers={"unfiltered": found.whole_ms},
        ratio=found.filtered_recall,
        target="recall@10 >= 0.95, p50 <= 25 ms",
        met=found.filtered_recall >= 0.95 and found.filtered_ms <= 25,
        rounds=[found.as_json()],
        note=f"ratio is recall@10 with the filter; without it {found.whole_recall:.3f}; 384 dimensions, in clusters",
    )


def pdf_500(bench: Bench) -> Row:
    """A PDF of 500 pages from upload to searchable, and how the API answers meanwhile."""
    client = _client(bench)
    collection = f"bench-{new_id().hex[:8]}"
    client.post("/collections", json={"name": collection}).raise_for_status()
    warm = client.post("/documents", files={"file": ("warm.txt", b"warm up")}, data={"collection": collection}).json()
    _until_indexed(client, warm["id"])
    idle_ms = _probed(bench, Event(), 5.0)
    content = long_pdf(PAGES)
    over = Event()
    peak = _Peak(bench)
    with ThreadPoolExecutor(2) as beside:
        probing = beside.submit(_probed, bench, over, PDF_LIMIT_S)
        watching = beside.submit(peak.watch, over)
        began_s = perf_counter()
        answer = client.post("/documents", files={"file": ("long.pdf", content)}, data={"collection": collection})
        answer.raise_for_status()
        document = _until_indexed(client, answer.json()["id"])
        took_s = perf_counter() - began_s
        over.set()
        busy_ms = probing.result()
        watching.result()
    client.close()
    idle_p99, busy_p99 = _p99(idle_ms), _p99(busy_ms)
    return Row(
        name="pdf_500",
        unit="pages/s",
        ours=PAGES / took_s,
        peers={"API p99 idle ms": idle_p99, "API p99 busy ms": busy_p99},
        ratio=busy_p99 / idle_p99,
        target="API p99 <= 3 x idle",
        met=busy_p99 <= 3 * idle_p99,
        rounds=[{"seconds": took_s, "idle_p50_ms": median(idle_ms), "busy_p50_ms": median(busy_ms)}],
        note=(
            f"{len(content) / MEBI:.1f} MiB, {document['chunk_count']} passages; peak PSS of the instance {peak.mib:.0f} MiB, "
            f"{peak.mib - peak.before_mib:.0f} MiB above idle"
        ),
    )


@contextmanager
def token_server() -> Iterator[str]:
    """Serve OpenAI's wire: tokens at a steady pace. Yields its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            for number in range(TOKENS + 1):
                time.sleep(FIRST_TOKEN_S)
                delta = {"content": f"token{number} "} if number < TOKENS else {}
                choice = {"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}
                told = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
                self.wfile.write(f"data: {json.dumps(told)}\n\n".encode())
                self.wfile.flush()
            self.wfile.write(b"data: [DONE]\n\n")
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


def _client(bench: Bench) -> httpx2.Client:
    limits = httpx2.Limits(max_connections=2 * MANY, max_keepalive_connections=2 * MANY)
    headers = {"X-API-Key": bench.running.api_key}
    return httpx2.Client(base_url=bench.running.workspace_url, headers=headers, timeout=120, limits=limits)


def _embedding(text: str) -> dict[str, Any]:
    nodes = [
        {"id": "start", "type": "trigger.manual"},
        {"id": "embed", "type": "ai.embed", "config": {"text": text}},
    ]
    return {"name": "bench embed", "nodes": nodes, "connections": [{"source": "start", "target": "embed"}]}


def _embedding_call(bench: Bench, workflow_id: str, items: list[dict[str, Any]]) -> Call:
    url = f"{bench.running.workspace_url}/workflows/{workflow_id}/execute?wait=30"
    request = post(url, json.dumps({"input": items}).encode(), bench.running.api_key)
    return Call(request=request, expected=b'"status":"completed"')


def _until(client: httpx2.Client, url: str, body: dict[str, Any], sign: str) -> float:
    """Return the seconds until a line of the streamed answer holds a sign. The answer is read to its end."""
    began_s, seen_s = perf_counter(), 0.0
    with client.stream("POST", url, json=body) as answer:
        for line in answer.iter_lines():
            if not seen_s and sign in line:
                seen_s = perf_counter() - began_s
    if not seen_s:
        raise RuntimeError(f"the stream of {url} had no {sign}")
    return seen_s


def _until_indexed(client: httpx2.Client, document_id: str) -> dict[str, Any]:
    deadline_s = time.monotonic() + PDF_LIMIT_S
    while time.monotonic() < deadline_s:
        found = client.get(f"/documents/{document_id}").json()
        if found["status"] in ("indexed", "failed"):
            if found["status"] == "failed":
                raise RuntimeError(f"the document could not be indexed: {found}")
            return dict(found)
        time.sleep(0.2)
    raise RuntimeError("the document is not indexed in time")


def _probed(bench: Bench, over: Event, seconds: float) -> list[float]:
    """Return how many milliseconds a list of workflows takes, asked for again and again until it is over."""
    took_ms: list[float] = []
    deadline_s = time.monotonic() + seconds
    with _client(bench) as client:
        while time.monotonic() < deadline_s and not over.is_set():
            began_s = perf_counter()
            client.get("/workflows?limit=5").raise_for_status()
            took_ms.append((perf_counter() - began_s) * 1000)
            time.sleep(PROBE_EVERY_S)
    return took_ms


def _p99(values: Sequence[float]) -> float:
    return float(np.percentile(values, 99))


class _Peak:
    """The most memory that the instance's processes have together."""

    def __init__(self, bench: Bench) -> None:
        self._sessions = set(bench.running.sessions())
        self.before_mib = self.mib = self._now_mib()

    def watch(self, over: Event) -> None:
        """Look again and again until it is over."""
        while not over.wait(0.5):
            self.mib = max(self.mib, self._now_mib())

    def _now_mib(self) -> float:
        total = 0
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) in self._sessions or process.name().startswith(("ray::", "postgres")):
                    total += process.memory_full_info().pss
            except (psutil.Error, OSError):
                continue
        return total / MEBI


def _driver(bench: Bench, module: str, *arguments: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-P", "-m", module, bench.running.ray_address(), *arguments],
        env={**bench.running.ray_environment(), "PYTHONPATH": str(ROOT)},
        cwd=bench.running.instance.home.work,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{module} failed: {done.stderr[-2000:]}")
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def _at_least(row: Row, least: float) -> Row:
    (peer,) = row.peers.values()
    row.ratio = row.ours / peer
    row.met = row.ratio >= least
    return row
