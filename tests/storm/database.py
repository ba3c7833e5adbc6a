"""Reading the database while it comes and goes."""

import time
from collections.abc import Callable
from typing import Any

import psycopg

POLL_S = 0.02


class Reader:
    """One connection for one thread, made again when it has broken; `dsn` says where the database is now."""

    def __init__(self, dsn: Callable[[], str]) -> None:
        self._dsn = dsn
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None

    def rows(self, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Return rows. Raises `psycopg.OperationalError` when the database does not answer."""
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self._dsn(), autocommit=True, connect_timeout=3)
            return self._connection.execute(statement, parameters or None).fetchall()
        except psycopg.OperationalError:
            self.close()
            raise

    def steadily(self, statement: str, *parameters: object, limit_s: float = 120) -> list[tuple[Any, ...]]:
        """Return rows, as soon as the database answers."""
        deadline_s = time.monotonic() + limit_s
        while True:
            try:
                return self.rows(statement, *parameters)
            except psycopg.OperationalError:
                if time.monotonic() > deadline_s:
                    raise
            time.sleep(POLL_S)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
