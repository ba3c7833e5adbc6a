"""Drafts on their way from who writes them to who follows: through notifications, so nothing of them is kept.

A connection of its own sends them, at most once per 10 ms; what goes on where a piece ended travels as one.
"""

from collections.abc import Sequence
from uuid import UUID

from store.notifications import INTERVAL_MS, Sending
from workflow.drafts import Piece, joined, packed

DRAFTS_CHANNEL = "rayloom_drafts"
"""Pieces of drafts; the payload is one (`workflow.drafts.packed`)."""
PENDING_MAX = 5_000
"""Pieces that wait while the database is away; beyond that the oldest are lost, which their offsets show."""


class DraftSender(Sending):
    """Sends pieces. It connects when there is something to send for the first time."""

    def __init__(self, dsn: str, *, application_name: str = "rayloom-drafts") -> None:
        super().__init__(dsn, application_name=application_name)
        self._pending: dict[UUID, list[Piece]] = {}
        self._count = 0
        self._number = 0

    def send(self, execution_id: UUID, pieces: Sequence[Piece]) -> None:
        """Send pieces soon. Never waits nor fails; while the database is away, they are lost."""
        if self._closing or not pieces:
            return
        if self._count > PENDING_MAX:
            self._pending, self._count = {}, 0
        self._pending.setdefault(execution_id, []).extend(pieces)
        self._count += len(pieces)
        self._begin()

    def _is_pending(self) -> bool:
        return bool(self._pending)

    def _taken(self) -> tuple[list[tuple[str, str]], float]:
        batch, self._pending, self._count = self._pending, {}, 0
        notices = []
        for execution_id, pieces in batch.items():
            for piece in joined(pieces):
                self._number += 1
                notices.append((DRAFTS_CHANNEL, packed(execution_id, self._number, piece)))
        return notices, INTERVAL_MS
