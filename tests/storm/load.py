"""The load: so many executions in flight all the time, each submitted under a key, each followed to its end in one of several ways."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID

from tests.storm.client import Client, Refused
from tests.storm.journal import JournalFile
from tests.storm.people import People
from tests.storm.shape import Shape
from workflow.states import TERMINAL

WAIT_S = 10.0
WAYS = {"again": 55, "at_once": 10, "stream": 20, "cancel": 6, "hasty_cancel": 4, "pause": 8}
CANCEL_WITHIN_S = 2.0
PAUSE_WITHIN_S = 1.0
PAUSED_S = 3.0
"""At most."""
ENDED = frozenset(status.value for status in TERMINAL)


@dataclass(slots=True)
class Load:
    """Keeps executions in flight for one tenant until it is told to stop."""

    tenant: str
    client: Client
    shapes: Mapping[str, Shape]
    journal: JournalFile
    random: Random
    people: People = field(init=False)
    workflows: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    """What clients were told that should not have been."""
    ended_s: list[float] = field(default_factory=list)
    """When executions had come to their ends, as their clients heard it."""
    in_flight: int = 0
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)
    _clients: list["asyncio.Task[None]"] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.people = People(self.tenant, self.client, self.journal, self.random)

    async def store(self) -> None:
        """Store the workflows."""
        for shape in sorted(self.shapes.values(), key=lambda shape: bool(shape.child)):
            self.workflows[shape.name] = await self.client.store(self._document(shape))

    def _document(self, shape: Shape) -> dict[str, Any]:
        """Return a shape's document with the id of the workflow that it executes."""
        if not shape.child:
            return shape.document
        config = {"workflow_id": self.workflows[shape.child]}
        nodes = [
            {**each, "config": each["config"] | config} if "workflow_id" in each["config"] else each
            for each in shape.document["nodes"]
        ]
        return {**shape.document, "nodes": nodes}

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

        shown = await ask(WAIT_S if way == "at_once" and not self.shapes[name].asks else 0)
        async with self._answered(self.shapes[name], key, UUID(shown["id"])):
            await self._on_the_way(way, key, UUID(shown["id"]))
            while shown["status"] not in ENDED:
                shown = await ask(WAIT_S)
        await self._note("ended", key, status=shown["status"], output=shown["output"])
        self.ended_s.append(time.time())

    async def _on_the_way(self, way: str, key: str, execution_id: UUID) -> None:
        if way == "stream":
            cut_after = self.random.randrange(2, 12) if self.random.random() < 0.5 else None
            seqs = await self.client.follow(execution_id, cut_after)
            await self._note("streamed", key, seqs=seqs)
        elif way.endswith("cancel"):
            if way == "cancel":
                await asyncio.sleep(self.random.random() * CANCEL_WITHIN_S)
            await self._note("cancel", key)
            await self.client.control(execution_id, "cancel")
        elif way == "pause":
            await asyncio.sleep(self.random.random() * PAUSE_WITHIN_S)
            await self._note("pause", key)
            if await self.client.control(execution_id, "pause"):
                await asyncio.sleep(self.random.random() * PAUSED_S)
            await self.client.control(execution_id, "resume")

    @contextlib.asynccontextmanager
    async def _answered(self, shape: Shape, key: str, execution_id: UUID) -> AsyncIterator[None]:
        """Have people answer what an execution asks, until the block ends. Raises `Refused`."""
        if not shape.asks:
            yield
            return
        ended = asyncio.Event()
        people = asyncio.create_task(self.people.look_after(key, execution_id, ended))
        try:
            yield
        except BaseException:
            people.cancel()
            raise
        ended.set()
        await people

    async def _note(self, what: str, key: str, **fields: Any) -> None:
        await self.journal.note(what, time.time(), t=self.tenant, key=key, **fields)
