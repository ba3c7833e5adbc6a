"""The load: so many executions in flight all the time, each submitted under a key, each followed to its end in one of several ways."""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID

from tests.storm.client import Client, Refused
from tests.storm.drawing import CHILD_ID, Given
from tests.storm.journal import JournalFile
from tests.storm.people import People
from tests.storm.shapes import Shape
from workflow.states import TERMINAL

WAIT_S = 10.0
WAYS = {"again": 52, "at_once": 10, "stream": 20, "pause": 8, "cancel": 6, "hasty_cancel": 4}
CANCEL_WITHIN_S = PAUSE_WITHIN_S = 2.0
ENDED = frozenset(status.value for status in TERMINAL)


@dataclass(slots=True)
class Load:
    """Keeps executions in flight for one tenant until it is told to stop."""

    tenant: str
    client: Client
    shapes: Mapping[str, Shape]
    journal: JournalFile
    random: Random
    workflows: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    """What clients were told that should not have been."""
    ended_s: list[float] = field(default_factory=list)
    """When executions had come to their ends, as their clients heard it."""
    in_flight: int = 0
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _clients: list["asyncio.Task[None]"] = field(default_factory=list)

    async def store(self) -> None:
        """Store the workflows."""
        for shape in self.shapes.values():
            text = json.dumps(shape.document)
            if shape.child is not None:
                text = text.replace(CHILD_ID, await self.client.store(shape.child.document))
            self.workflows[shape.name] = await self.client.store(json.loads(text))

    def start(self, in_flight: int) -> None:
        """Begin."""
        self._clients = [asyncio.create_task(self._one_after_the_other()) for _ in range(in_flight)]

    async def stop(self, limit_s: float) -> int:
        """Submit nothing more, let what is in flight end, and return how many clients are still waiting after `limit_s`."""
        self._stop.set()
        _, waiting = await asyncio.wait(self._clients, timeout=limit_s)
        for client in waiting:
            client.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await self.client.http.aclose()
        return len(waiting)

    async def _one_after_the_other(self) -> None:
        while not self._stop.is_set():
            self.in_flight += 1
            try:
                await self._visit()
            except Refused as refused:
                self.refused.append(str(refused))
                await asyncio.sleep(1)
            finally:
                self.in_flight -= 1

    async def _visit(self) -> None:
        n = next(self._numbers)
        key = f"storm-{n}"  # the same keys in every workspace
        names = list(self.shapes)
        (name,) = self.random.choices(names, [self.shapes[each].weight for each in names])
        (way,) = self.random.choices(list(WAYS), list(WAYS.values()))
        given = self.shapes[name].given(n, self.tenant)
        await self._note("sent", key, shape=name, n=n)

        async def ask(wait_s: float) -> dict[str, Any]:
            shown = await self.client.execute(self.workflows[name], given, key, wait_s)
            await self._note("acknowledged", key, id=shown["id"])
            return shown

        shown = await ask(WAIT_S if way == "at_once" else 0)
        async with self._attended(name, key, UUID(shown["id"]), given):
            await self._on_the_way(way, key, UUID(shown["id"]))
            while shown["status"] not in ENDED:
                shown = await ask(WAIT_S)
        await self._note("ended", key, status=shown["status"], output=shown["output"])
        self.ended_s.append(time.time())

    @contextlib.asynccontextmanager
    async def _attended(self, name: str, key: str, execution_id: UUID, given: Given) -> AsyncIterator[None]:
        """Have people answer what it asks until the block ends; what they have begun to say they say to the end."""
        if not self.shapes[name].asks:
            yield
            return
        over = asyncio.Event()
        people = People(self.client, self.random, self._note)
        attending = asyncio.create_task(self._attend(people, key, execution_id, given, over))
        try:
            yield
        except BaseException:
            attending.cancel()
            raise
        over.set()
        await attending

    async def _attend(self, people: People, key: str, execution_id: UUID, given: Given, over: asyncio.Event) -> None:
        try:
            await people.attend(key, execution_id, given, over)
        except Refused as refused:
            self.refused.append(str(refused))

    async def _on_the_way(self, way: str, key: str, execution_id: UUID) -> None:
        if way == "stream":
            cut_after = self.random.randrange(2, 12) if self.random.random() < 0.5 else None
            seqs = await self.client.follow(execution_id, cut_after)
            await self._note("streamed", key, seqs=seqs)
        elif way == "pause":
            await asyncio.sleep(self.random.random() * PAUSE_WITHIN_S)
            if await self.client.pause(execution_id):
                await asyncio.sleep(self.random.random() * PAUSE_WITHIN_S)
                state = await self.client.resume(execution_id)
                if state and state not in ENDED:
                    self.refused.append(f"{execution_id} was asked to pause, and could not be resumed: it is {state}")
        elif way.endswith("cancel"):
            if way == "cancel":
                await asyncio.sleep(self.random.random() * CANCEL_WITHIN_S)
            await self._note("cancel", key)
            await self.client.cancel(execution_id)

    async def _note(self, what: str, key: str, **fields: Any) -> None:
        await self.journal.note(what, time.time(), t=self.tenant, key=key, **fields)
