"""I11 and the live half of I12: when all has healed, everything answers, nothing is left over, and each sees only what is its own."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import httpx2
import psutil

from tests.instance import Known, RunningInstance
from tests.storm.invariants import Violation

LOOKED_AT = 25
PAGE = 200

ONE_OF_EACH = {"ray::SupervisorActor": 1, "ray::ServeReplica:rayloom:api": 2, "ray::ServeController": 1}
SANDBOXES = ("monty", "quickjs")
LEFT_OVER = {
    "queued or running": "SELECT count(*) FROM executions WHERE status IN ('queued', 'running')",
    "leases that have run out and were not ended": (
        "SELECT count(*) FROM leases WHERE ended_at IS NULL AND expires_at <= clock_timestamp()"
    ),
}


@dataclass(frozen=True, slots=True)
class Tenant:
    """A workspace, and who may use it."""

    name: str
    workspace_id: UUID
    api_key: str


def whole(
    health: tuple[int, Mapping[str, object]], pool: int, leases: int, left: Mapping[str, int]
) -> Iterator[Violation]:
    """I11: the API is ready with its whole pool, as many leases live, and nothing is left over."""
    status, body = health
    if status != 200 or body.get("actors") != pool:
        yield Violation("I11", f"/health/ready says {status} {body}")
    if leases != pool:
        yield Violation("I11", f"{leases} leases live, the pool has {pool} actors")
    for what, count in left.items():
        if count:
            yield Violation("I11", f"{count} {what}")


def processes(titles: Iterable[str], pool: int, orphans: Sequence[str]) -> Iterator[Violation]:
    """I11: as many processes of each kind as there should be, and no sandbox without an owner."""
    found = Counter(title.split(" ")[0] for title in titles)
    for title, wanted in {**ONE_OF_EACH, "ray::ExecutionActor": pool}.items():
        count = sum(number for name, number in found.items() if name.startswith(title))
        if count != wanted:
            yield Violation("I11", f"{count} processes are {title}, not {wanted}")
    for orphan in orphans:
        yield Violation("I11", f"it has no owner any more: {orphan}")


def separate(
    seen: Mapping[str, set[UUID]], owned: Mapping[str, set[UUID]], peeked: Mapping[str, set[int]]
) -> Iterator[Violation]:
    """I12: lists show what is of their workspace, all of it and nothing else; what is another's is not found."""
    for tenant, ids in seen.items():
        if ids != owned[tenant]:
            more, fewer = len(ids - owned[tenant]), len(owned[tenant] - ids)
            yield Violation("I12", f"the list of {tenant} has {more} that are not its own and lacks {fewer}")
    for tenant, statuses in peeked.items():
        if statuses - {404}:
            yield Violation("I12", f"{tenant} asked for executions of others and was answered {sorted(statuses)}")


def own_requests(asked: Mapping[str, set[UUID]], owned: Mapping[str, set[UUID]]) -> Iterator[Violation]:
    """I12: the requests to people that a list shows are of executions of its workspace."""
    for tenant, ids in asked.items():
        if foreign := ids - owned[tenant]:
            yield Violation("I12", f"the requests of {tenant} are of {len(foreign)} executions that are not its own")


def look(instance: RunningInstance, pool: int) -> Iterator[Violation]:
    """Look at a running instance."""
    answer = instance.api.http.get("/health/ready", timeout=5)
    left = {what: int(instance.rows(statement)[0][0]) for what, statement in LEFT_OVER.items()}
    yield from whole((answer.status_code, answer.json()), pool, len(instance.leases()), left)
    found = instance.look()
    orphans = [str(known) for known in found if _is_orphan(known)]
    yield from processes([known.what for known in found], pool, orphans)


def look_across(base_url: str, tenants: Sequence[Tenant], owned: Mapping[str, set[UUID]]) -> Iterator[Violation]:
    """List the executions of every tenant, and ask for those of the others."""
    seen: dict[str, set[UUID]] = {}
    asked: dict[str, set[UUID]] = {}
    peeked: dict[str, set[int]] = {}
    for tenant in tenants:
        with httpx2.Client(
            base_url=f"{base_url}/api/v1", headers={"X-API-Key": tenant.api_key}, trust_env=False
        ) as http:
            seen[tenant.name] = set(_listed(http, tenant.workspace_id, "executions", "id"))
            asked[tenant.name] = set(_listed(http, tenant.workspace_id, "hitl", "execution_id"))
            others = [
                each for other in tenants if other is not tenant for each in sorted(owned[other.name])[-LOOKED_AT:]
            ]
            paths = [
                f"/workspaces/{tenant.workspace_id}/executions/{each}{part}"
                for each in others
                for part in ("", "/nodes")
            ]
            paths += [
                f"/workspaces/{other.workspace_id}/{what}"
                for other in tenants
                if other is not tenant
                for what in ("executions", "hitl")
            ]
            peeked[tenant.name] = {http.get(path).status_code for path in paths}
    yield from separate(seen, owned, peeked)
    yield from own_requests(asked, owned)


def _listed(http: httpx2.Client, workspace_id: UUID, what: str, name: str) -> Iterator[UUID]:
    cursor: str | None = None
    while True:
        parameters = {"limit": str(PAGE)} | ({"cursor": cursor} if cursor else {})
        page = http.get(f"/workspaces/{workspace_id}/{what}", params=parameters).raise_for_status().json()
        yield from (UUID(item[name]) for item in page["items"])
        cursor = page["next_cursor"]
        if not cursor:
            return


def _is_orphan(known: Known) -> bool:
    """Whether it is a sandbox whose owner has gone: processes without a parent are given to the first process, or a reaper."""
    if not any(name in known.what for name in SANDBOXES):
        return False
    try:
        parent = psutil.Process(known.pid).parent()
    except psutil.Error:
        return False
    return parent is None or parent.pid == 1
