"""Resting: what is let go, what wakes it, who may wish for what."""

import time
from typing import Any

import pytest

from tests.contract.conftest import Twin
from tests.contract.making import an_id, ending, event, flush, new_execution
from workflow.errors import Conflict
from workflow.ports import Flush, Isolation, LeaseEnd, NewExecution, Rest, SignalKind, Verdict
from workflow.states import ExecutionStatus

HOUR_MS = 3_600_000
CANCEL, PAUSE, RESUME = SignalKind.CANCEL, SignalKind.PAUSE, SignalKind.RESUME
WAITING, PAUSED = ExecutionStatus.WAITING, ExecutionStatus.PAUSED


def now_ms() -> int:
    return int(time.time() * 1000)


def rest(status: ExecutionStatus = WAITING, in_ms: int | None = None) -> Rest:
    return Rest(status=status, wake_ms=None if in_ms is None else now_ms() + in_ms)


def event_flush(new: NewExecution, kind: str, last_seq: int = 0, **changes: Any) -> Flush:
    return Flush(execution_id=new.id, epoch=1, last_seq=last_seq, events=[event(last_seq + 1, kind)], **changes)


async def running(twin: Twin, **changes: Any) -> NewExecution:
    new = new_execution(an_id(), **changes)
    await twin.executions.accept([new])
    assert await twin.executions.claim_one(twin.owner(), new.id) is not None
    return new


async def resting(
    twin: Twin, status: ExecutionStatus = WAITING, in_ms: int | None = None, **changes: Any
) -> NewExecution:
    new = await running(twin, **changes)
    assert await twin.executions.flush([flush(new.id, rest=rest(status, in_ms))]) == [Verdict.COMMITTED]
    return new


async def leave(twin: Twin, new: NewExecution, kind: SignalKind) -> None:
    await twin.executions.signal(new.workspace_id, new.id, an_id(), kind, b"{}")


async def claimed_ids(twin: Twin, limit: int = 20) -> list[Any]:
    return [claimed.id for claimed in await twin.executions.claim(twin.owner(), limit, 0)]


async def unread(twin: Twin, new: NewExecution) -> list[SignalKind]:
    return [signal.kind for signal in await twin.executions.unread_signals([new.id])]


@pytest.mark.parametrize("status", [WAITING, PAUSED])
@pytest.mark.parametrize("in_ms", [None, HOUR_MS])
async def test_what_rests_has_no_owner_and_shows_when_it_wakes(
    twin: Twin, status: ExecutionStatus, in_ms: int | None
) -> None:
    new = await running(twin)
    part = flush(new.id, rest=rest(status, in_ms))
    assert await twin.executions.flush([part]) == [Verdict.COMMITTED]
    view = await twin.executions.get(new.workspace_id, new.id)

    assert part.rest is not None
    assert (view.status, view.owner, view.wake_ms, view.last_seq) == (status, None, part.rest.wake_ms, 1)
    assert (view.completed_ms, view.error_code) == (None, "")


async def test_a_rest_that_is_repeated_is_committed_and_nothing_more_is_written(twin: Twin) -> None:
    new = await running(twin)
    part = flush(new.id, rest=rest())

    assert await twin.executions.flush([part]) == [Verdict.COMMITTED]
    assert await twin.executions.flush([part]) == [Verdict.COMMITTED]
    assert await twin.executions.flush([flush(new.id, last_seq=1)]) == [Verdict.FENCED]
    assert await twin.executions.flush([flush(new.id, last_seq=1, ending=ending())]) == [Verdict.FENCED]


async def test_whoever_let_go_is_fenced_by_the_next_owner(twin: Twin) -> None:
    new = await resting(twin, in_ms=-1)
    heir = twin.owner()
    [claimed] = await twin.executions.claim(heir, 5, 0)
    view = await twin.executions.get(new.workspace_id, new.id)

    assert (claimed.id, claimed.epoch, claimed.last_seq) == (new.id, 2, 1)
    assert (claimed.recovered, claimed.losses, claimed.crashes) == (False, 0, 0)
    assert (view.status, view.owner, view.wake_ms) == (ExecutionStatus.RUNNING, heir, None)
    assert await twin.executions.flush([flush(new.id, epoch=1, last_seq=1)]) == [Verdict.FENCED]
    assert await twin.executions.flush([flush(new.id, epoch=2, last_seq=1)]) == [Verdict.COMMITTED]


