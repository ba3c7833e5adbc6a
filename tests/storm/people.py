"""The people who are asked: several at once answer each request, most of them differently, through the API or by the link."""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import UUID

from tests.storm.client import Client
from tests.storm.journal import JournalFile

LOOK_S = 0.4
LOOK_MAX_S = 1.5
THINK_S = 3.0
"""At most: longer than an actor holds on to what waits."""
BY_LINK = 0.3
"""The share of the answers that come by the link; to a webhook all do."""
ACTIONS: Mapping[str, tuple[str, ...]] = {
    "approval": ("approve", "reject"),
    "error_recovery": ("retry", "skip", "replace"),
    "webhook": ("call", "call again"),
}


@dataclass(slots=True)
class People:
    """Answers requests of one tenant."""

    tenant: str
    client: Client
    journal: JournalFile
    random: Random

    async def look_after(self, key: str, execution_id: UUID, ended: asyncio.Event) -> None:
        """Answer what an execution asks until it has ended. Raises `Refused`."""
        answered: set[str] = set()
        pause_s = LOOK_S
        while not ended.is_set():
            for request in await self.client.requests(execution_id):
                if request["id"] not in answered:
                    answered.add(request["id"])
                    pause_s = LOOK_S
                    await self._answer(key, request)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), pause_s)
            pause_s = min(1.5 * pause_s, LOOK_MAX_S)

    async def _answer(self, key: str, request: Mapping[str, Any]) -> None:
        if self.random.random() < 0.5:
            await asyncio.sleep(self.random.random() * THINK_S)
        actions = list(ACTIONS[request["type"]])
        self.random.shuffle(actions)
        if self.random.random() < 0.3:
            actions.append(self.random.choice(actions))
        saying = [self._say(key, request, f"{request['id']}/{at}", action) for at, action in enumerate(actions)]
        await asyncio.gather(*saying)

    async def _say(self, key: str, request: Mapping[str, Any], who: str, action: str) -> None:
        kind = request["type"]
        by_link = kind == "webhook" or self.random.random() < BY_LINK
        path = request["link"] if by_link else f"/hitl/{request['id']}/respond"
        place = {"t": self.tenant, "key": key, "who": who}
        await self.journal.note("answering", time.time(), **place, request=request["id"], action=action)
        status, doubtful = await self.client.respond(path, body_of(kind, who, action))
        await self.journal.note("answered", time.time(), **place, status=status, doubtful=doubtful)


def body_of(kind: str, who: str, action: str) -> dict[str, Any]:
    """Return an answer from which one can tell whose it is, wherever it comes to light."""
    if kind == "webhook":
        return {"who": who, "action": action}
    body: dict[str, Any] = {"action": action, "comment": who}
    return {**body, "data": [{"instead": who}]} if action == "replace" else body


def who_said(kind: str, response: Mapping[str, Any]) -> tuple[str, str]:
    """Return who has given the answer that a request holds, and what they wanted."""
    found = response.get("body") or {} if kind == "webhook" else response
    return str(found.get("who" if kind == "webhook" else "comment", "")), str(found.get("action", ""))
