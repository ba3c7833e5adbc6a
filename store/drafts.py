"""Drafts on their way from who writes them to who follows: through notifications, so nothing of them is kept.

A connection of its own sends them, at most once per 10 ms; what goes on where a piece ended travels as one.
"""

import asyncio
import contextvars
from collections.abc import Sequence
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from store.notifications import INTERVAL_MS, NOTIFY, RECONNECT_MS, connect
from workflow.drafts import Piece, joined, packed

DRAFTS_CHANNEL = "rayloom_drafts"
"""Pieces of drafts; the payload is one (`workflow.drafts.packed`)."""
PENDING_MAX = 5_000
"""Pieces that wait while the database is away; beyond that the oldest are lost, which their offsets show."""


class DraftSender:
    """Sends pieces. It connects when there is something to send for the first time."""

    def __init__(self, dsn: str, *, application_name: str = "rayloom-drafts") -> None:
        self._dsn = dsn
        self._application_name = application_name
        self._pending: dict[UUID, list[Piece]] = {}
        self._count = 0
        self._number = 0
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def send(self, execution_id: UUID, pieces: Sequence[Piece]) -> None:
        """Send pieces soon. Never waits nor fails; while the database is away, they are lost."""
        if self._closing or not pieces:
            return
        if self._count > PENDING_MAX:
            self._pending, self._count = {}, 0
        self._pending.setdefault(execution_id, []).extend(pieces)
        self._count += len(pieces)
        self._arrived.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name="drafts", context=contextvars.Context()
            )

    async def close(self) -> None:
        """Send what is pending, then end."""
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _run(self) -> None:
        connection: AsyncConnection[TupleRow] | None = None
        while self._pending or not self._closing:
            self._arrived.clear()
            if not self._pending:
                await self._arrived.wait()
                continue
            batch, self._pending, self._count = self._pending, {}, 0
            try:
                connection = connection or await connect(self._dsn, self._application_name)
                texts = self._texts(batch)
                await connection.execute(NOTIFY, ([DRAFTS_CHANNEL] * len(texts), texts))
                pause_ms = INTERVAL_MS
            except (psycopg.Error, OSError):
                if connection is not None:
                    await connection.close()
                connection, pause_ms = None, RECONNECT_MS
            if not self._closing:
                await asyncio.sleep(pause_ms / 1000)
        if connection is not None:
            await connection.close()

    def _texts(self, batch: dict[UUID, list[Piece]]) -> list[str]:
        texts = []
        for execution_id, pieces in batch.items():
            for piece in joined(pieces):
                self._number += 1
                texts.append(packed(execution_id, self._number, piece))
        return texts
