"""Following executions that run elsewhere: woken by the database's notifications, and by a poll in case one was lost."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from uuid import UUID

from store.notifications import ids_in
from workflow.ports import Executions, ExecutionView

POLL_S = 0.5


class Follower:
    """Wakes whoever waits for an execution to change."""

    def __init__(self, executions: Executions) -> None:
        self._executions = executions
        self._waiting: dict[UUID, set[asyncio.Event]] = defaultdict(set)

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
            self._waiting[execution_id].discard(event)
            if not self._waiting[execution_id]:
                del self._waiting[execution_id]

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


async def pause(changed: asyncio.Event, timeout_s: float) -> bool:
    """Wait for a change, at most so long; whether there was one."""
    try:
        async with asyncio.timeout(timeout_s):
            await changed.wait()
    except TimeoutError:
        return False
    changed.clear()
    return True
