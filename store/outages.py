"""Tells an outage of the database from a fault in what was asked: only the first may be retried."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection as SqlConnection
from sqlalchemy.ext.asyncio import AsyncEngine

from store.engine import Pool
from workflow.errors import StoreUnavailable

LIMIT_EXCEEDED = "54"
"""SQLSTATE class of statements too complex or values too large: operational to psycopg, but the row's fault."""
READ_ONLY = "25006"


def is_outage(error: BaseException | None) -> bool:
    """Whether the database could not answer, rather than refused what was asked."""
    if not isinstance(error, psycopg.Error):
        return False
    if isinstance(error, psycopg.InterfaceError):
        return True
    state = error.sqlstate or ""
    return state == READ_ONLY or (isinstance(error, psycopg.OperationalError) and not state.startswith(LIMIT_EXCEEDED))


@contextmanager
def outages() -> Iterator[None]:
    """Raise `StoreUnavailable` for every outage inside; whether a statement under way took effect is then not known."""
    try:
        yield
    except psycopg.Error as error:
        if is_outage(error):
            raise _unavailable(error) from error
        raise
    except DBAPIError as error:
        if is_outage(error.orig):
            raise _unavailable(error.orig) from error
        raise
    except PoolTimeoutError as error:
        raise _unavailable(error) from error


@asynccontextmanager
async def connection_of(pool: Pool) -> AsyncIterator[AsyncConnection[TupleRow]]:
    """Lend a connection; outages, of the pool as well as of a statement, raise `StoreUnavailable`."""
    with outages():
        async with pool.connection() as connection:
            yield connection


@asynccontextmanager
async def transaction(engine: AsyncEngine) -> AsyncIterator[SqlConnection]:
    """Lend a connection in a transaction that commits at the end; outages raise `StoreUnavailable`."""
    with outages():
        async with engine.begin() as connection:
            yield connection


def _unavailable(error: BaseException | None) -> StoreUnavailable:
    return StoreUnavailable(f"the database does not answer: {error}".strip())
