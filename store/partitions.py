"""The monthly partitions of executions, node executions and events: ranges of the UUIDv7 that is their key.

Two months are kept ahead of the present one, so that no insert ever meets a missing month. A month is made as a table
of its own and attached, which does not stop the writers of the others.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import Connection, create_engine, text

from store.engine import sqlalchemy_url

HOT_STORAGE = (
    "fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, "
    "autovacuum_vacuum_cost_delay = 0"
)
STORAGE_BY_TABLE = (
    ("executions", HOT_STORAGE),
    ("node_executions", "fillfactor = 90"),
    ("stream_events", "fillfactor = 100"),
)
LOCK_KEY = 0x5261_796C_6F6F_6D50


def month_start_ms(at_ms: int, months_later: int = 0) -> int:
    """Return the Unix millisecond in which the month of `at_ms`, or one that many months later, begins (UTC)."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    index = at.year * 12 + at.month - 1 + months_later
    return int(datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC).timestamp() * 1000)


def first_id(at_ms: int) -> UUID:
    """Return the lower bound of all UUIDv7 made in or after the millisecond."""
    return UUID(int=at_ms << 80)


def ensure_partitions(connection: Connection, now_ms: int, months_ahead: int = 2) -> list[str]:
    """Make the missing partitions from last month's to `months_ahead` after the present one; return their names.

    Last month's takes the ids that were made just before midnight, or by a host whose clock is behind. Runs in the
    caller's transaction, one caller at a time.
    """
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
    made = []
    for start_ms, end_ms in _months(now_ms, months_ahead):
        suffix = datetime.fromtimestamp(start_ms / 1000, UTC).strftime("%Y_%m")
        for parent, storage in STORAGE_BY_TABLE:
            name = f"{parent}_{suffix}"
            if connection.execute(text("SELECT to_regclass(:name)"), {"name": name}).scalar() is None:
                _attach(connection, parent, name, storage, first_id(start_ms), first_id(end_ms))
                made.append(name)
    return made


def extend_partitions(dsn: str, now_ms: int, months_ahead: int = 2) -> list[str]:
    """Do the same on a connection of its own: for whoever keeps the months ahead while the system runs."""
    engine = create_engine(sqlalchemy_url(dsn))
    try:
        with engine.begin() as connection:
            return ensure_partitions(connection, now_ms, months_ahead)
    finally:
        engine.dispose()


def _months(now_ms: int, months_ahead: int) -> Iterator[tuple[int, int]]:
    for later in range(-1, months_ahead + 1):
        yield month_start_ms(now_ms, later), month_start_ms(now_ms, later + 1)


def _attach(connection: Connection, parent: str, name: str, storage: str, start: UUID, end: UUID) -> None:
    connection.execute(text(f"CREATE TABLE {name} (LIKE {parent} INCLUDING ALL) WITH ({storage})"))
    connection.execute(text(f"ALTER TABLE {parent} ATTACH PARTITION {name} FOR VALUES FROM ('{start}') TO ('{end}')"))