@pytest.mark.parametrize("status", [WAITING, PAUSED])
async def test_it_wakes_when_it_is_due_and_not_before(twin: Twin, status: ExecutionStatus) -> None:
    due, later, never = [await resting(twin, status, in_ms) for in_ms in (-1, HOUR_MS, None)]

    assert await claimed_ids(twin) == [due.id]
    for new in (later, never):
        assert await twin.executions.claim_one(twin.owner(), new.id) is None


async def test_a_time_that_has_come_is_used_up_by_the_claim(twin: Twin) -> None:
    new = await resting(twin, in_ms=-1)
    await claimed_ids(twin)
    assert await twin.executions.flush([flush(new.id, epoch=2, last_seq=1)]) == [Verdict.COMMITTED]

    assert await claimed_ids(twin) == []
    assert await twin.executions.flush([flush(new.id, epoch=2, last_seq=2, rest=rest())]) == [Verdict.COMMITTED]
    assert await claimed_ids(twin) == []


@pytest.mark.parametrize("status", [WAITING, PAUSED])
async def test_a_wish_takes_it_up_whatever_its_time(twin: Twin, status: ExecutionStatus) -> None:
    new = await resting(twin, status, HOUR_MS)
    await leave(twin, new, CANCEL)

    assert await twin.executions.ending_at_rest(8) == [new.id]
    assert await claimed_ids(twin) == [new.id]
    assert await twin.executions.ending_at_rest(8) == []


async def test_a_wake_up_takes_up_what_waits_and_nothing_that_is_paused(twin: Twin) -> None:
    waiting, paused = await resting(twin), await resting(twin, PAUSED)
    for new in (waiting, paused):
        await twin.wake(new.id, "n", 0)

    assert await twin.executions.claim_one(twin.owner(), paused.id) is None
    assert await claimed_ids(twin) == [waiting.id]
    assert await unread(twin, paused) == [SignalKind.WAKE], "it is kept until somebody resumes"
    await leave(twin, paused, RESUME)
    assert await claimed_ids(twin) == [paused.id]


async def test_a_wake_up_that_came_before_the_rest_takes_it_up_at_once(twin: Twin) -> None:
    new = await running(twin)
    await twin.wake(new.id, "n", 0)
    await twin.executions.flush([flush(new.id, rest=rest())])

    assert await claimed_ids(twin) == [new.id]


async def test_no_wake_up_is_left_out_because_another_one_is_unread(twin: Twin) -> None:
    new = await resting(twin)
    for node_id, run_index in (("n", 0), ("n", 0), ("n", 1), ("m", 0)):
        await twin.wake(new.id, node_id, run_index)
    found = await twin.executions.unread_signals([new.id])

    assert sorted((signal.node_id, signal.run_index) for signal in found) == [("m", 0), ("n", 0), ("n", 0), ("n", 1)]


async def test_lost_ones_come_first_then_wishes_then_the_rest_by_priority(twin: Twin) -> None:
    gone = twin.owner()
    lost = new_execution(an_id(), priority=1, owner=gone)
    await twin.executions.accept([lost])
    due = await resting(twin, WAITING, -1, priority=5)
    woken = await resting(twin, WAITING, priority=7)
    await twin.wake(woken.id, "n", 0)
    resumed, cancelled = await resting(twin, PAUSED, priority=2), await resting(twin, priority=3)
    await leave(twin, resumed, RESUME)
    await leave(twin, cancelled, CANCEL)
    first, last = new_execution(an_id(), priority=9), new_execution(an_id(), priority=4)
    await twin.executions.accept([first, last])
    await resting(twin)
    await resting(twin, PAUSED, HOUR_MS)
    twin.leases.end(gone, LeaseEnd.CRASHED)

    ordered = [lost, cancelled, resumed, first, woken, due, last]
    assert await claimed_ids(twin) == [new.id for new in ordered]


async def test_what_somebody_wants_of_it_is_shown_until_it_is_heard(twin: Twin) -> None:
    new = await running(twin)
    view = await twin.executions.get(new.workspace_id, new.id)
    assert view.wish is None
    await twin.wake(new.id, "n", 0)
    for kind in (PAUSE, CANCEL):
        await leave(twin, new, kind)
        assert (await twin.executions.get(new.workspace_id, new.id)).wish is kind
    signals = await twin.executions.unread_signals([new.id])

    await twin.executions.flush([flush(new.id, signals_read=[signal.id for signal in signals])])

    assert (await twin.executions.get(new.workspace_id, new.id)).wish is None


