"""What a storm gave: a table for people, JSON for programs."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from tests.storm.client import Retried
from tests.storm.invariants import Violation
from tests.storm.recovery import Fault, quantiles
from tests.storm.schedule import ALONE, Kind

INVARIANTS = (
    *(f"I{number}" for number in range(1, 13)),
    *("timers", "children", "audit", "refused"),
)
SHOWN_MAX = 5
"""Of each invariant."""
BLAMED_FOR_S = 10.0


@dataclass(frozen=True, slots=True)
class Bound:
    """How long a recovery may take: `first` result of what was hit, until `all` of it goes on, or a client's `retry`."""

    measure: str
    limit_s: float


BOUNDS: Mapping[Kind, Bound] = MappingProxyType(
    {
        Kind.ACTOR: Bound("first", 2),
        Kind.WORKER: Bound("first", 2),
        Kind.SUPERVISOR: Bound("first", 6),
        Kind.FROZEN: Bound("first", 9),
        Kind.RAYLET: Bound("first", 12),
        Kind.REPLICA: Bound("retry", 3),
        Kind.PROXY: Bound("retry", 3),
        Kind.POSTGRESQL: Bound("first", 5),
        Kind.KEEPER: Bound("all", 90),
        Kind.HEAD: Bound("all", 90),
        Kind.EVERYTHING: Bound("all", 90),
    }
)


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of the load: how long, how many executions had come to their ends and node results were committed."""

    seconds: float
    executions: int
    node_results: int

    def per_second(self) -> dict[str, float]:
        return {
            "executions": round(self.executions / self.seconds, 2),
            "node_results": round(self.node_results / self.seconds, 1),
        }


@dataclass(slots=True)
class Report:
    """Everything that is told."""

    settings: Mapping[str, Any]
    calm: Phase
    storm: Phase
    between_outages_per_s: float
    """Executions per second of the storm when nothing was away that takes everything with it."""
    faults: Sequence[Fault]
    retried: Sequence[Retried]
    violations: Sequence[Violation]
    executions: Mapping[str, int]
    """By status."""
    counts: Mapping[str, Any]
    """What else was counted."""
    seconds: Mapping[str, float]
    by_kind: dict[str, dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.by_kind = {kind.value: self._kind(kind) for kind in Kind if any(f.kind == kind for f in self.faults)}

    @property
    def goodput(self) -> float:
        """The share of the executions per second of the calm phase that the storm left."""
        return round(self.storm.per_second()["executions"] / max(self.calm.per_second()["executions"], 0.01), 3)

    @property
    def goodput_between_outages(self) -> float:
        """The same, for the time in which nothing was away that takes everything with it."""
        return round(self.between_outages_per_s / max(self.calm.per_second()["executions"], 0.01), 3)

    def as_json(self) -> dict[str, Any]:
        """Return all of it."""
        return {
            "settings": dict(self.settings),
            "seconds": {name: round(value, 1) for name, value in self.seconds.items()},
            "calm_per_s": self.calm.per_second(),
            "storm_per_s": self.storm.per_second(),
            "goodput": self.goodput,
            "goodput_between_outages": self.goodput_between_outages,
            "executions": dict(self.executions),
            **self.counts,
            "faults_total": len(self.faults),
            "faults": self.by_kind,
            "violations": {name: self._violations()[name] for name in INVARIANTS},
            "violations_shown": [f"{found.invariant} {found.what}" for found in self._shown()],
            "fault_log": [
                {
                    "kind": fault.kind,
                    "target": fault.target,
                    "at_s": round(fault.at_s, 3),
                    "affected": fault.affected,
                    "healed_s": _rounded(healed_at(fault)),
                    "first_s": _rounded(fault.first_s),
                    "all_s": _rounded(fault.all_s),
                }
                for fault in self.faults
            ],
        }

    def lines(self) -> list[str]:
        """Return it as text."""
        head = (
            f"{'fault':<12}{'count':>6}  {'next result p50/p99/max s':<27}{'all go on p50/p99/max s':<27}{'bound':<22}"
        )
        lines = ["", head]
        for name, row in self.by_kind.items():
            bound = ""
            if row["bound"] is not None:
                bound = f"{row['bound']['measure']} <= {row['bound']['limit_s']:g} s: {_verdict(row['bound']['met'])}"
                if row["bound"]["measure"] != "retry" and row["by_itself"] < row["count"]:
                    bound += f" ({row['by_itself']} by themselves: {_three(row['bounded_s'])})"
            cells = f"{name:<12}{row['count']:>6}  {_three(row['first_s']):<27}{_three(row['all_s']):<27}{bound:<22}"
            lines.append(cells + (f"  client retry {_three(row['retry_s'])}" if row["retry_s"] else ""))
        calm, storm = self.calm.per_second(), self.storm.per_second()
        lines += ["", f"{len(self.faults)} faults in {self.storm.seconds:.0f} s of storm"]
        lines += [
            f"executions {dict(self.executions)}",
            f"goodput {self.goodput:.0%}: executions {storm['executions']}/s against {calm['executions']}/s before the storm",
            f"goodput {self.goodput_between_outages:.0%} when neither keeper nor head nor everything was away",
            f"node results {storm['node_results']}/s against {calm['node_results']}/s before the storm",
            *(f"{name.replace('_', ' ')}: {value}" for name, value in self.counts.items()),
            f"seconds: {', '.join(f'{name} {value:.0f}' for name, value in self.seconds.items())}",
            "",
            "violations: " + "  ".join(f"{name} {self._violations()[name]}" for name in INVARIANTS),
            *(f"  {found.invariant} {found.what[:600]}" for found in self._shown()),
        ]
        return lines

    def _shown(self) -> list[Violation]:
        by_invariant = {
            name: [found for found in self.violations if found.invariant == name][:SHOWN_MAX] for name in INVARIANTS
        }
        return [found for some in by_invariant.values() for found in some]

    def _violations(self) -> Counter[str]:
        return Counter(found.invariant for found in self.violations)

    def _kind(self, kind: Kind) -> dict[str, Any]:
        faults = [fault for fault in self.faults if fault.kind == kind]
        measures = {
            "first": quantiles([fault.first_s for fault in faults if fault.first_s is not None]),
            "all": quantiles([fault.all_s for fault in faults if fault.all_s is not None]),
            "retry": quantiles(retries_after(faults, self.faults, self.retried)),
        }
        bound = BOUNDS.get(kind)
        alone = {fault.at_s for fault in faults if by_itself(fault, self.faults)}
        row: dict[str, Any] = {
            "count": len(faults),
            "by_itself": len(alone),
            "hit_something": sum(fault.affected > 0 for fault in faults),
            **{f"{name}_s": value for name, value in measures.items()},
            "bound": None,
        }
        if bound is not None:
            found = measures[bound.measure]
            if bound.measure != "retry":
                times = [getattr(fault, f"{bound.measure}_s") for fault in faults if fault.at_s in alone]
                found = quantiles([time_s for time_s in times if time_s is not None])
            row["bounded_s"] = found
            met = None if found is None else found["p99"] <= bound.limit_s
            row["bound"] = {"measure": bound.measure, "limit_s": bound.limit_s, "met": met}
        return row


def by_itself(fault: Fault, others: Iterable[Fault]) -> bool:
    """Whether nothing that takes longer to recover from was away between a fault and its first result.

    The bounds are for one fault at a time; of two at once the slower one decides.
    """
    limit_s = _limit_s(fault)
    over_s = fault.at_s + (fault.first_s or limit_s)
    return not any(
        other.at_s <= over_s and (healed_at(other) or other.at_s + _limit_s(other)) >= fault.at_s
        for other in others
        if other is not fault and _limit_s(other) > limit_s
    )


def _limit_s(fault: Fault) -> float:
    bound = BOUNDS.get(Kind(fault.kind))
    return 0.0 if bound is None else bound.limit_s


def retries_after(faults: Iterable[Fault], others: Iterable[Fault], retried: Sequence[Retried]) -> list[float]:
    """Return how long clients took from a first failure to a success, of those whose request these faults of the API broke.

    A failure is theirs when it came within seconds after one, and nothing bigger was away at that time.
    """
    if all(fault.kind not in (Kind.REPLICA, Kind.PROXY) for fault in faults):
        return []
    outages = [
        (fault.at_s, (fault.healed_s or fault.at_s) + 2)
        for fault in others
        if fault.kind in ALONE or fault.kind == Kind.POSTGRESQL
    ]
    apart = [each for each in retried if not any(begun <= each.failed_s <= over for begun, over in outages)]
    return [
        each.succeeded_s - each.failed_s
        for each in apart
        if any(fault.at_s <= each.failed_s <= fault.at_s + BLAMED_FOR_S for fault in faults)
    ]


def apart_from_outages(span: tuple[float, float], faults: Iterable[Fault], ended_s: Iterable[float]) -> float:
    """Return executions per second in a span without the time in which a fault that stands alone was healing."""
    begun_s, over_s = span
    outages = [
        (max(fault.at_s, begun_s), min(fault.healed_s or over_s, over_s)) for fault in faults if fault.kind in ALONE
    ]
    left_s = over_s - begun_s - sum(last_s - first_s for first_s, last_s in outages)
    counted = sum(
        begun_s <= at_s < over_s and not any(first_s <= at_s < last_s for first_s, last_s in outages)
        for at_s in ended_s
    )
    return counted / left_s if left_s > 0 else 0.0


def silent_s(span: tuple[float, float], answered_in: Iterable[int]) -> int:
    """Return how many whole seconds of a span had no answer to any client: whatever was lost then, no client could ask."""
    begun_s, over_s = math.ceil(span[0]), math.floor(span[1])
    return len(set(range(begun_s, over_s)) - set(answered_in))


def healed_at(fault: Fault) -> float | None:
    """Return when all was well again after a fault (Unix seconds), as far as that was seen."""
    if fault.healed_s is not None or fault.all_s is None:
        return fault.healed_s
    return fault.at_s + fault.all_s


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _three(found: Mapping[str, float] | None) -> str:
    return "-" if found is None else f"{found['p50']:.2f} / {found['p99']:.2f} / {found['max']:.2f}"


def _verdict(met: bool | None) -> str:
    return "not measured" if met is None else "met" if met else "missed"
