"""The tables: migrated once, the same as the metadata says, partitioned by month and pruned."""

import threading
import time
from datetime import UTC, datetime

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from psycopg import ClientCursor, sql
from sqlalchemy import create_engine

from store import reading, statements
from store.arrays import uuids
from store.columns import flush_columns
from store.embedded import EmbeddedServer
from store.engine import PLAN_SETTINGS, Pool, sqlalchemy_url
from store.executions import PostgresExecutions
from store.migrate import migrate
from store.partitions import extend_partitions, month_start_ms
from store.tables import metadata
from tests.conftest import database_dsn, run_sql
from tests.contract.making import an_id, ending, flush, new_execution, node
from workflow.ids import uuid7
from workflow.states import TERMINAL, ExecutionStatus

PARENTS = ("executions", "node_executions", "stream_events")


def month(later: int) -> str:
    now_ms = int(time.time() * 1000)
    return datetime.fromtimestamp(month_start_ms(now_ms, later) / 1000, UTC).strftime("%Y_%m")


def partitions(dsn: str) -> list[str]:
    found = run_sql(
        dsn, "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = ANY(%s::regclass[])", list(PARENTS)
    )
    return sorted(str(name) for (name,) in found if "idx" not in str(name) and "key" not in str(name))


def test_migrating_again_changes_nothing(dsn: str) -> None:
    before = partitions(dsn)
    migrate(dsn)

    assert partitions(dsn) == before
    assert run_sql(dsn, "SELECT version_num FROM alembic_version") == [("0012",)]
    assert run_sql(dsn, "SELECT count(*) FROM pg_extension WHERE extname = 'vector'") == [(1,)]


def test_the_metadata_are_the_tables(dsn: str) -> None:
    engine = create_engine(sqlalchemy_url(dsn))
    partition_names = set(partitions(dsn))
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_object": lambda thing, name, kind, reflected, other: (
                    not (kind == "index" or (kind == "table" and name in partition_names))
                ),
            },
        )
        differences = compare_metadata(context, metadata)
    engine.dispose()

    assert differences == []


def test_migrators_that_start_at_once_take_turns(postgres_server: EmbeddedServer) -> None:
    name = f"race_{an_id().hex}"
    run_sql(postgres_server.dsn, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    target = database_dsn(postgres_server, name)
    faults: list[Exception] = []

    def run() -> None:
        try:
            migrate(target)
        except Exception as error:  # noqa: BLE001 (a thread hands over whatever went wrong)
            faults.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = partitions(target)
    run_sql(postgres_server.dsn, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    assert faults == []
    assert len(made) == 12


def test_two_months_are_kept_ahead(dsn: str) -> None:
    wanted = sorted(f"{parent}_{month(later)}" for parent in PARENTS for later in (-1, 0, 1, 2))
    in_a_month_ms = month_start_ms(int(time.time() * 1000), 1)

    assert partitions(dsn) == wanted
    assert extend_partitions(dsn, in_a_month_ms) == [f"{parent}_{month(3)}" for parent in PARENTS]
    assert extend_partitions(dsn, in_a_month_ms) == []


async def test_rows_of_the_next_month_find_their_partition(pg_store: PostgresExecutions, dsn: str) -> None:
    later = uuid7(month_start_ms(int(time.time() * 1000), 2), b"0123456789")
    new = new_execution(an_id(), id=later)
    await pg_store.accept([new])

    assert run_sql(dsn, "SELECT tableoid::regclass::text FROM executions") == [(f"executions_{month(2)}",)]
    assert (await pg_store.get(new.workspace_id, later)).id == later


def test_a_terminal_status_cannot_be_changed_by_anybody(dsn: str) -> None:
    insert = (
        "INSERT INTO executions (id, workspace_id, definition, status, trigger_type, input_data) "
        "VALUES (%s, %s, '{}', 'completed', 'manual', '{}')"
    )
    run_sql(dsn, insert, an_id(), an_id())

    with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="for ever"):
        run_sql(dsn, "UPDATE executions SET status = 'queued'")
    with pytest.raises(psycopg.errors.CheckViolation):
        run_sql(dsn, insert.replace("completed", "done"), an_id(), an_id())


@pytest.mark.parametrize("status", list(ExecutionStatus))
def test_the_database_knows_every_status_and_which_are_terminal(dsn: str, status: ExecutionStatus) -> None:
    insert = (
        "INSERT INTO executions (id, workspace_id, definition, status, trigger_type, input_data, owner, wake_at) "
        "VALUES (%s, %s, '{}', %s, 'manual', '{}', %s, %s)"
    )
    rests = status in (ExecutionStatus.WAITING, ExecutionStatus.PAUSED)
    owner, wake_at = (None, "infinity") if rests else (an_id(), None)
    run_sql(dsn, insert, an_id(), an_id(), status.value, owner, wake_at)
    other = ExecutionStatus.QUEUED if status is not ExecutionStatus.QUEUED else ExecutionStatus.RUNNING

    if status in TERMINAL:
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="for ever"):
            run_sql(dsn, "UPDATE executions SET status = %s", other.value)
    else:
        run_sql(dsn, "UPDATE executions SET status = %s, owner = %s", other.value, an_id())


