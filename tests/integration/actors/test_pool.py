"""Our supervisor and pool on a real Ray and a real database, without the API and without a keeper."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from itertools import pairwise
from uuid import UUID

import orjson
import psutil
import pytest
import ray

from actors import remote
from actors.config import PoolConfig
from actors.ids import new_id
from actors.members import Member, Reply
from actors.wire import pack, unpack
from store.engine import StoreConfig, make_pool
from store.executions import PostgresExecutions
from tests.conftest import run_sql
from tests.instance import until
from workflow.ports import Accepted, Claimed, ExecutionView, Isolation, NewExecution, SignalKind
from workflow.states import ExecutionStatus

pytestmark = [pytest.mark.ray]

WORKSPACE = new_id()
SIZE = 2


def definition(seconds: float, cpu: float = 0, code: str = "") -> bytes:
    """Return a workflow of a code node between a trigger and a set node."""
    body = code or f"import time\ntime.sleep({seconds})\nreturn [{{'n': items[0]['n'] + 1}}]"
    nodes = [
        {"id": "start", "type": "trigger.manual"},
        {"id": "code", "type": "action.code", "config": {"code": body}, "resources": {"cpu": cpu}},
        {"id": "end", "type": "data.set", "config": {"values": {"done": True}}},
    ]
    connections = [{"source": "start", "target": "code"}, {"source": "code", "target": "end"}]
    return orjson.dumps({"name": "three", "nodes": nodes, "connections": connections})


class Pool:
    """What a replica has: the pool's port and the store."""

    def __init__(self, dsn: str, executions: PostgresExecutions) -> None:
        self.dsn = dsn
        self.port = remote.RayPool("rayloom")
        self.executions = executions

    async def accept(
        self, body: bytes, owner: UUID | None = None, isolation: Isolation = Isolation.POOLED
    ) -> tuple[Accepted, Claimed]:
        new = NewExecution(
            id=new_id(),
            workspace_id=WORKSPACE,
            workflow_id=None,
            definition=body,
            input=b'{"n": 1}',
            nodes_total=3,
            trigger_type="api",
            triggered_by=None,
            isolation=isolation,
            owner=owner,
        )
        (accepted,) = await self.executions.accept([new])
        claimed = Claimed(
            id=new.id,
            workspace_id=WORKSPACE,
            workflow_id=None,
            workflow_version=None,
            workflow_name="three",
            definition=body,
            input=new.input,
            epoch=1,
            last_seq=0,
            recovered=False,
            losses=0,
            crashes=0,
            isolation=isolation,
        )
        return accepted, claimed

    async def push(self, member: Member, claimed: Claimed) -> Reply:
        (reply,) = await self.port.run(member, [claimed])
        assert reply.execution_id == claimed.id
        return reply

    async def until_ended(self, identity: UUID, limit_s: float = 20) -> ExecutionView:
        async with asyncio.timeout(limit_s):
            while not (view := await self.executions.get(WORKSPACE, identity)).status.terminal:
                await asyncio.sleep(0.02)
        return view

    def rows(self, statement: str, *parameters: object) -> list[tuple[object, ...]]:
        return run_sql(self.dsn, statement, *parameters)


@pytest.fixture(scope="module")
def supervised(ray_cluster: None, database: str) -> Iterator[str]:
    """A supervisor with two actors; at the end no process of theirs may be left."""
    remote.ensure_supervisor(PoolConfig(dsn=database, cluster_id="test", size=SIZE))
    yield database
    pids = [pid for (pid,) in run_sql(database, "SELECT DISTINCT pid FROM leases")]
    remote.remove_supervisor()
    until(lambda: not any(runs(int(str(pid))) for pid in pids), 10, "the pool ends with its supervisor")
    live = run_sql(database, "SELECT actor_name FROM leases WHERE ended_at IS NULL")
    assert live == [], "actors that are closed end their leases"


@pytest.fixture
async def pool(supervised: str) -> AsyncIterator[Pool]:
    async with make_pool(StoreConfig(dsn=supervised, application_name="test-replica")) as connections:
        yield Pool(supervised, PostgresExecutions(connections))


def runs(pid: int) -> bool:
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and "ray::" in " ".join(process.cmdline())
    except psutil.Error:
        return False


async def members(pool: Pool) -> list[Member]:
    found = await pool.port.members()
    assert len(found) == SIZE
    return found


