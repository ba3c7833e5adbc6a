"""Connections: one configuration, and from it the pool of the hot path and the SQLAlchemy engine of everything else."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import orjson
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from store.arrays import register_arrays

Pool: TypeAlias = AsyncConnectionPool[AsyncConnection[TupleRow]]

PLAN_SETTINGS = (
    # The hot statements join short arrays with indexed partitions. Nested loops in array order look only into the
    # partitions that the ids fall into and lock rows in key order; a hash join, to which small tables tempt a planner,
    # does neither.
    "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off; SET enable_seqscan = off; "
    "SET plan_cache_mode = force_generic_plan; SET jit = off"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreConfig:
    """How to reach the database. `application_name` is what `pg_stat_activity` shows; times are bounds, not targets."""

    dsn: str
    application_name: str = "rayloom"
    pool_size_min: int = 1
    pool_size_max: int = 4
    pool_wait_ms: int = 10_000
    connect_timeout_s: int = 5
    statement_timeout_ms: int = 30_000
    lock_timeout_ms: int = 10_000


def sqlalchemy_url(dsn: str) -> str:
    """Return the SQLAlchemy URL (psycopg 3) of a `postgresql://` or `postgres://` connection string."""
    scheme, separator, rest = dsn.partition("://")
    if not separator or scheme not in {"postgresql", "postgres"}:
        raise ValueError("the connection string must begin with postgresql://")
    return f"postgresql+psycopg://{rest}"


def make_pool(config: StoreConfig) -> Pool:
    """Return the pool of the hot path, closed: open it (`await pool.open()`) inside the loop that uses it."""

    async def configure(connection: AsyncConnection[TupleRow]) -> None:
        register_arrays(connection)
        await connection.execute(PLAN_SETTINGS, prepare=False)

    return AsyncConnectionPool(
        config.dsn,
        kwargs={**_connect_arguments(config), "autocommit": True, "prepare_threshold": 0},
        configure=configure,
        min_size=config.pool_size_min,
        max_size=config.pool_size_max,
        timeout=config.pool_wait_ms / 1000,
        reconnect_timeout=30.0,
        open=False,
        name=config.application_name,
    )


def make_engine(config: StoreConfig) -> AsyncEngine:
    """Return the SQLAlchemy engine of the repositories; it connects when it is first used."""
    return create_async_engine(
        sqlalchemy_url(config.dsn),
        connect_args=_connect_arguments(config),
        pool_size=config.pool_size_max,
        max_overflow=0,
        pool_timeout=config.pool_wait_ms / 1000,
        pool_pre_ping=True,
        json_serializer=lambda value: orjson.dumps(value).decode(),
        json_deserializer=orjson.loads,
    )


def _connect_arguments(config: StoreConfig) -> dict[str, Any]:
    return {
        "application_name": config.application_name,
        "connect_timeout": config.connect_timeout_s,
        "options": f"-c statement_timeout={config.statement_timeout_ms} -c lock_timeout={config.lock_timeout_ms}",
        # A host that vanished is noticed in seconds, not in the two hours of the system's default.
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }
