"""The order of faults: what takes everything with it stands alone, nobody is left frozen, and the schedule waits for healing."""

import time
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from tests.instance import Known
from tests.storm import nemesis
from tests.storm.nemesis import Nemesis
from tests.storm.recovery import Fault
from tests.storm.schedule import Kind, Planned


@dataclass
class FakeFaults:
    """Notes what is done; an actor that is not there cannot be hit."""

    done: list[str] = field(default_factory=list)
    frozen: dict[int, Known] = field(default_factory=dict)
    random: Random = field(default_factory=lambda: Random(1))

    def hit(self, kind: Kind) -> Fault | None:
        self.done.append(kind.value)
        if kind is Kind.ACTOR:
            return None
        if kind is Kind.FROZEN:
            self.frozen[4711] = Known(4711, 0.0, "frozen")
        return Fault(kind, "an actor, pid 4711", time.time())

    def wake(self, fault: Fault, process: Known) -> None:
        self.done.append("awake")
        self.frozen.pop(process.pid)

    def up(self, fault: Fault) -> None:
        self.done.append("up")

    def rejoin(self) -> None:
        self.done.append("rejoined")


class HealthyInstance:
    """Heals at once."""

    def until_healthy(self, limit_s: float) -> None:
        return

    def titled(self, title: str) -> list[str]:
        return ["one", "another"]


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> FakeFaults:
    monkeypatch.setattr(nemesis, "FROZEN_S", (0.05, 0.05))
    monkeypatch.setattr(nemesis, "HEALS_IN_S", 0.5)
    return FakeFaults()


async def storm(faults: FakeFaults, seconds: float, *planned: tuple[float, Kind]) -> Nemesis:
    made: Any = Nemesis(HealthyInstance(), faults)  # type: ignore[arg-type]
    await made.storm(iter([Planned(at_s, kind) for at_s, kind in planned]), seconds)
    return made


async def test_the_frozen_wake_up_before_everything_is_killed_and_before_the_end(faults):
    await storm(faults, 60, (0, Kind.FROZEN), (0, Kind.EVERYTHING), (0, Kind.FROZEN))
    assert faults.done == ["frozen", "awake", "everything", "up", "rejoined", "frozen", "awake"]


async def test_a_killed_head_is_healed_by_its_keeper_and_a_killed_keeper_by_a_person(faults):
    await storm(faults, 60, (0, Kind.HEAD), (0, Kind.KEEPER))
    assert faults.done == ["head", "rejoined", "keeper", "up", "rejoined"]


async def test_a_killed_host_comes_back_before_everything_is_killed_and_before_the_end(faults, monkeypatch):
    monkeypatch.setattr(nemesis, "REJOINS_AFTER_S", 0.05)
    await storm(faults, 60, (0, Kind.RAYLET), (0, Kind.BACKEND), (0, Kind.HEAD), (0, Kind.RAYLET))
    assert faults.done == ["raylet", "backend", "rejoined", "head", "rejoined", "raylet", "rejoined"]


async def test_what_takes_everything_with_it_does_not_come_when_there_is_no_time_to_heal(faults):
    await storm(faults, 0.4, (0, Kind.HEAD), (0, Kind.BACKEND))
    assert faults.done == ["backend"]


async def test_nothing_comes_after_the_end(faults):
    await storm(faults, 0.2, (0, Kind.BACKEND), (30, Kind.BACKEND))
    assert faults.done == ["backend"]


async def test_a_fault_that_finds_nothing_is_counted(faults):
    assert (await storm(faults, 60, (0, Kind.ACTOR), (0, Kind.ACTOR))).skipped == {"actor": 2}
