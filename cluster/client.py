"""The command line's view of the HTTP API: what it asks, and what it makes of an answer that is not what it asked
for.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx2

from workflow.errors import BadInput, Conflict, InvalidDefinition, InvalidRequest, NotFound, RayloomError, Unavailable
from workflow.events import TERMINAL_KINDS
from workflow.states import TERMINAL

REQUEST_LIMIT_S = 30.0
READ_LIMIT_S = 60.0
STARTING_TRIES_MAX = 30
STARTING_PAUSE_S = 0.5
"""Together 15 s: about as long as Serve takes to tell its proxy where the API is."""
RECONNECTS_MAX = 10
RECONNECT_PAUSE_S = 0.2
RECONNECT_PAUSE_MAX_S = 2.0
STREAM_STATUS_OVER = 204
PAGE_MAX = 200

TERMINAL_STATUSES = frozenset(status.value for status in TERMINAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of an execution's stream: its number, kind and data."""

    seq: int
    kind: str
    data: dict[str, Any]


def is_ready(base_url: str, limit_s: float) -> bool:
    """Whether the API answers that it is ready, within the limit."""
    try:
        answer = httpx2.get(f"{base_url}/health/ready", timeout=limit_s, trust_env=False)
    except (httpx2.HTTPError, OSError):
        return False
    return bool(answer.status_code == httpx2.codes.OK)