async def test_a_pushed_execution_runs_where_it_was_pushed_to(pool):
    member = (await members(pool))[1]
    accepted, claimed = await pool.accept(definition(0), owner=member.lease_id)
    assert accepted.status is ExecutionStatus.RUNNING
    reply = await pool.push(member, claimed)

    assert reply.finished is not None
    assert reply.finished.ending.status is ExecutionStatus.COMPLETED
    assert orjson.loads(reply.finished.ending.output or b"") == {"end": [{"n": 2, "done": True}]}
    view = await pool.executions.get(WORKSPACE, claimed.id)
    assert (view.status, view.epoch, view.output) == (ExecutionStatus.COMPLETED, 1, reply.finished.ending.output)
    assert (view.pid, view.actor_name) == (member.pid, member.name)
    rows = {row.node_id: (row.placement, row.pid) for row in await pool.executions.nodes(WORKSPACE, claimed.id)}
    assert rows == dict.fromkeys(("start", "code", "end"), ("actor", member.pid))

    again = await pool.push(member, claimed)
    assert again.finished is None, "a call that comes late does nothing"
    events = await pool.executions.events(WORKSPACE, claimed.id, 0, 100)
    assert [event.kind for event in events].count("node.completed") == 3


async def test_a_queued_execution_is_claimed(pool):
    accepted, _ = await pool.accept(definition(0))
    assert accepted.status is ExecutionStatus.QUEUED
    view = await pool.until_ended(accepted.id)
    assert (view.status, view.epoch) == (ExecutionStatus.COMPLETED, 1)
    assert view.pid in {member.pid for member in await members(pool)}


async def test_a_push_whose_call_is_lost_is_taken_up_by_its_owner(pool):
    member = (await members(pool))[0]
    accepted, _ = await pool.accept(definition(0), owner=member.lease_id)
    view = await pool.until_ended(accepted.id)
    assert (view.status, view.epoch, view.pid) == (ExecutionStatus.COMPLETED, 1, member.pid)


async def test_a_node_that_asks_for_a_cpu_runs_as_a_ray_task(pool):
    found = await members(pool)
    pids = []
    for member in found:
        _, claimed = await pool.accept(definition(0, cpu=1), owner=member.lease_id)
        reply = await pool.push(member, claimed)
        assert reply.finished is not None
        assert orjson.loads(reply.finished.ending.output or b"") == {"end": [{"n": 2, "done": True}]}
        rows = {row.node_id: row for row in await pool.executions.nodes(WORKSPACE, claimed.id)}
        assert (rows["code"].placement, rows["end"].placement) == ("task", "actor")
        pids.append(rows["code"].pid)
        events = await pool.executions.events(WORKSPACE, claimed.id, 0, 100)
        assert [event.node_id for event in events if event.kind == "node.started"] == ["code"]
    assert not set(pids) & {member.pid for member in found}


MANY = "return [{'n': n, 'text': 'x' * 1000} for n in range(3000)]"


async def test_large_data_go_through_a_task_and_leave_the_actor(pool):
    document = orjson.loads(definition(0, code=MANY))
    task = {"id": "task", "type": "action.code", "config": {"code": "return items"}}
    document["nodes"].insert(2, task)
    document["connections"] = [{"source": a["id"], "target": b["id"]} for a, b in pairwise(document["nodes"])]
    member = (await members(pool))[0]
    used: list[int] = []
    for _ in range(12):
        _, claimed = await pool.accept(orjson.dumps(document), owner=member.lease_id)
        reply = await pool.push(member, claimed)
        assert reply.finished is not None
        assert reply.finished.ending.status is ExecutionStatus.COMPLETED, reply.finished.ending
        used.append(psutil.Process(member.pid).memory_full_info().uss)
    rows = {row.node_id: row for row in await pool.executions.nodes(WORKSPACE, claimed.id)}
    stored = pool.rows("SELECT count(*), count(DISTINCT sha256) FROM blobs WHERE workspace_id = %s", WORKSPACE)

    assert (rows["code"].placement, rows["task"].placement) == ("actor", "task")
    assert (rows["task"].output, rows["task"].output_ref.items) == (None, {"main": 3000})
    assert rows["task"].output_ref.size > 3_000_000
    assert reply.finished.ending.output_ref is not None
    assert stored[0][0] <= 4, "twelve executions share their content"
    assert used[-1] < used[3] + 32 * 1024 * 1024, used


async def test_a_dedicated_execution_gets_an_actor_of_its_own(pool):
    before = {member.pid for member in await members(pool)}
    accepted, _ = await pool.accept(definition(0.2), isolation=Isolation.DEDICATED)
    assert accepted.status is ExecutionStatus.QUEUED
    pool.port.wake_dedicated()
    view = await pool.until_ended(accepted.id)
    assert (view.status, view.actor_name) == (ExecutionStatus.COMPLETED, f"execution:{accepted.id}")
    assert view.pid not in before
    assert {member.pid for member in await members(pool)} == before, "it is not one of the pool"
    until(lambda: not runs(view.pid or 0), 10, "it goes away with its execution")
    until(
        lambda: pool.rows("SELECT end_reason FROM leases WHERE dedicated_to = %s", accepted.id) == [("released",)],
        5,
        "its lease is released",
    )


