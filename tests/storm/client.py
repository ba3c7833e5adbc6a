"""A client of the API as one should be: it asks again, with the same key, until it has an answer."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from random import Random
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx2

from workflow.events import TERMINAL_KINDS

TIMEOUT_S = 20.0
PAUSE_S, PAUSE_MAX_S = 0.05, 1.0
GIVE_UP_S = 240.0
PROXY_KNOWS_NOTHING = "404 of the proxy"
"""While Serve has no application yet, its proxy answers 404 for every path: that is nothing that Rayloom says."""


class Refused(Exception):
    """An answer that no other try would change, or no answer at all for a long time."""


@dataclass(frozen=True, slots=True)
class Retried:
    """A request that failed at first: when (Unix seconds) it failed, when it succeeded, what the failures were."""

    failed_s: float
    succeeded_s: float
    failures: tuple[str, ...]


@dataclass(slots=True)
class Client:
    """Speaks to the API for one workspace."""

    base_url: str
    workspace_id: UUID
    api_key: str
    random: Random
    retried: list[Retried] = field(default_factory=list)
    reconnects: int = 0
    answered_in: set[int] = field(default_factory=set)
    """The seconds (Unix) in which any answer came that was wanted."""
    http: httpx2.AsyncClient = field(init=False)

    def __post_init__(self) -> None:
        limits = httpx2.Limits(max_connections=400, max_keepalive_connections=100, keepalive_expiry=2)
        self.http = httpx2.AsyncClient(
            base_url=f"{self.base_url}/api/v1/workspaces/{self.workspace_id}",
            headers={"X-API-Key": self.api_key},
            timeout=TIMEOUT_S,
            trust_env=False,
            limits=limits,
        )

    async def store(self, document: Mapping[str, Any]) -> str:
        """Store a workflow and return its id."""
        answer = await self.ask("POST", "/workflows", {201}, json=dict(document))
        return str(answer.json()["id"])

    async def execute(self, workflow_id: str, given: Any, key: str, wait_s: float = 0) -> dict[str, Any]:
        """Ask for an execution under a key, wait so long for its end, and return what was answered."""
        answer = await self.ask(
            "POST",
            f"/workflows/{workflow_id}/execute",
            {200, 202},
            json={"input": given},
            params={"wait": wait_s},
            headers={"Idempotency-Key": key},
        )
        return dict(answer.json())

    async def control(self, execution_id: UUID, wish: str) -> bool:
        """Ask for an execution to `cancel`, `pause` or `resume`; whether that fits where it stands."""
        return (await self.ask("POST", f"/executions/{execution_id}/{wish}", {202, 409})).status_code == 202

    async def requests(self, execution_id: UUID) -> list[dict[str, Any]]:
        """Return what an execution asks and nobody has answered."""
        asked = {"execution_id": str(execution_id), "status": "pending"}
        return list((await self.ask("GET", "/hitl", {200}, params=asked)).json()["items"])

    async def respond(self, path: str, body: Mapping[str, Any]) -> tuple[int, bool]:
        """Answer a request, by its path in the workspace or by its link.

        Returns the status, 200 or 409, and whether a try before that had no answer that says what became of it.
        """
        url = f"{self.base_url}{urlsplit(path).path}" if "://" in path else path
        answer, failures = await self._ask("POST", url, {200, 409}, json=dict(body))
        return answer.status_code, bool(failures)

    async def show(self, execution_id: UUID) -> dict[str, Any]:
        """Return an execution."""
        return dict((await self.ask("GET", f"/executions/{execution_id}", {200})).json())

    async def ask(self, method: str, path: str, wanted: set[int], **parts: Any) -> httpx2.Response:
        """Send a request until it is answered with one of the wanted statuses. Raises `Refused`."""
        return (await self._ask(method, path, wanted, **parts))[0]

    async def _ask(self, method: str, path: str, wanted: set[int], **parts: Any) -> tuple[httpx2.Response, list[str]]:
        failures: list[str] = []
        first_s, pause_s = 0.0, PAUSE_S
        while True:
            try:
                answer = await self.http.request(method, path, **parts)
            except httpx2.HTTPError as error:
                failure = type(error).__name__
            else:
                if answer.status_code in wanted:
                    self.answered_in.add(int(time.time()))
                    if failures:
                        self.retried.append(Retried(first_s, time.time(), tuple(failures)))
                    return answer, failures
                failure = _failure(answer)
                if not _worth_another_try(answer):
                    raise Refused(f"{method} {path}: {failure} {answer.text[:200]}")
            first_s = first_s or time.time()
            failures.append(failure)
            if time.time() - first_s > GIVE_UP_S:
                raise Refused(f"{method} {path}: no answer for {GIVE_UP_S:.0f} s, the last was {failure}")
            await asyncio.sleep(pause_s * (0.5 + self.random.random()))
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    async def follow(self, execution_id: UUID, cut_after: int | None) -> list[int]:
        """Follow the events to the end, reconnecting by `Last-Event-ID`; return their numbers, as they came.

        The client itself leaves once, after `cut_after` events. Raises `Refused`.
        """
        seqs: list[int] = []
        silent_s, pause_s = time.time(), PAUSE_S
        while True:
            before = len(seqs)
            try:
                if await self._listen(execution_id, seqs, cut_after):
                    return seqs
                cut_after = None
            except httpx2.HTTPError:
                pass  # the replica or the proxy has gone: the next one goes on where this one stopped
            self.reconnects += 1
            if len(seqs) > before:
                silent_s, pause_s = time.time(), PAUSE_S
            if time.time() - silent_s > GIVE_UP_S:
                raise Refused(f"the stream of {execution_id} has been silent for {GIVE_UP_S:.0f} s")
            await asyncio.sleep(pause_s * (0.5 + self.random.random()))
            pause_s = min(2 * pause_s, PAUSE_MAX_S)

    async def _listen(self, execution_id: UUID, seqs: list[int], cut_after: int | None) -> bool:
        """Listen once; whether the stream has come to its end."""
        headers = {"Last-Event-ID": str(seqs[-1])} if seqs else {}
        async with self.http.stream("GET", f"/executions/{execution_id}/events", headers=headers) as answer:
            if answer.status_code == HTTPStatus.NO_CONTENT:
                return True
            if answer.status_code != HTTPStatus.OK:
                await answer.aread()
                if _worth_another_try(answer):
                    return False
                raise Refused(f"the stream of {execution_id}: {answer.status_code} {answer.text[:200]}")
            kind, number = "", 0
            async for line in answer.aiter_lines():
                name, _, value = line.partition(": ")
                if name == "id":
                    number = int(value)
                elif name == "event":
                    kind = value
                elif not line and number:
                    seqs.append(number)
                    number = 0
                    if kind in TERMINAL_KINDS:
                        return True
                    if cut_after is not None and len(seqs) >= cut_after:
                        return False
            return False


def _worth_another_try(answer: httpx2.Response) -> bool:
    status = answer.status_code
    return status >= 500 or status == HTTPStatus.TOO_MANY_REQUESTS or _failure(answer) == PROXY_KNOWS_NOTHING


def _failure(answer: httpx2.Response) -> str:
    """Name what was answered by its status and code; what Rayloom itself answers has a code."""
    if answer.status_code == HTTPStatus.NOT_FOUND and not answer.headers.get("content-type", "").endswith("json"):
        return PROXY_KNOWS_NOTHING
    try:
        found = json.loads(answer.content)
    except ValueError:
        found = None
    code = found.get("code", "") if isinstance(found, dict) else ""
    return f"{answer.status_code} {code}".strip()
