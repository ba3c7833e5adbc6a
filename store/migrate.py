"""Brings the database to the present tables. Safe to call from every process at once: one works, the others wait."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import DBAPIError

from store.engine import sqlalchemy_url
from store.partitions import ensure_partitions

LOCK_KEY = 0x5261_796C_6F6F_6D4D
MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(dsn: str, months_ahead: int = 2) -> None:
    """Apply the missing revisions and partitions, all or none; make the extension `vector` where it is available."""
    engine = create_engine(sqlalchemy_url(dsn))
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})
            _make_vector_extension(connection)
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            now_ms = connection.execute(
                text("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
            ).scalar_one()
            ensure_partitions(connection, now_ms, months_ahead)
    finally:
        engine.dispose()


def current_revision(dsn: str) -> str | None:
    """Return the revision that the database is at; None for one without tables of ours."""
    engine = create_engine(sqlalchemy_url(dsn))
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    finally:
        engine.dispose()


def _make_vector_extension(connection: Connection) -> None:
    available = text("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'")
    if connection.execute(available).first() is None:
        return
    try:
        with connection.begin_nested():
            connection.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))
    except DBAPIError:
        # Not ours to make on a managed server; what needs vectors says so itself when it finds none.
        return
