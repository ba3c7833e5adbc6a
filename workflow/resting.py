"""When an execution began, when it may leave its actor, and what becomes of wake-ups: decisions over a state, without changing it."""

from collections.abc import Container, Iterable
from uuid import UUID

from workflow.events import Event, ExecutionResumed, ExecutionStarted
from workflow.ports import Signal
from workflow.state import State
from workflow.states import NodeStatus


def begun_ms(events: Iterable[Event]) -> int | None:
    """Return when the first owner took the execution up; None when none has, and its history was only laid down."""
    owned = (event.at_ms for event in events if isinstance(event, ExecutionStarted | ExecutionResumed) and event.epoch)
    return next(owned, None)


def next_due_ms(state: State, later_ms: Iterable[int] = (), *, apart: Container[int] = ()) -> int | None:
    """Return when something is to happen next: a waiting node's time, or one of the others; None when no time is set.

    Nodes `apart` are looked at already.
    """
    times_ms = (state.nodes[index].wake_at_ms for index in state.waiting if index not in apart)
    return min([*later_ms, *filter(None, times_ms)], default=None)


def may_rest(
    state: State, later_ms: Iterable[int], patience_ms: int | None, now_ms: int, deadline_ms: int | None = None
) -> bool:
    """Whether an execution of which nothing is under way may be let go.

    `later_ms` are the times of attempts that only wait for theirs. One that waits may if that takes longer than the
    patience, and never where that is None; a paused one if its time is not over within the patience.
    """
    if patience_ms is None or (deadline_ms is not None and deadline_ms - now_ms <= patience_ms):
        return False
    if state.paused:
        return True
    later_ms = list(later_ms)
    due_ms = next_due_ms(state, later_ms)
    return bool(state.waiting or later_ms) and (due_ms is None or due_ms - now_ms > patience_ms)


def due_nodes(state: State, now_ms: int) -> list[int]:
    """Return the waiting nodes whose time has come."""
    return [index for index in sorted(state.waiting) if 0 < state.nodes[index].wake_at_ms <= now_ms]


def waiting_run(state: State, node_id: str, run_index: int) -> int | None:
    """Return the node if this run of it waits, else None."""
    index = state.plan.by_id.get(node_id)
    if index is None or state.nodes[index].run_index != run_index:
        return None
    return index if state.nodes[index].status is NodeStatus.WAITING else None


def is_too_early(state: State, node_id: str, run_index: int) -> bool:
    """Whether this run of a node will wait, but does not yet, or not while the execution is paused."""
    index = state.plan.by_id.get(node_id)
    if index is None or state.nodes[index].run_index != run_index:
        return False
    if state.nodes[index].status is NodeStatus.WAITING:
        return state.paused
    return state.nodes[index].status is NodeStatus.RUNNING


def same_run(one: Signal, other: Signal) -> bool:
    """Whether both wake the same run of a node."""
    return one.kind is other.kind and (one.node_id, one.run_index) == (other.node_id, other.run_index)


class NewestWish:
    """The newest wish to pause or to resume that was heard, in the order in which they were left.

    A wish that was read from the database before the next one took it back may be heard behind that: then it is nobody's any more.
    """

    def __init__(self) -> None:
        self._newest: tuple[float, UUID] | None = None

    def is_news(self, wish: Signal) -> bool:
        """Take note of a wish; whether none that is newer was heard before."""
        at = (wish.left_ms, wish.id)
        if self._newest is not None and at < self._newest:
            return False
        self._newest = at
        return True
