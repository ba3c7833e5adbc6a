"""Which fault comes when: drawn from a seed, each kind about as often as its pace says."""

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle
from random import Random
from types import MappingProxyType


class Kind(StrEnum):
    """The kinds of faults."""

    ACTOR = "actor"
    BACKEND = "backend"
    WORKER = "worker"
    REPLICA = "replica"
    PROXY = "proxy"
    FROZEN = "frozen"
    RAYLET = "raylet"
    SUPERVISOR = "supervisor"
    POSTGRESQL = "postgresql"
    KEEPER = "keeper"
    HEAD = "head"
    EVERYTHING = "everything"


ALONE = frozenset({Kind.KEEPER, Kind.HEAD, Kind.EVERYTHING})
"""Nothing else is hit until these have healed: they take everything with them."""

Pace = Mapping[Kind, float]
"""About how many seconds lie between two faults of a kind."""

SHORT: Pace = MappingProxyType(
    {
        Kind.ACTOR: 6.0,
        Kind.BACKEND: 5.0,
        Kind.WORKER: 9.0,
        Kind.REPLICA: 45.0,
        Kind.PROXY: 70.0,
        Kind.FROZEN: 35.0,
        Kind.RAYLET: 100.0,
        Kind.SUPERVISOR: 60.0,
        Kind.POSTGRESQL: 45.0,
        Kind.HEAD: 130.0,
        Kind.EVERYTHING: 180.0,
    }
)
"""For five minutes: every kind at least once but the loss of the keeper alone, after which all but PostgreSQL begins anew."""

LONG: Pace = MappingProxyType(
    {
        Kind.ACTOR: 4.0,
        Kind.BACKEND: 3.0,
        Kind.WORKER: 7.0,
        Kind.REPLICA: 50.0,
        Kind.PROXY: 90.0,
        Kind.FROZEN: 45.0,
        Kind.RAYLET: 90.0,
        Kind.SUPERVISOR: 75.0,
        Kind.POSTGRESQL: 50.0,
        Kind.KEEPER: 900.0,
        Kind.HEAD: 700.0,
        Kind.EVERYTHING: 800.0,
    }
)
"""For half an hour: more than a thousand."""


TURN = (
    *(Kind.ACTOR, Kind.WORKER, Kind.REPLICA, Kind.SUPERVISOR, Kind.ACTOR, Kind.WORKER, Kind.RAYLET, Kind.POSTGRESQL),
    *(Kind.ACTOR, Kind.REPLICA, Kind.WORKER, Kind.FROZEN, Kind.ACTOR, Kind.PROXY, Kind.WORKER, Kind.BACKEND),
)
"""One by one: each kind but those that take everything with them, the commoner ones more often."""
APART_S = 15.0
"""Longer than any of these takes to be healed."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault to come, in seconds since the beginning; time in which one heals that stands alone does not count."""

    at_s: float
    kind: Kind


def planned(seed: int, pace: Pace) -> Iterator[Planned]:
    """Return faults without end, in order. The same seed gives the same ones."""
    random = Random(seed)
    waiting = [Planned(every_s * random.uniform(0.2, 0.5), kind) for kind, every_s in sorted(pace.items())]
    queue = [(one.at_s, one.kind) for one in waiting]
    heapq.heapify(queue)
    while queue:
        at_s, kind = heapq.heappop(queue)
        yield Planned(at_s, kind)
        heapq.heappush(queue, (at_s + pace[kind] * random.uniform(0.5, 1.5), kind))


def one_by_one() -> Iterator[Planned]:
    """Return faults without end, each when the one before has healed: for how long each takes, not for what two of them do."""
    for number, kind in enumerate(cycle(TURN)):
        yield Planned((number + 1) * APART_S, kind)
