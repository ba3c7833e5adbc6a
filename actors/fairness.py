"""Who has had how much of an owner's slots: what a claim goes by, so that workspaces share slots by time and not by count.

The next free slot goes to the workspace that holds the fewest; so those that want slots hold equally many, and one with long
executions gets fewer of them. Where that is a tie, the one that has used slots least comes first: by a clock that stands where
the workspace that was served last stands (start-time fair queueing): whoever was idle has no credit, and whoever had all slots
while nobody else wanted them owes no more than what it began last.

Each owner counts its own slots, in memory, for it gives away no others: nothing is written, and no other owner is asked.
"""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from workflow.ports import Share

SHARES_MAX = 64
SPACES_KEPT_MAX = 1_024
NEW_PART = 0.2
"""How much the newest execution counts in what one of its workspace usually takes."""
USUAL_MS = 100.0
"""What an execution is taken for before any has ended."""


@dataclass(slots=True)
class _Space:
    used_ms: float
    """Where its clock stands, without what is under way."""
    cost_ms: float
    held: int = 0
    begun_ms: float = 0.0
    """The sum of the times at which those under way began."""


class Fairness:
    """Counts what workspaces use of the slots of one owner. `now_ms` gives a time that never goes back."""

    def __init__(self, now_ms: Callable[[], float]) -> None:
        self._now_ms = now_ms
        self._spaces: dict[UUID, _Space] = {}
        self._clock_ms = 0.0

    def __len__(self) -> int:
        """How many workspaces are known."""
        return len(self._spaces)

    def begin(self, workspace_id: UUID) -> float:
        """An execution of the workspace takes a slot; returns when, for `end`."""
        now_ms = self._now_ms()
        space = self._spaces.get(workspace_id)
        if space is None:
            space = self._spaces[workspace_id] = _Space(self._clock_ms, self._usual_ms())
        if not space.held:
            space.used_ms = max(space.used_ms, self._clock_ms)
        self._clock_ms = max(self._clock_ms, _reading_ms(space, now_ms))
        space.held += 1
        space.begun_ms += now_ms
        return now_ms

    def end(self, workspace_id: UUID, begun_ms: float) -> None:
        """An execution that began at this time gives its slot back."""
        space = self._spaces[workspace_id]
        taken_ms = self._now_ms() - begun_ms
        space.held -= 1
        space.begun_ms = space.begun_ms - begun_ms if space.held else 0.0
        space.used_ms += taken_ms
        space.cost_ms += NEW_PART * (taken_ms - space.cost_ms)
        if len(self._spaces) > SPACES_KEPT_MAX:
            self._forget()

    def holding(self) -> list[UUID]:
        """Return the workspaces that hold slots."""
        return [workspace_id for workspace_id, space in self._spaces.items() if space.held]

    def shares(self) -> list[Share]:
        """Return what the workspaces have, those that have most first, as far as it sets them apart."""
        now_ms = self._now_ms()
        found = [
            Share(
                workspace_id=workspace_id,
                held=space.held,
                ahead_ms=max(0.0, _reading_ms(space, now_ms) - self._clock_ms),
                cost_ms=max(1.0, space.cost_ms),
            )
            for workspace_id, space in self._spaces.items()
        ]
        found.sort(key=lambda share: (-share.held, -share.ahead_ms, share.workspace_id))
        return found[:SHARES_MAX]

    def _usual_ms(self) -> float:
        if not self._spaces:
            return USUAL_MS
        return sum(space.cost_ms for space in self._spaces.values()) / len(self._spaces)

    def _forget(self) -> None:
        """Forget half of them, those whose lead is the smallest: a new one begins without any."""
        idle = sorted((space.used_ms, workspace_id) for workspace_id, space in self._spaces.items() if not space.held)
        for _, workspace_id in idle[: SPACES_KEPT_MAX // 2]:
            del self._spaces[workspace_id]


def _reading_ms(space: _Space, now_ms: float) -> float:
    return space.used_ms + space.held * now_ms - space.begun_ms