async def test_what_is_due_or_woken_is_starved_where_its_workspace_has_nothing(twin: Twin) -> None:
    due, later, woken, paused = [
        await resting(twin, status, in_ms)
        for status, in_ms in ((WAITING, -1), (WAITING, HOUR_MS), (WAITING, HOUR_MS), (PAUSED, None))
    ]
    for new in (woken, paused):
        await twin.wake(new.id, "n", 0)

    assert await twin.executions.starved([], 8) == [due.id, woken.id]
    assert await twin.executions.starved([due.workspace_id], 8) == [woken.id]
    assert later.id not in await twin.executions.starved([woken.workspace_id], 8)


async def test_what_is_due_takes_turns_with_what_is_queued(twin: Twin) -> None:
    crowd, quiet = an_id(), an_id()
    many = [new_execution(crowd) for _ in range(3)]
    new = new_execution(quiet)
    await twin.executions.accept([new])
    await twin.executions.claim(twin.owner(), 1, 0)
    await twin.executions.flush([flush(new.id, rest=rest(in_ms=-1))])
    await twin.executions.accept(many)

    assert (await claimed_ids(twin, 2)) == [new.id, many[0].id]


FITS = {
    ExecutionStatus.QUEUED: {CANCEL, PAUSE},
    ExecutionStatus.RUNNING: {CANCEL, PAUSE},
    WAITING: {CANCEL, PAUSE},
    PAUSED: {CANCEL, RESUME},
    ExecutionStatus.COMPLETED: set(),
    ExecutionStatus.CANCELLED: set(),
}


@pytest.mark.parametrize("kind", [CANCEL, PAUSE, RESUME])
@pytest.mark.parametrize("status", sorted(FITS))
async def test_what_may_be_wished_for(twin: Twin, status: ExecutionStatus, kind: SignalKind) -> None:
    new = new_execution(an_id())
    await twin.executions.accept([new])
    if status is not ExecutionStatus.QUEUED:
        await twin.executions.claim_one(twin.owner(), new.id)
    if status in (WAITING, PAUSED):
        await twin.executions.flush([flush(new.id, rest=rest(status))])
    elif status.terminal:
        await twin.executions.flush([flush(new.id, ending=ending(status))])
    if kind in FITS[status]:
        await leave(twin, new, kind)
        assert await unread(twin, new) == [kind]
        return
    with pytest.raises(Conflict) as refused:
        await leave(twin, new, kind)

    assert refused.value.fields == {"state": status.value}
    assert await unread(twin, new) == []


@pytest.mark.parametrize("status", [ExecutionStatus.RUNNING, WAITING])
async def test_the_last_wish_counts_whether_anybody_has_heard_the_first(twin: Twin, status: ExecutionStatus) -> None:
    unheard = await (running(twin) if status is ExecutionStatus.RUNNING else resting(twin))
    heard = await running(twin)
    standing = rest() if status is WAITING else None
    await twin.executions.flush([event_flush(heard, "execution.pause_requested", rest=standing)])
    await leave(twin, unheard, PAUSE)
    for new in (unheard, heard):
        await leave(twin, new, RESUME)
        assert await unread(twin, new) == [RESUME]
        await leave(twin, new, PAUSE)
        assert await unread(twin, new) == [PAUSE]


async def test_nobody_can_resume_what_was_resumed(twin: Twin) -> None:
    new = await running(twin)
    await twin.executions.flush([event_flush(new, "execution.pause_requested")])
    await twin.executions.flush([event_flush(new, "execution.resume_requested", 1)])

    with pytest.raises(Conflict):
        await leave(twin, new, RESUME)


async def test_only_those_that_nobody_owns_and_are_to_stop_are_named(twin: Twin) -> None:
    owned = await running(twin)
    alone = await resting(twin, isolation=Isolation.DEDICATED)
    paused, waiting = await resting(twin, PAUSED), await resting(twin, in_ms=HOUR_MS)
    woken, resumed = await resting(twin), await resting(twin, PAUSED)
    for new in (waiting, owned, paused, alone):
        await leave(twin, new, CANCEL)
    await twin.wake(woken.id, "n", 0)
    await leave(twin, resumed, RESUME)

    assert await twin.executions.ending_at_rest(8) == [waiting.id, paused.id]
    assert await twin.executions.ending_at_rest(1) == [waiting.id]


