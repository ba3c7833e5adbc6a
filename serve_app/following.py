"""Following executions that run elsewhere: woken by the database's notifications, and by a poll in case one was lost.

Who follows an execution's stream also says so, again and again, and hears what models are writing meanwhile.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TypeVar
from uuid import UUID

from store.notifications import FOLLOW_CHANNEL, FOLLOWING_CHANNEL, ids_in
from workflow.drafts import Piece, unpacked
from workflow.ports import Executions, ExecutionView

T = TypeVar("T")
POLL_S = 0.5
SAID_AGAIN_S = 2.0
HEARD_MAX = 2_000
"""Pieces that wait for a reader who is too slow; beyond that the oldest are dropped, which their offsets show."""


class Following:
    """One who follows an execution's stream: when it has changed, and what was heard of drafts meanwhile."""

    def __init__(self, say_again: Callable[[], None]) -> None:
        self.changed = asyncio.Event()
        self._heard: deque[Piece] = deque(maxlen=HEARD_MAX)
        self._say_again = say_again
        self._said_s = monotonic()

    def hear(self, piece: Piece) -> None:
        """Take a piece of a draft."""
        self._heard.append(piece)
        self.changed.set()

    def heard(self) -> list[Piece]:
        """Return the pieces since the last call, and say now and then that somebody still follows."""
        if monotonic() - self._said_s > SAID_AGAIN_S:
            self._said_s = monotonic()
            self._say_again()
        pieces = list(self._heard)
        self._heard.clear()
        return pieces


class Follower:
    """Wakes whoever waits for an execution to change."""

    def __init__(self, executions: Executions, say: Callable[[str, UUID], None]) -> None:
        self._executions = executions
        self._say = say
        self._waiting: dict[UUID, set[asyncio.Event]] = defaultdict(set)
        self._following: dict[UUID, set[Following]] = defaultdict(set)

    async def on_notification(self, payload: str) -> None:
        """Take a notification: ids of executions that have changed, separated by commas."""
        if not self._waiting:
            return
        changed = ids_in(payload) or list(self._waiting)  # an empty payload: something may have been missed
        for execution_id in changed:
            for event in self._waiting.get(execution_id, ()):
                event.set()

    @contextmanager
    def changes(self, execution_id: UUID) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever the execution may have changed."""
        event = asyncio.Event()
        self._waiting[execution_id].add(event)
        try:
            yield event
        finally:
            _discard(self._waiting, execution_id, event)

    async def on_draft(self, payload: str) -> None:
        """Take a piece of a draft."""
        if not payload or not self._following:
            return
        execution_id, piece = unpacked(payload)
        for following in self._following.get(execution_id, ()):
            following.hear(piece)

    @contextmanager
    def following(self, execution_id: UUID) -> Iterator[Following]:
        """Follow an execution's stream; whoever writes drafts for it is told."""
        following = Following(lambda: self._say(FOLLOWING_CHANNEL, execution_id))
        self._following[execution_id].add(following)
        self._waiting[execution_id].add(following.changed)
        self._say(FOLLOW_CHANNEL, execution_id)
        try:
            yield following
        finally:
            _discard(self._following, execution_id, following)
            _discard(self._waiting, execution_id, following.changed)

    async def terminal(self, workspace_id: UUID, execution_id: UUID, timeout_s: float) -> ExecutionView:
        """Return the execution as soon as it is terminal, or as it is when the time is over. Raises `NotFound`."""
        deadline = monotonic() + timeout_s
        with self.changes(execution_id) as changed:
            while True:
                view = await self._executions.get(workspace_id, execution_id)
                left = deadline - monotonic()
                if view.status.terminal or left <= 0:
                    return view
                await pause(changed, min(POLL_S, left))


def _discard(sets: dict[UUID, set[T]], key: UUID, member: T) -> None:
    sets[key].discard(member)
    if not sets[key]:
        del sets[key]


async def pause(changed: asyncio.Event, timeout_s: float) -> bool:
    """Wait for a change, at most so long; whether there was one."""
    try:
        async with asyncio.timeout(timeout_s):
            await changed.wait()
    except TimeoutError:
        return False
    changed.clear()
    return True