async def test_the_death_of_a_dedicated_actor_is_noticed_at_once(pool):
    accepted, _ = await pool.accept(definition(1.0), isolation=Isolation.DEDICATED)
    pool.port.wake_dedicated()
    begun = "SELECT 1 FROM stream_events WHERE execution_id = %s AND node_id = 'start'"
    until(lambda: pool.rows(begun, accepted.id), 10, "it has begun")
    ((lease, pid),) = pool.rows("SELECT id, pid FROM leases WHERE dedicated_to = %s AND ended_at IS NULL", accepted.id)
    os.kill(int(str(pid)), signal.SIGKILL)
    reason = "SELECT end_reason FROM leases WHERE id = %s AND ended_at IS NOT NULL"
    assert until(lambda: pool.rows(reason, lease), 12, "its lease ends") == [("crashed",)]
    view = await pool.until_ended(accepted.id)
    assert (view.status, view.epoch) == (ExecutionStatus.COMPLETED, 2)


async def test_an_execution_goes_on_when_the_call_that_pushed_it_is_cancelled(pool):
    member = (await members(pool))[0]
    _, claimed = await pool.accept(definition(0.7, cpu=1), owner=member.lease_id)
    call = ray.get_actor(member.name, "rayloom").run.remote(pack([claimed]))
    until(
        lambda: pool.rows("SELECT 1 FROM stream_events WHERE execution_id = %s AND kind = 'node.started'", claimed.id),
        10,
        "its Ray task has started",
    )
    ray.cancel(call)
    with pytest.raises((ray.exceptions.TaskCancelledError, ray.exceptions.RayTaskError)):
        ray.get(call, timeout=5)
    view = await pool.until_ended(claimed.id)
    assert (view.status, view.epoch, view.pid) == (ExecutionStatus.COMPLETED, 1, member.pid)


async def test_cancelling_stops_a_ray_task_that_would_never_end(pool):
    member = (await members(pool))[0]
    body = definition(0, cpu=1, code="while True:\n    pass")
    _, claimed = await pool.accept(body, owner=member.lease_id)
    call = ray.get_actor(member.name, "rayloom").run.remote(pack([claimed]))

    def burning() -> list[psutil.Process]:
        found = []
        for process in psutil.Process().children(recursive=True):
            try:
                if "monty" in " ".join(process.cmdline()) and process.cpu_percent(0.1) > 50:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    (sandbox,) = until(burning, 20, "its code burns CPU")
    began_s = time.monotonic()
    await pool.executions.signal(WORKSPACE, claimed.id, new_id(), SignalKind.CANCEL, b'{"by":"a test"}')
    pool.port.deliver(member.name, claimed.id)
    view = await pool.until_ended(claimed.id)
    assert view.status is ExecutionStatus.CANCELLED
    assert time.monotonic() - began_s < 2
    (reply,) = unpack(ray.get(call, timeout=5))
    assert reply.finished.ending.status is ExecutionStatus.CANCELLED
    until(lambda: not sandbox.is_running() or sandbox.status() == psutil.STATUS_ZOMBIE, 5, "the code stops burning CPU")


async def test_a_killed_supervisor_comes_back_with_a_pool(pool):
    before = await members(pool)
    accepted, _ = await pool.accept(definition(0.5), owner=before[0].lease_id)
    (supervisor,) = [
        process
        for process in psutil.Process().children(recursive=True)
        if " ".join(process.cmdline()).startswith("ray::SupervisorActor")
    ]
    os.kill(supervisor.pid, signal.SIGKILL)
    until(lambda: not any(runs(member.pid) for member in before), 10, "its children die with it")
    view = await pool.until_ended(accepted.id)
    assert (view.status, view.epoch) == (ExecutionStatus.COMPLETED, 2)
    reasons = pool.rows("SELECT end_reason FROM leases WHERE id = ANY(%s)", [member.lease_id for member in before])
    assert reasons == [("supervisor",), ("supervisor",)]

    live = "SELECT pid FROM leases WHERE ended_at IS NULL AND expires_at > clock_timestamp() AND dedicated_to IS NULL"
    until(lambda: len(pool.rows(live)) == SIZE, 30, "the pool is full again")
    assert {pid for (pid,) in pool.rows(live)}.isdisjoint({member.pid for member in before})