async def out_of_time(twin: Twin, status: ExecutionStatus = WAITING, ago_ms: int = 1, **changes: Any) -> NewExecution:
    new = await running(twin, **changes)
    over_ms = now_ms() - ago_ms
    standing = Rest(status=status, wake_ms=over_ms, deadline_ms=over_ms)
    assert await twin.executions.flush([flush(new.id, rest=standing)]) == [Verdict.COMMITTED]
    return new


async def test_what_rests_and_has_no_time_left_is_named_after_the_wishes_the_oldest_first(twin: Twin) -> None:
    paused, waiting = await out_of_time(twin, PAUSED, 10_000), await out_of_time(twin, ago_ms=60_000)
    await out_of_time(twin, isolation=Isolation.DEDICATED)
    await out_of_time(twin, ago_ms=-HOUR_MS)
    stopped = await out_of_time(twin, ago_ms=-HOUR_MS)
    await leave(twin, stopped, CANCEL)
    await leave(twin, paused, CANCEL)
    await resting(twin, in_ms=-1)

    assert await twin.executions.ending_at_rest(8) == [stopped.id, paused.id, waiting.id]
    assert await twin.executions.ending_at_rest(1) == [stopped.id, waiting.id]


async def test_what_has_no_time_left_is_claimed_before_what_is_due_or_queued_and_its_owner_knows(twin: Twin) -> None:
    due = await resting(twin, in_ms=-1, priority=9)
    over = await out_of_time(twin, priority=1)
    await twin.executions.accept([new_execution(an_id(), priority=9)])

    (first,) = await twin.executions.claim(twin.owner(), 1, 0)
    (second,) = await twin.executions.claim(twin.owner(), 1, 0)
    assert (first.id, second.deadline_ms) == (over.id, None)
    assert first.deadline_ms is not None
    assert first.deadline_ms <= now_ms()
    assert second.id != over.id
    assert due.id != over.id


async def test_a_time_limit_that_is_known_is_kept_by_the_next_rest(twin: Twin) -> None:
    new = await out_of_time(twin, ago_ms=-HOUR_MS)
    again = await twin.executions.claim_one(twin.owner(), new.id)
    assert again is None
    await leave(twin, new, PAUSE)
    again = await twin.executions.claim_one(twin.owner(), new.id)
    assert again is not None
    await twin.executions.flush([flush(new.id, epoch=2, last_seq=1, rest=rest(PAUSED))])
    await leave(twin, new, RESUME)
    last = await twin.executions.claim_one(twin.owner(), new.id)

    assert last is not None
    assert last.deadline_ms == again.deadline_ms is not None


async def test_whoever_is_fenced_limits_nothing(twin: Twin) -> None:
    new = await running(twin)
    late = Rest(status=WAITING, wake_ms=None, deadline_ms=1)
    assert await twin.executions.flush([flush(new.id, epoch=7, rest=late)]) == [Verdict.FENCED]
    await twin.executions.flush([flush(new.id, rest=rest(in_ms=-1))])
    claimed = await twin.executions.claim_one(twin.owner(), new.id)

    assert claimed is not None
    assert claimed.deadline_ms is None


async def test_a_dedicated_one_that_rests_is_claimable_by_name_when_it_is_awake(twin: Twin) -> None:
    asleep, due, woken, paused, resumed = [
        await resting(twin, status, in_ms, isolation=Isolation.DEDICATED)
        for status, in_ms in ((WAITING, HOUR_MS), (WAITING, -1), (WAITING, None), (PAUSED, None), (PAUSED, None))
    ]
    for new in (woken, paused):
        await twin.wake(new.id, "n", 0)
    await leave(twin, resumed, RESUME)

    assert await claimed_ids(twin) == []
    assert await twin.executions.claimable_dedicated(10) == [due.id, woken.id, resumed.id]
    for new in (asleep, paused):
        assert await twin.executions.claim_one(twin.owner(), new.id) is None
    for new in (due, woken, resumed):
        claimed = await twin.executions.claim_one(twin.owner(), new.id)
        assert claimed is not None
        assert (claimed.epoch, claimed.recovered) == (2, False)
    assert await twin.executions.claimable_dedicated(10) == []
