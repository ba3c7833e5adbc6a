"""Carries out the schedule: faults one after the other, some of them while others heal."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx2
import psutil
import psycopg

from tests.instance import RunningInstance
from tests.storm.faults import FROZEN_S, Faults
from tests.storm.recovery import Fault
from tests.storm.schedule import ALONE, Kind, Planned

HEAL_LIMIT_S = 120.0
HEALS_IN_S = 45.0
"""What takes everything with it does not come when less of the storm than this is left."""
REPLICAS = 2
REJOINS_AFTER_S = 8.0
"""How long a killed host stays away: long enough for Ray to notice."""


@dataclass(slots=True)
class Nemesis:
    """Brings faults over an instance."""

    instance: RunningInstance
    faults: Faults
    skipped: Counter[str] = field(default_factory=Counter)
    """Faults that found nothing to hit."""
    _healing_s: float = 0.0
    """Time in which a fault healed that stands alone: the schedule stands still meanwhile."""
    _waking: set["asyncio.Task[None]"] = field(default_factory=set)
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def storm(self, schedule: Iterator[Planned], seconds: float) -> None:
        """Bring faults for so long, and return when all that was frozen is awake again."""
        began_s, ends_s = time.monotonic(), time.monotonic() + seconds
        for planned in schedule:
            due_s = began_s + planned.at_s + self._healing_s
            if max(due_s, time.monotonic()) >= ends_s:
                break
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            if planned.kind in ALONE and ends_s - time.monotonic() < HEALS_IN_S:
                continue
            await self._bring(planned.kind)
        await self._all_awake()

    async def heal(self) -> float:
        """Return after how many seconds everything is there again. Raises `AssertionError` when it does not come."""
        began_s = time.monotonic()
        await asyncio.to_thread(self.instance.until_healthy, HEAL_LIMIT_S)
        await asyncio.to_thread(self._until_whole)
        return time.monotonic() - began_s

    async def _bring(self, kind: Kind) -> None:
        if kind in ALONE:
            await self._all_awake()
        begun_s = time.monotonic()
        async with self._one_at_a_time:
            fault = await asyncio.to_thread(self._hit, kind)
        if fault is None:
            self.skipped[kind.value] += 1
            return
        print(f"{time.strftime('%H:%M:%S')} {kind}: {fault.target}", flush=True)
        if kind is Kind.FROZEN:
            self._later(self._wake_later(fault))
        elif kind is Kind.RAYLET:
            self._later(self._rejoin_later(fault))
        elif kind in ALONE:
            if kind is not Kind.HEAD:
                await asyncio.to_thread(self.faults.up, fault)
            await self.heal()
            fault.healed_s = time.time()
            await asyncio.to_thread(self.faults.rejoin)
            self._healing_s += time.monotonic() - begun_s

    def _hit(self, kind: Kind) -> Fault | None:
        # What is to be hit may be away just now, hit by the fault before.
        with contextlib.suppress(psutil.Error, StopIteration, FileNotFoundError):
            return self.faults.hit(kind)
        return None

    async def _wake_later(self, fault: Fault) -> None:
        (process,) = [known for known in self.faults.frozen.values() if f"pid {known.pid}" in fault.target]
        await asyncio.sleep(self.faults.random.uniform(*FROZEN_S))
        async with self._one_at_a_time:
            await asyncio.to_thread(self.faults.wake, fault, process)

    async def _rejoin_later(self, fault: Fault) -> None:
        await asyncio.sleep(REJOINS_AFTER_S)
        async with self._one_at_a_time:
            await asyncio.to_thread(self.faults.rejoin)
        fault.healed_s = time.time()

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._waking.add(task)
        task.add_done_callback(self._waking.discard)

    async def _all_awake(self) -> None:
        await asyncio.gather(*self._waking)

    def _until_whole(self) -> None:
        """Return when the replicas are back and the watcher has seen everything go on."""
        deadline_s = time.monotonic() + HEAL_LIMIT_S
        while time.monotonic() < deadline_s:
            with contextlib.suppress(httpx2.HTTPError, psycopg.Error):
                if len(self.instance.titled("ray::ServeReplica:rayloom:api")) >= REPLICAS:
                    return
            time.sleep(0.2)
        raise AssertionError("the replicas of the API have not come back")
