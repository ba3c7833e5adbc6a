"""The keeper's record of itself, `keeper.json`: what `status`, `up` and `down` read, also after the keeper was
killed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from cluster.home import Home, read_json, write_json
from cluster.keeper import Kept
from workflow.errors import Unavailable


class KeeperPhase(StrEnum):
    """Where the whole instance stands."""

    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRecord:
    """One part as the keeper last saw it. `seconds` are per finished stage of its last start."""

    name: str
    phase: str
    pid: int | None
    restarts: int
    reason: str
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeeperRecord:
    """What runs. `sessions` are the ids of the sessions that the instance's processes belong to."""

    pid: int
    created_s: float | None
    phase: KeeperPhase
    reason: str = ""
    base_url: str = ""
    dashboard_url: str = ""
    ray_address: str = ""
    proxy: str = ""
    ports: Mapping[str, int] = field(default_factory=dict)
    sessions: tuple[int, ...] = ()
    parts: tuple[PartRecord, ...] = ()

    @property
    def seconds(self) -> dict[str, float]:
        """Return the seconds of every finished stage."""
        return {stage: taken for part in self.parts for stage, taken in part.seconds.items()}


def part_records(kept: Iterable[Kept]) -> tuple[PartRecord, ...]:
    """Return the parts as they stand."""
    return tuple(
        PartRecord(
            name=one.name,
            phase=str(one.phase),
            pid=one.pid,
            restarts=one.restarts,
            reason=one.reason,
            seconds=dict(one.seconds),
        )
        for one in kept
    )


def write_record(home: Home, record: KeeperRecord) -> None:
    """Write the record, whole or not at all."""
    write_json(home.keeper_file, asdict(record))


def read_record(home: Home) -> KeeperRecord | None:
    """Return the last record, or None when no keeper has ever run. Raises `Unavailable` when it is damaged."""
    found: dict[str, Any] = read_json(home.keeper_file)
    if not found:
        return None
    try:
        found["phase"] = KeeperPhase(found["phase"])
        found["sessions"] = tuple(found["sessions"])
        found["parts"] = tuple(PartRecord(**part) for part in found["parts"])
        return KeeperRecord(**found)
    except (KeyError, TypeError, ValueError):
        raise Unavailable(f"{home.keeper_file} is damaged; remove it", "home_damaged") from None
