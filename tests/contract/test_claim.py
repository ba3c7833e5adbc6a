"""Claiming: who gets what, in which order, under which epoch."""

import asyncio
from uuid import UUID

from tests.contract.conftest import Twin
from tests.contract.making import an_id, event, flush, holder, new_execution, node
from workflow.ports import Isolation, LeaseEnd, NewExecution, Share, SignalKind, Verdict
from workflow.states import ExecutionStatus, NodeStatus

HOUR_MS = 3_600_000


async def accepted(twin: Twin, *batch: NewExecution) -> list[UUID]:
    return [answer.id for answer in await twin.executions.accept(batch)]


async def claimed_ids(twin: Twin, owner: UUID, limit: int = 10, grace_ms: int = 0) -> list[UUID]:
    return [claimed.id for claimed in await twin.executions.claim(owner, limit, grace_ms)]


async def test_a_claim_raises_the_epoch_and_owns(twin: Twin) -> None:
    owner = twin.owner()
    new = new_execution(an_id())
    await accepted(twin, new)
    [claimed] = await twin.executions.claim(owner, 5, 0)
    view = await twin.executions.get(new.workspace_id, new.id)

    assert (claimed.epoch, claimed.last_seq, claimed.recovered, claimed.losses, claimed.crashes) == (1, 0, False, 0, 0)
    assert (view.status, view.owner, view.epoch) == (ExecutionStatus.RUNNING, owner, 1)


async def test_nothing_for_an_owner_that_is_not_live_or_drains(twin: Twin) -> None:
    ended, draining, late = twin.owner(), twin.owner(), an_id()
    twin.leases.end(ended, LeaseEnd.RELEASED)
    twin.leases.drain(draining)
    twin.leases.register(holder(late), 0)
    [waiting] = await accepted(twin, new_execution(an_id()))

    for owner in (ended, draining, late, an_id()):
        assert await claimed_ids(twin, owner) == []
        assert await twin.executions.claim_one(owner, waiting) is None


async def test_by_priority_then_age(twin: Twin) -> None:
    workspace = an_id()
    low, old, young, high = await accepted(
        twin, *(new_execution(workspace, priority=priority) for priority in (1, 5, 5, 9))
    )

    assert await claimed_ids(twin, twin.owner()) == [high, old, young, low]


async def test_the_limit_holds(twin: Twin) -> None:
    workspace, owner = an_id(), twin.owner()
    ids = await accepted(twin, *(new_execution(workspace) for _ in range(5)))

    assert await claimed_ids(twin, owner, limit=2) == ids[:2]
    assert await claimed_ids(twin, owner, limit=0) == []
    assert await claimed_ids(twin, owner) == ids[2:]


async def test_workspaces_take_turns_within_a_claim(twin: Twin) -> None:
    crowd, quiet = an_id(), an_id()
    many = await accepted(twin, *(new_execution(crowd) for _ in range(20)))
    few = await accepted(twin, *(new_execution(quiet) for _ in range(2)))

    assert await claimed_ids(twin, twin.owner(), limit=4) == [many[0], few[0], many[1], few[1]]


async def test_workspaces_take_turns_between_claims_of_one(twin: Twin) -> None:
    crowd, quiet, owner = an_id(), an_id(), twin.owner()
    many = await accepted(twin, *(new_execution(crowd) for _ in range(20)))
    few = await accepted(twin, *(new_execution(quiet) for _ in range(2)))
    taken = [(await claimed_ids(twin, owner, limit=1))[0] for _ in range(4)]

    assert taken == [many[0], few[0], many[1], few[1]]


async def test_a_turn_goes_to_the_workspace_that_holds_the_fewest_slots(twin: Twin) -> None:
    holding, new = an_id(), an_id()
    theirs = await accepted(twin, *(new_execution(holding) for _ in range(4)))
    ours = await accepted(twin, *(new_execution(new) for _ in range(4)))
    shares = [Share(workspace_id=holding, held=2, ahead_ms=0, cost_ms=100)]
    taken = [claimed.id for claimed in await twin.executions.claim(twin.owner(), 6, 0, shares)]

    assert set(taken[:2]) == set(ours[:2])
    assert set(taken[2:4]) == {theirs[0], ours[2]}
    assert set(taken[4:]) == {theirs[1], ours[3]}


