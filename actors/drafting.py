"""The drafts of a process's executions: what models are writing, kept while they write, and told to those who follow.

Nobody follows most executions, and then nothing is sent. Who begins to follow in the middle is told the whole of it once.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol
from uuid import UUID

from store.notifications import ids_in
from workflow.drafts import Draft, Drafts, Piece, Place, pieces_of
from workflow.ports import Claimed

FOLLOWED_MS = 6_000
"""For so long somebody follows who has said so, and says so again every two seconds."""
KEPT_CHARS_MAX = 262_144
"""What is kept of a draft for those who come late; the rest of a longer one they see as it comes."""


class Tell(Protocol):
    """Sends pieces to whoever follows."""

    def __call__(self, execution_id: UUID, pieces: Sequence[Piece]) -> None:
        """Send them soon. Never waits nor fails."""
        ...


class Writing:
    """`workflow.drafts.Draft`: one that is being written."""

    def __init__(self, place: Place, tell: Callable[[Sequence[Piece]], None]) -> None:
        self._place = place
        self._tell = tell
        self._written = ""
        self._length = 0

    async def add(self, text: str) -> None:
        """Write on."""
        if len(self._written) == self._length < KEPT_CHARS_MAX:
            self._written += text
        begun, self._length = self._length, self._length + len(text)
        self._tell(list(pieces_of(self._place, begun, text)))

    def whole(self) -> list[Piece]:
        """Return what has been written, as far as it is kept."""
        return list(pieces_of(self._place, 0, self._written))


class Drafting:
    """All drafts of a process."""

    def __init__(self, tell: Tell, now_ms: Callable[[], int]) -> None:
        self._tell = tell
        self._now_ms = now_ms
        self._followed_until_ms: dict[UUID, int] = {}
        self._writing: defaultdict[UUID, list[Writing]] = defaultdict(list)

    def of(self, claimed: Claimed, node_id: str, run_index: int, attempt: int) -> Drafts:
        """Return the drafts of an attempt."""
        return AttemptDrafts(self, claimed.id, node_id, run_index, attempt)

    async def on_follow(self, payload: str) -> None:
        """Take the news that somebody begins to follow executions: they are told what has been written so far."""
        await self.on_following(payload)
        for execution_id in ids_in(payload):
            for writing in self._writing.get(execution_id, ()):
                self._tell(execution_id, writing.whole())

    async def on_following(self, payload: str) -> None:
        """Take the news that somebody goes on to follow executions."""
        now_ms = self._now_ms()
        self._followed_until_ms = {
            identity: until_ms for identity, until_ms in self._followed_until_ms.items() if until_ms > now_ms
        }
        for execution_id in ids_in(payload):
            self._followed_until_ms[execution_id] = now_ms + FOLLOWED_MS

    def tell(self, execution_id: UUID, pieces: Sequence[Piece]) -> None:
        """Send pieces where somebody follows."""
        if self._followed_until_ms.get(execution_id, 0) > self._now_ms():
            self._tell(execution_id, pieces)

    @contextmanager
    def writing(self, execution_id: UUID, place: Place) -> Iterator[Draft]:
        """Give a draft, and forget it when it is written."""
        writing = Writing(place, lambda pieces: self.tell(execution_id, pieces))
        self._writing[execution_id].append(writing)
        try:
            yield writing
        finally:
            self._writing[execution_id].remove(writing)
            if not self._writing[execution_id]:
                del self._writing[execution_id]


class AttemptDrafts:
    """`workflow.drafts.Drafts` of one attempt."""

    def __init__(self, drafting: Drafting, execution_id: UUID, node_id: str, run_index: int, attempt: int) -> None:
        self._drafting = drafting
        self._execution_id = execution_id
        self._node_id, self._run_index, self._attempt = node_id, run_index, attempt
        self._begun: set[int] = set()

    @contextmanager
    def begin(self, item_index: int, *, again: bool = False) -> Iterator[Draft]:
        """Begin to write for an item."""
        place = Place(node_id=self._node_id, run_index=self._run_index, attempt=self._attempt, item_index=item_index)
        if again or self._attempt > 1 or item_index in self._begun:
            self._drafting.tell(self._execution_id, [Piece(place=place, offset=0)])
        self._begun.add(item_index)
        with self._drafting.writing(self._execution_id, place) as draft:
            yield draft
