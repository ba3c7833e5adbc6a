"""The people of a workspace: whatever an execution asks is answered by two at once who do not agree, sometimes by a third afterwards."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any
from uuid import UUID

from tests.storm.client import Client
from tests.storm.drawing import Given

LOOK_EVERY_S = 1.2
LATE = 0.3
BY_LINK = 0.4
ACTIONS = {"approval": ("approve", "reject"), "error_recovery": ("retry", "skip", "replace"), "webhook": ("",)}


@dataclass(frozen=True, slots=True)
class People:
    """Answers for one tenant. `note` writes into the clients' journal."""

    client: Client
    random: Random
    note: Callable[..., Awaitable[None]]

    async def attend(self, key: str, execution_id: UUID, given: Given, over: asyncio.Event) -> None:
        """Answer what an execution asks until it is over. Raises `Refused` when somebody is told what nobody should be."""
        known: set[str] = set()
        while not await self._is_over(over):
            for request in await self.client.pending(execution_id):
                if request["id"] not in known:
                    known.add(request["id"])
                    await self._settle(key, request, given)

    async def _is_over(self, over: asyncio.Event) -> bool:
        """Return soon, whether it is over."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), LOOK_EVERY_S)
        return over.is_set()

    async def _settle(self, key: str, request: Mapping[str, Any], given: Given) -> None:
        actions = list(ACTIONS[request["type"]])
        self.random.shuffle(actions)
        first, second, late = (
            (name, actions[place % len(actions)]) for place, name in enumerate(("ann", "bob", "eve"))
        )
        await asyncio.gather(*(self._answer(key, request, given, *said) for said in (first, second)))
        if self.random.random() < LATE:
            await self._answer(key, request, given, *late)

    async def _answer(self, key: str, request: Mapping[str, Any], given: Given, name: str, action: str) -> None:
        who = f"{name}-{request['id'][-8:]}"
        by_link = request["type"] == "webhook" or self.random.random() < BY_LINK
        about = {"request": request["id"], "who": who}
        await self.note("answering", key, **about, action=action, way="link" if by_link else "api")
        status, lost = await self.client.respond(
            request, answer_of(request["type"], action, who, given), by_link=by_link
        )
        await self.note("answered", key, **about, status=status, lost=lost)


def answer_of(kind: str, action: str, who: str, given: Given) -> dict[str, Any]:
    """Return the body of an answer; it holds who gives it, so that whoever reads the outcome can tell whose it is."""
    if kind == "webhook":
        return {"who": who, "n": given[0]["n"]}
    answer: dict[str, Any] = {"action": action, "comment": who}
    if action == "replace":
        answer["data"] = [{**given[0], "who": who}]
    return answer