async def test_of_workspaces_that_hold_as_many_slots_the_one_that_used_less_is_first(twin: Twin) -> None:
    owner, spaces = twin.owner(), [an_id() for _ in range(3)]
    of = {space: await accepted(twin, *(new_execution(space) for _ in range(2))) for space in spaces}
    shares = [
        Share(workspace_id=spaces[0], held=1, ahead_ms=900, cost_ms=1_000),
        Share(workspace_id=spaces[1], held=1, ahead_ms=500, cost_ms=300),
        Share(workspace_id=spaces[2], held=1, ahead_ms=700, cost_ms=5_000),
    ]
    taken = [claimed.id for claimed in await twin.executions.claim(owner, 6, 0, shares)]

    assert taken == [of[spaces[place]][turn] for turn, place in ((0, 1), (0, 2), (0, 0), (1, 1), (1, 0), (1, 2))]


async def test_priority_orders_a_workspace_and_only_breaks_ties_between_them(twin: Twin) -> None:
    loud, quiet = an_id(), an_id()
    high = await accepted(twin, *(new_execution(loud, priority=9) for _ in range(3)))
    low = await accepted(twin, *(new_execution(quiet, priority=1) for _ in range(3)))
    taken = await claimed_ids(twin, twin.owner(), limit=4)

    assert taken == [high[0], low[0], high[1], low[1]]


async def test_two_claimers_share_the_queue(twin: Twin) -> None:
    workspace, one, two = an_id(), twin.owner(), twin.owner()
    ids = await accepted(twin, *(new_execution(workspace) for _ in range(60)))
    first, second = await asyncio.gather(
        twin.executions.claim(one, 25, 0),
        twin.others.claim(two, 25, 0),
    )

    assert (len(first), len(second)) == (25, 25)
    assert len({claimed.id for claimed in [*first, *second]} & set(ids)) == 50


async def test_an_unread_signal_goes_before_priority(twin: Twin) -> None:
    urgent, cancelled = new_execution(an_id(), priority=9), new_execution(an_id(), priority=1)
    await accepted(twin, urgent, cancelled)
    await twin.executions.signal(cancelled.workspace_id, cancelled.id, an_id(), SignalKind.CANCEL, b"{}")

    assert await claimed_ids(twin, twin.owner()) == [cancelled.id, urgent.id]


async def test_an_orphan_goes_first_and_is_recovered(twin: Twin) -> None:
    gone, heir = twin.owner(), twin.owner()
    [lost] = await accepted(twin, new_execution(an_id(), owner=gone))
    await twin.executions.flush([flush(lost, events=2, nodes=[node("a")])])
    [waiting] = await accepted(twin, new_execution(an_id(), priority=9))
    twin.leases.end(gone, LeaseEnd.CRASHED)
    orphan, other = await twin.executions.claim(heir, 10, 0)

    assert (orphan.id, orphan.epoch, orphan.last_seq, orphan.recovered, orphan.losses) == (lost, 2, 2, True, 1)
    assert (other.id, other.recovered) == (waiting, False)


async def test_an_orphan_waits_for_the_grace(twin: Twin) -> None:
    gone, heir = twin.owner(), twin.owner()
    [lost] = await accepted(twin, new_execution(an_id(), owner=gone))

    assert await claimed_ids(twin, heir) == [], "its owner lives"
    twin.leases.end(gone, LeaseEnd.CRASHED)
    assert await claimed_ids(twin, heir, grace_ms=HOUR_MS) == []
    assert await claimed_ids(twin, heir, grace_ms=0) == [lost]


async def test_an_expired_lease_that_nobody_ended_keeps_its_executions(twin: Twin) -> None:
    late, heir = an_id(), twin.owner()
    twin.leases.register(holder(late), 60_000)
    [kept] = await accepted(twin, new_execution(an_id(), owner=late))
    twin.leases.renew(late, 0)

    assert await claimed_ids(twin, heir) == []
    reaped = []
    while not reaped:
        reaped = twin.leases.reap(0)
    assert await claimed_ids(twin, heir) == [kept]