class Client:
    """Speaks to one API as one user of one workspace. Methods raise `Unavailable` when the API does not answer.

    While Serve starts, its proxy answers 404 in plain text to everything, without having asked anybody: then it is asked again.
    """

    def __init__(
        self, base_url: str, workspace_id: str, api_key: str, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._base_url = base_url
        self._pause = pause
        self._workspace = f"/api/v1/workspaces/{workspace_id}"
        # No proxy of the environment: the API is on this host.
        self._http = httpx2.Client(
            base_url=base_url, headers={"X-API-Key": api_key}, timeout=REQUEST_LIMIT_S, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def ask(
        self, method: str, path: str, *, body: Any = None, params: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return the answer; an empty one is an empty object. The path is below the workspace, or begins with a slash.

        Raises `NotFound`, `Conflict`, `InvalidDefinition` or another `InvalidRequest` when the API refuses.
        """
        request: dict[str, Any] = {"params": dict(params or {})}
        if body is not None:
            request |= {"content": json.dumps(body).encode(), "headers": {"Content-Type": "application/json"}}
        answer = self._send(method, path if path.startswith("/") else f"{self._workspace}/{path}", **request)
        return _object(answer) if answer.content else {}

    def listed(self, path: str, params: Mapping[str, Any], limit: int) -> list[dict[str, Any]]:
        """Return the first items of a list, as many as there are up to the limit, from as many pages as that takes."""
        items: list[dict[str, Any]] = []
        asked = dict(params)
        while True:
            page = self.ask("GET", path, params={**asked, "limit": min(limit - len(items), PAGE_MAX)})
            items.extend(page.get("items", ()))
            asked["cursor"] = page.get("next_cursor")
            if not asked["cursor"] or len(items) >= limit:
                return items

    def health(self) -> dict[str, Any]:
        """Return what `/health/ready` says, whatever its status; `ready` is added."""
        answer = self._send("GET", "/health/ready")
        try:
            found = answer.json()
        except ValueError:
            found = {}
        return {**(found if isinstance(found, dict) else {}), "ready": answer.status_code == httpx2.codes.OK}

    def execute(self, definition: bytes, given: Any, wait_s: int = 0) -> dict[str, Any]:
        """Start an execution of a definition. Returns it, finished if that took no longer than `wait_s`.

        Raises `InvalidDefinition` with the findings, or another `InvalidRequest` when the API refuses.
        """
        body = b'{"definition":' + definition + b',"input":' + json.dumps(given).encode() + b"}"
        answer = self._send(
            "POST",
            f"{self._workspace}/executions",
            params={"wait": wait_s},
            content=body,
            headers={"Content-Type": "application/json"},
            timeout=REQUEST_LIMIT_S + wait_s,
        )
        return _object(answer)

    def execution(self, execution_id: str) -> dict[str, Any]:
        """Return an execution."""
        return _object(self._send("GET", f"{self._workspace}/executions/{execution_id}"))

    def nodes(self, execution_id: str) -> list[dict[str, Any]]:
        """Return the node executions of an execution, all pages of them."""
        items: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            params = {"cursor": cursor} if cursor else {}
            page = _object(self._send("GET", f"{self._workspace}/executions/{execution_id}/nodes", params=params))
            items.extend(page.get("items", ()))
            cursor = page.get("next_cursor")
            if not cursor:
                return items

    def follow(self, execution_id: str) -> Iterator[Message]:
        """Yield the messages of an execution up to its terminal one; a broken stream is taken up where it broke."""
        last = 0
        failures = 0
        while failures < RECONNECTS_MAX:
            try:
                for message in self._stream(execution_id, last):
                    failures = 0
                    last = max(last, message.seq)
                    yield message
                    if message.kind in TERMINAL_KINDS:
                        return
            except httpx2.HTTPError:
                pass  # The stream is numbered and durable: the next one begins after the last message we saw.
            if self.execution(execution_id).get("status") in TERMINAL_STATUSES:
                return
            failures += 1
            self._pause(min(RECONNECT_PAUSE_S * failures, RECONNECT_PAUSE_MAX_S))
        raise Unavailable(
            f"the stream of {execution_id} keeps breaking; the execution goes on all the same", "stream_broken"
        )

    def _stream(self, execution_id: str, after: int) -> Iterator[Message]:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": str(after)} if after else {})}
        path = f"{self._workspace}/executions/{execution_id}/events"
        limits = httpx2.Timeout(REQUEST_LIMIT_S, read=READ_LIMIT_S)
        with self._http.stream("GET", path, headers=headers, timeout=limits) as answer:
            if answer.status_code == STREAM_STATUS_OVER or _is_starting(answer):
                return  # `follow` asks for the execution then, which waits for the API
            if answer.is_error:
                answer.read()
                raise _refusal(answer)
            yield from messages(answer.iter_lines())

    def _send(self, method: str, path: str, **request: Any) -> httpx2.Response:
        for tries in range(1, STARTING_TRIES_MAX + 1):
            try:
                answer = self._http.request(method, path, **request)
            except httpx2.HTTPError as error:
                reason = str(error) or type(error).__name__
                raise Unavailable(f"the API at {self._base_url} does not answer: {reason}", "api_unreachable") from None
            if not answer.is_error or path == "/health/ready":
                return answer
            if not _is_starting(answer):
                raise _refusal(answer)
            if tries < STARTING_TRIES_MAX:
                self._pause(STARTING_PAUSE_S)
        raise Unavailable(f"the API at {self._base_url} is not ready yet: only its proxy answers", "api_starting")


def messages(lines: Iterator[str]) -> Iterator[Message]:
    """Yield the numbered messages of a server-sent event stream; heartbeats and unnumbered frames are passed over."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            if name:
                value = value.removeprefix(" ")
                fields[name] = f"{fields[name]}\n{value}" if name == "data" and name in fields else value
            continue
        if "id" in fields and "data" in fields:
            yield Message(seq=int(fields["id"]), kind=fields.get("event", ""), data=json.loads(fields["data"]))
        fields = {}


def _object(answer: httpx2.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unavailable(
            f"the API answered {answer.status_code} with something that is not a JSON object", "bad_answer"
        )
    return found


def _is_starting(answer: httpx2.Response) -> bool:
    """Whether this is Serve's proxy, which knows no application yet: every 404 of the API itself is a problem in JSON."""
    return answer.status_code == httpx2.codes.NOT_FOUND and "json" not in answer.headers.get("content-type", "")


def _refusal(answer: httpx2.Response) -> RayloomError:
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {}
    status = answer.status_code
    message = str(problem.get("detail") or problem.get("title") or f"the API answered {status}")
    code = str(problem.get("code") or f"http_{status}")
    findings = problem.get("findings")
    if isinstance(findings, list):
        return InvalidDefinition(message, code, {"findings": findings})
    kinds: dict[int, type[RayloomError]] = {400: BadInput, 404: NotFound, 409: Conflict}
    kind = kinds.get(status, Unavailable if answer.is_server_error else InvalidRequest)
    told = {name: problem[name] for name in ("errors", "workflows") if isinstance(problem.get(name), list)}
    return kind(message, code, {"status": status, **told})