async def never_scanned(pool: Pool, statement: str, parameters: dict[str, object]) -> str:
    """Return the plan of a hot statement as the pool runs it (a generic plan), with what was done."""
    plans: list[str] = []
    async with pool.connection() as connection:
        connection.add_notice_handler(lambda notice: plans.append(notice.message_primary or ""))
        await connection.execute("LOAD 'auto_explain'")
        await connection.execute("SET auto_explain.log_min_duration = 0")
        await connection.execute("SET auto_explain.log_analyze = on")
        await connection.execute("SET client_min_messages = log")
        await connection.execute(statement, parameters)
    return next(plan for plan in reversed(plans) if "unnest" in plan or "e.input_data" in plan)


def scans_done(plan: str, table: str) -> set[str]:
    """Return the partitions of a table that a plan really looked into."""
    lines = [line for line in plan.splitlines() if "Scan" in line and f" on {table}_2" in line]
    return {
        line.split(f" on {table}_")[1].split()[0] for line in lines if "never executed" not in line and "actual" in line
    }


@pytest.mark.parametrize("rows", [0, 3_000])
async def test_hot_statements_look_into_one_month_only(
    pool: Pool, pg_store: PostgresExecutions, dsn: str, rows: int
) -> None:
    if rows:
        await pg_store.accept([new_execution(an_id()) for _ in range(rows)])
        run_sql(dsn, "ANALYZE")
    new = new_execution(an_id())
    await pg_store.accept([new])
    run_sql(dsn, "UPDATE executions SET status = 'running', owner = %s, epoch = 1 WHERE id = %s", an_id(), new.id)
    parts = [flush(new.id, nodes=[node("a")], ending=ending())]
    flushed = await never_scanned(pool, statements.FLUSH, dict(flush_columns(parts)))
    got = await never_scanned(pool, reading.GET, {"id": new.id, "workspace": new.workspace_id})
    stood = await never_scanned(pool, statements.STANDING, {"ids": uuids([new.id])})

    assert "Nested Loop" in flushed
    assert "hashed SubPlan" in flushed
    assert scans_done(flushed, "executions") == {month(0)}
    assert scans_done(got, "executions") == {month(0)}
    assert scans_done(stood, "executions") == {month(0)}
    assert run_sql(dsn, "SELECT status FROM executions WHERE id = %s", new.id) == [("completed",)]


def test_the_queue_is_read_from_its_index(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True, cursor_factory=ClientCursor) as connection:
        connection.execute(PLAN_SETTINGS)
        connection.execute("SET enable_seqscan = off")
        plan = connection.execute(
            "EXPLAIN SELECT FROM executions WHERE status = 'queued' AND isolation = 'pooled' AND NOT held LIMIT 1"
        ).fetchall()

    assert any("workspace_id_priority_id_idx" in line for (line,) in plan)