async def test_only_crashes_while_alone_count(twin: Twin) -> None:
    [lost] = await accepted(twin, new_execution(an_id()))
    counts = []
    for alone, reason in [
        (True, LeaseEnd.CRASHED),
        (True, LeaseEnd.EXPIRED),
        (False, LeaseEnd.CRASHED),
        (True, LeaseEnd.SUPERVISOR),
        (True, LeaseEnd.RELEASED),
    ]:
        owner = twin.owner()
        [claimed] = await twin.executions.claim(owner, 1, 0)
        counts.append((claimed.losses, claimed.crashes))
        await twin.executions.mark_alone(lost, claimed.epoch, alone=alone)
        twin.leases.end(owner, reason)
    [last] = await twin.executions.claim(twin.owner(), 1, 0)

    assert counts == [(0, 0), (1, 1), (2, 2), (3, 2), (4, 2)]
    assert (last.losses, last.crashes) == (5, 2)


async def test_a_flush_forgets_losses_and_loneliness_but_not_crashes(twin: Twin) -> None:
    first, second = twin.owner(), twin.owner()
    [lost] = await accepted(twin, new_execution(an_id(), owner=first))
    await twin.executions.mark_alone(lost, 1, alone=True)
    twin.leases.end(first, LeaseEnd.CRASHED)
    await twin.executions.claim(second, 1, 0)
    await twin.executions.mark_alone(lost, 2, alone=True)
    await twin.executions.flush([flush(lost, epoch=2)])
    twin.leases.end(second, LeaseEnd.CRASHED)
    [claimed] = await twin.executions.claim(twin.owner(), 1, 0)

    assert (claimed.losses, claimed.crashes) == (1, 1)


async def test_a_note_under_an_old_epoch_is_ignored(twin: Twin) -> None:
    first, second = twin.owner(), twin.owner()
    [lost] = await accepted(twin, new_execution(an_id(), owner=first))
    twin.leases.end(first, LeaseEnd.RELEASED)
    await twin.executions.claim(second, 1, 0)
    await twin.executions.mark_alone(lost, 1, alone=True)
    twin.leases.end(second, LeaseEnd.CRASHED)
    [claimed] = await twin.executions.claim(twin.owner(), 1, 0)

    assert claimed.crashes == 0


async def test_dedicated_ones_are_taken_by_name_only(twin: Twin) -> None:
    owner = twin.owner()
    low, high = await accepted(
        twin, *(new_execution(an_id(), isolation=Isolation.DEDICATED, priority=priority) for priority in (1, 2))
    )

    assert await claimed_ids(twin, owner) == []
    assert await twin.executions.claimable_dedicated(10) == [high, low]
    assert await twin.executions.claimable_dedicated(1) == [high]
    claimed = await twin.executions.claim_one(owner, low)
    assert claimed is not None
    assert (claimed.id, claimed.epoch, claimed.isolation) == (low, 1, Isolation.DEDICATED)
    assert await twin.executions.claimable_dedicated(10) == [high]


async def test_a_dedicated_orphan_is_claimable_by_name(twin: Twin) -> None:
    gone, heir = twin.owner(), twin.owner()
    [lost] = await accepted(twin, new_execution(an_id(), isolation=Isolation.DEDICATED))
    await twin.executions.claim_one(gone, lost)

    assert await twin.executions.claim_one(heir, lost) is None, "its owner lives"
    twin.leases.end(gone, LeaseEnd.CRASHED)
    assert await claimed_ids(twin, heir) == []
    assert await twin.executions.claimable_dedicated(10) == [lost]
    claimed = await twin.executions.claim_one(heir, lost)
    assert claimed is not None
    assert (claimed.epoch, claimed.recovered) == (2, True)


async def test_claim_one_takes_pooled_ones_and_nothing_that_does_not_exist(twin: Twin) -> None:
    owner = twin.owner()
    [waiting] = await accepted(twin, new_execution(an_id()))
    claimed = await twin.executions.claim_one(owner, waiting)

    assert claimed is not None
    assert claimed.epoch == 1
    assert await twin.executions.claim_one(owner, waiting) is None
    assert await twin.executions.claim_one(owner, an_id()) is None


