"""The twins: everything under `tests/contract` runs against memory and against PostgreSQL."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from uuid import UUID

import orjson
import psycopg
import pytest

from store.engine import Pool, StoreConfig, make_pool
from store.executions import PostgresExecutions
from store.leases import PostgresLeases
from store.memory import MemoryLeases, MemoryStore, StoredWorkflow
from store.memory_executions import MemoryExecutions
from tests.contract.making import TTL_MS, an_id, holder
from workflow.ports import Executions, Leases

AddWorkflow = Callable[[UUID, dict[int, dict[str, object]], bool], UUID]


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """One store: two users of its executions (as two actors), its leases, and a way to have workflows in it."""

    executions: Executions
    others: Executions
    leases: Leases
    add_workflow: AddWorkflow
    archive_workflow: Callable[[UUID], None]
    wake: Callable[[UUID, str, int], Awaitable[None]]
    """Leaves a wake-up for a node's run, as an answer or the end of a child does."""

    def owner(self, **changes: object) -> UUID:
        lease_id = an_id()
        self.leases.register(holder(lease_id, **changes), TTL_MS)
        return lease_id


@pytest.fixture(params=["memory", "postgres"])
async def twin(request: pytest.FixtureRequest) -> AsyncIterator[Twin]:
    if request.param == "memory":
        store = MemoryStore(lambda: int(time.time() * 1000))
        yield Twin(
            executions=MemoryExecutions(store),
            others=MemoryExecutions(store),
            leases=MemoryLeases(store),
            add_workflow=lambda workspace, versions, archived: _in_memory(store, workspace, versions, archived),
            archive_workflow=lambda workflow: store.put_workflow(
                workflow, replace(store.workflows[workflow], archived=True)
            ),
            wake=lambda *run: _woken_in_memory(store, *run),
        )
        return
    dsn = request.getfixturevalue("dsn")
    pool = make_pool(StoreConfig(dsn=dsn))
    await pool.open(wait=True)
    leases = PostgresLeases(dsn)
    yield Twin(
        executions=PostgresExecutions(pool),
        others=PostgresExecutions(pool),
        leases=leases,
        add_workflow=lambda workspace, versions, archived: workflow_in_postgres(dsn, workspace, versions, archived),
        archive_workflow=lambda workflow: _archived_in_postgres(dsn, workflow),
        wake=lambda *run: _woken_in_postgres(pool, *run),
    )
    leases.close()
    await pool.close()


def _in_memory(store: MemoryStore, workspace: UUID, versions: dict[int, dict[str, object]], archived: bool) -> UUID:
    workflow_id = an_id()
    documents = {number: orjson.dumps(document) for number, document in versions.items()}
    name = str(versions[max(versions)]["name"])
    store.put_workflow(
        workflow_id, StoredWorkflow(workspace_id=workspace, versions=documents, name=name, archived=archived)
    )
    return workflow_id


def workflow_in_postgres(dsn: str, workspace: UUID, versions: dict[int, dict[str, object]], archived: bool) -> UUID:
    workflow_id, user = an_id(), an_id()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("INSERT INTO users (id, email, password_hash) VALUES (%s, %s, '')", (user, f"{user}@x.test"))
        connection.execute(
            "INSERT INTO workspaces (id, owner_id, name, slug) VALUES (%s, %s, 'w', %s) ON CONFLICT DO NOTHING",
            (workspace, user, str(workspace)),
        )
        current = max(versions)
        connection.execute(
            "INSERT INTO workflows (id, workspace_id, name, slug, status, version, nodes, connections) "
            "VALUES (%s, %s, %s, %s, %s, %s, '[]', '[]')",
            (
                workflow_id,
                workspace,
                versions[current]["name"],
                str(workflow_id),
                "archived" if archived else "active",
                current,
            ),
        )
        for number, document in versions.items():
            parts = [orjson.dumps(document[part]).decode() for part in ("nodes", "connections", "settings")]
            connection.execute(
                "INSERT INTO workflow_versions (id, workflow_id, version, name, nodes, connections, settings) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s)",
                (an_id(), workflow_id, number, document["name"], *parts),
            )
    return workflow_id


def _archived_in_postgres(dsn: str, workflow: UUID) -> None:
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("UPDATE workflows SET status = 'archived' WHERE id = %s", (workflow,))


async def _woken_in_memory(store: MemoryStore, execution_id: UUID, node_id: str, run_index: int) -> None:
    MemoryExecutions(store).wake(an_id(), execution_id, node_id, run_index)


async def _woken_in_postgres(pool: Pool, execution_id: UUID, node_id: str, run_index: int) -> None:
    async with pool.connection() as connection:
        await connection.execute(
            "INSERT INTO signals (id, workspace_id, execution_id, kind, node_id, run_index, body) "
            "SELECT %s, workspace_id, id, 'wake', %s, %s, '{}' FROM executions WHERE id = %s",
            (an_id(), node_id, run_index, execution_id),
        )
