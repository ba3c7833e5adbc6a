"""Tells an outage of the database from a fault in what was asked: only the first may be retried."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from store.engine import Pool
from workflow.errors import StoreUnavailable

LIMIT_EXCEEDED = "54"
"""SQLSTATE class of statements too complex or values too large: operational to psycopg, but the row's fault."""
READ_ONLY = "25006"


def is_outage(error: psycopg.Error) -> bool:
    """Whether the database could not answer, rather than refused what was asked."""
    state = error.sqlstate or ""
    if isinstance(error, psycopg.InterfaceError):
        return True
    return state == READ_ONLY or (isinstance(error, psycopg.OperationalError) and not state.startswith(LIMIT_EXCEEDED))


@contextmanager
def outages() -> Iterator[None]:
    """Raise `StoreUnavailable` for every outage inside; whether a statement under way took effect is then not known."""
    try:
        yield
    except psycopg.Error as error:
        if is_outage(error):
            raise StoreUnavailable(f"the database does not answer: {error}".strip()) from error
        raise


@asynccontextmanager
async def connection_of(pool: Pool) -> AsyncIterator[AsyncConnection[TupleRow]]:
    """Lend a connection; outages, of the pool as well as of a statement, raise `StoreUnavailable`."""
    with outages():
        async with pool.connection() as connection:
            yield connection