async def test_read_owned_leaves_the_epoch(twin: Twin) -> None:
    owner = twin.owner()
    [pushed] = await accepted(twin, new_execution(an_id(), owner=owner))
    read = await twin.executions.read_owned(owner, pushed)

    assert read is not None
    assert (read.id, read.epoch, read.recovered) == (pushed, 1, False)
    assert await twin.executions.read_owned(twin.owner(), pushed) is None
    assert await twin.executions.read_owned(owner, an_id()) is None


async def test_release_queues_it_again(twin: Twin) -> None:
    owner, other = twin.owner(), twin.owner()
    [waiting] = await accepted(twin, new_execution(an_id(), owner=owner))

    assert not await twin.executions.release(other, waiting, 1)
    assert not await twin.executions.release(owner, waiting, 2)
    assert await twin.executions.release(owner, waiting, 1)
    assert not await twin.executions.release(owner, waiting, 1)
    [claimed] = await twin.executions.claim(other, 1, 0)
    assert (claimed.epoch, claimed.recovered, claimed.losses) == (2, False, 0)
    assert await twin.executions.flush([flush(waiting, epoch=1)]) == [Verdict.FENCED]


async def test_history_is_what_the_next_owner_needs(twin: Twin) -> None:
    new = new_execution(an_id(), owner=twin.owner())
    await accepted(twin, new)
    rows = [node("b"), node("c", NodeStatus.RUNNING, completed_ms=None, duration_ms=None, output=None)]
    await twin.executions.flush([flush(new.id, events=3, nodes=rows)])
    signal_id = an_id()
    await twin.executions.signal(new.workspace_id, new.id, signal_id, SignalKind.CANCEL, b'{"by": "me"}')
    history = await twin.executions.history(new.id)

    assert list(history.events) == [event(1), event(2), event(3)]
    assert list(history.nodes) == rows
    assert [(signal.id, signal.body) for signal in history.signals] == [(signal_id, b'{"by": "me"}')]


async def test_only_queued_pooled_executions_with_unread_signals_are_named(twin: Twin) -> None:
    quiet, second, first = (new_execution(an_id()) for _ in range(3))
    dedicated = new_execution(an_id(), isolation=Isolation.DEDICATED)
    await accepted(twin, quiet, second, first, dedicated)
    for new in (first, second, dedicated):
        await twin.executions.signal(new.workspace_id, new.id, an_id(), SignalKind.CANCEL, b"{}")

    assert await twin.executions.ending_at_rest(8) == [first.id, second.id]
    assert await twin.executions.ending_at_rest(1) == [first.id]


async def test_one_each_of_the_workspaces_that_are_not_busy_is_starved(twin: Twin) -> None:
    busy, quiet, other = sorted(an_id() for _ in range(3))
    low, high, third, dedicated = (
        new_execution(quiet, priority=3),
        new_execution(quiet, priority=7),
        new_execution(other),
        new_execution(an_id(), isolation=Isolation.DEDICATED),
    )
    await accepted(twin, new_execution(busy), low, third, high, dedicated)

    assert await twin.executions.starved([busy], 8) == [high.id, third.id]
    assert await twin.executions.starved([busy], 1) == [high.id]
    assert await twin.executions.starved([busy, quiet, other], 8) == []
    assert len(await twin.executions.starved([], 8)) == 3
    assert await twin.executions.claim_one(twin.owner(), high.id) is not None
    assert await twin.executions.starved([busy], 8) == [low.id, third.id]


async def test_a_claim_tells_whether_a_signal_was_unread(twin: Twin) -> None:
    first, signalled = new_execution(an_id()), new_execution(an_id())
    await accepted(twin, first, signalled)
    await twin.executions.signal(signalled.workspace_id, signalled.id, an_id(), SignalKind.PAUSE, b"{}")

    claimed = await twin.executions.claim(twin.owner(), 10, 0)

    assert {one.id: one.signalled for one in claimed} == {first.id: False, signalled.id: True}
