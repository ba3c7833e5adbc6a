"""Concurrency keys: never more under way than the limit, and nothing is held for ever."""

import asyncio
from uuid import UUID

import pytest

from tests.contract.conftest import Twin
from tests.contract.making import an_id, ending, flush, new_execution
from workflow.ports import (
    Accepted,
    Concurrency,
    IdempotencyKey,
    Isolation,
    LeaseEnd,
    NewExecution,
    OnLimit,
    Outcome,
    Rest,
    SignalKind,
    Verdict,
)
from workflow.states import ExecutionStatus


def limited(workspace: UUID, key: str = "k", limit: int = 1, on_limit: OnLimit = OnLimit.QUEUE, **changes: object):
    return new_execution(workspace, concurrency=Concurrency(key=key, limit=limit, on_limit=on_limit), **changes)


async def accepted(twin: Twin, *batch: NewExecution) -> list[Accepted]:
    return await twin.executions.accept(batch)


async def claimed_ids(twin: Twin, owner: UUID) -> list[UUID]:
    return [claimed.id for claimed in await twin.executions.claim(owner, 100, 0)]


async def end(twin: Twin, execution_id: UUID, **changes: int) -> None:
    assert await twin.executions.flush([flush(execution_id, ending=ending(), **changes)]) == [Verdict.COMMITTED]


async def test_those_beyond_the_limit_are_held_until_one_has_ended(twin: Twin) -> None:
    workspace, owner = an_id(), twin.owner()
    news = [limited(workspace, limit=2) for _ in range(4)]
    answers = await accepted(twin, *news)
    first = await claimed_ids(twin, owner)
    nothing = await twin.executions.release_held(workspace, "k")
    await end(twin, news[0].id)
    let_go = await twin.executions.release_held(workspace, "k")

    assert [(each.outcome, each.status) for each in answers] == [(Outcome.CREATED, ExecutionStatus.QUEUED)] * 4
    assert first == [news[0].id, news[1].id]
    assert [each.held for each in answers] == [False, False, True, True]
    views = [await twin.executions.get(workspace, new.id) for new in news]
    assert [(view.concurrency_key, view.held) for view in views] == [
        ("k", held) for held in (False, False, False, True)
    ]
    assert (nothing, let_go) == (0, 1)
    assert await claimed_ids(twin, owner) == [news[2].id]


async def test_held_ones_go_by_priority_then_age(twin: Twin) -> None:
    workspace, owner = an_id(), twin.owner()
    running, low, old, young, high = (limited(workspace, priority=priority) for priority in (5, 1, 5, 5, 9))
    await accepted(twin, running, low, old, young, high)
    order = []
    for _ in range(5):
        [identity] = await claimed_ids(twin, owner)
        order.append(identity)
        await end(twin, identity)
        await twin.executions.release_held(workspace, "k")

    assert order == [running.id, high.id, old.id, young.id, low.id]


async def test_keys_and_workspaces_are_apart(twin: Twin) -> None:
    one, other = an_id(), an_id()
    news = [limited(one, "a"), limited(one, "b"), limited(other, "a"), limited(one, "a"), new_execution(one)]
    await accepted(twin, *news)

    assert set(await claimed_ids(twin, twin.owner())) == {news[place].id for place in (0, 1, 2, 4)}


async def test_one_with_a_key_is_never_pushed(twin: Twin) -> None:
    [answer] = await accepted(twin, limited(an_id(), owner=twin.owner()))

    assert (answer.status, answer.owner) == (ExecutionStatus.QUEUED, None)


async def test_what_is_held_keeps_nothing_from_being_pushed(twin: Twin) -> None:
    workspace, owner = an_id(), twin.owner()
    await accepted(twin, limited(workspace), limited(workspace))
    await claimed_ids(twin, owner)
    [answer] = await accepted(twin, new_execution(workspace, owner=owner))

    assert answer.status is ExecutionStatus.RUNNING


@pytest.mark.parametrize("status", [ExecutionStatus.WAITING, ExecutionStatus.PAUSED])
async def test_what_waits_or_is_paused_is_under_way(twin: Twin, status: ExecutionStatus) -> None:
    workspace, owner = an_id(), twin.owner()
    first, second = limited(workspace), limited(workspace)
    await accepted(twin, first, second)
    await claimed_ids(twin, owner)
    await twin.executions.flush([flush(first.id, rest=Rest(status=status, wake_ms=None))])

    assert await twin.executions.release_held(workspace, "k") == 0
    assert await claimed_ids(twin, owner) == []


async def test_a_refused_one_leaves_nothing_behind(twin: Twin) -> None:
    workspace = an_id()
    key = IdempotencyKey(key="i", fingerprint=b"f" * 32)
    first = limited(workspace, on_limit=OnLimit.REJECT)
    again = limited(workspace, on_limit=OnLimit.REJECT, idempotency=key)
    answers = await accepted(twin, first, again)
    await claimed_ids(twin, twin.owner())
    await end(twin, first.id)
    later = limited(workspace, on_limit=OnLimit.REJECT, idempotency=key)
    [answer] = await accepted(twin, later)

    assert [each.outcome for each in answers] == [Outcome.CREATED, Outcome.LIMITED]
    assert (answer.outcome, answer.id) == (Outcome.CREATED, later.id)


async def test_a_replayed_key_is_not_refused(twin: Twin) -> None:
    workspace = an_id()
    key = IdempotencyKey(key="i", fingerprint=b"f" * 32)
    first = limited(workspace, on_limit=OnLimit.REJECT, idempotency=key)
    answers = await accepted(twin, first, limited(workspace, on_limit=OnLimit.REJECT, idempotency=key))

    assert [(each.outcome, each.id) for each in answers] == [(Outcome.CREATED, first.id), (Outcome.REPLAYED, first.id)]


async def test_asking_again_with_the_same_id_places_it_once(twin: Twin) -> None:
    workspace = an_id()
    first = limited(workspace, on_limit=OnLimit.REJECT)
    await accepted(twin, first)
    [again] = await accepted(twin, first)

    assert (again.outcome, again.id) == (Outcome.CREATED, first.id)
    assert await claimed_ids(twin, twin.owner()) == [first.id]


async def test_a_newer_one_has_the_running_one_stopped_and_waits_for_its_end(twin: Twin) -> None:
    workspace, owner = an_id(), twin.owner()
    old, newer = (limited(workspace, on_limit=OnLimit.CANCEL_RUNNING) for _ in range(2))
    await accepted(twin, old)
    await claimed_ids(twin, owner)
    [answer] = await accepted(twin, newer)
    [signal] = await twin.executions.unread_signals([old.id])

    assert answer.superseded == ((old.id, owner),)
    assert (signal.kind, signal.body) == (SignalKind.CANCEL, b'{"by": "a newer execution"}')
    assert await twin.executions.release_held(workspace, "k") == 0
    await end(twin, old.id)
    assert await twin.executions.release_held(workspace, "k") == 1
    assert await claimed_ids(twin, owner) == [newer.id]


async def test_only_as_many_are_stopped_as_must_go(twin: Twin) -> None:
    workspace, owner = an_id(), twin.owner()
    news = [limited(workspace, limit=2, on_limit=OnLimit.CANCEL_RUNNING) for _ in range(4)]
    await accepted(twin, *news[:2])
    await claimed_ids(twin, owner)
    third, fourth = await accepted(twin, *news[2:])

    assert third.superseded == ((news[0].id, owner),)
    assert fourth.superseded == ((news[1].id, owner),)


async def test_a_held_one_that_is_superseded_is_claimed_to_be_stopped(twin: Twin) -> None:
    workspace, owner = an_id(), twin.owner()
    news = [limited(workspace, on_limit=OnLimit.CANCEL_RUNNING) for _ in range(3)]
    await accepted(twin, news[0])
    await claimed_ids(twin, owner)
    await accepted(twin, *news[1:])
    [claimed] = await twin.executions.claim(owner, 5, 0)

    assert (claimed.id, claimed.held, claimed.concurrency_key) == (news[1].id, True, "k")


async def test_a_held_one_can_be_cancelled_and_is_never_under_way(twin: Twin) -> None:
    workspace, owner = an_id(), twin.owner()
    first, second, third = (limited(workspace) for _ in range(3))
    await accepted(twin, first, second, third)
    await claimed_ids(twin, owner)
    assert await twin.executions.claim_one(owner, second.id) is None, "it is held"
    await twin.executions.signal(workspace, second.id, an_id(), SignalKind.PAUSE, b"{}")
    assert await claimed_ids(twin, owner) == [], "it may pause when it is let go"
    await twin.executions.signal(workspace, second.id, an_id(), SignalKind.CANCEL, b"{}")
    [claimed] = await twin.executions.claim(owner, 5, 0)
    await end(twin, first.id)

    assert (claimed.id, claimed.held) == (second.id, True)
    assert not (await twin.executions.get(workspace, second.id)).held, "it is in the queue no more"
    assert await twin.executions.release_held(workspace, "k") == 1, "the one that is being stopped takes no room"
    assert await claimed_ids(twin, owner) == [third.id]


async def test_what_was_held_and_lost_by_its_owner_is_still_there_to_be_stopped(twin: Twin) -> None:
    workspace, gone, heir = an_id(), twin.owner(), twin.owner()
    first, second = limited(workspace), limited(workspace)
    await accepted(twin, first, second)
    await claimed_ids(twin, heir)
    await twin.executions.signal(workspace, second.id, an_id(), SignalKind.CANCEL, b"{}")
    await twin.executions.claim(gone, 5, 0)
    twin.leases.end(gone, LeaseEnd.CRASHED)
    [claimed] = await twin.executions.claim(heir, 5, 0)

    assert (claimed.id, claimed.held) == (second.id, True)


async def test_a_held_dedicated_one_is_not_claimable_until_it_is_let_go(twin: Twin) -> None:
    workspace, owner = an_id(), twin.owner()
    first, second = (limited(workspace, isolation=Isolation.DEDICATED) for _ in range(2))
    await accepted(twin, first, second)

    assert await twin.executions.claimable_dedicated(5) == [first.id]
    await twin.executions.claim_one(owner, first.id)
    await end(twin, first.id)
    assert await twin.executions.release_held(workspace, "k") == 1
    assert await twin.executions.claimable_dedicated(5) == [second.id]


async def test_the_limit_of_the_newest_execution_holds_for_all(twin: Twin) -> None:
    workspace, owner = an_id(), twin.owner()
    news = [limited(workspace) for _ in range(3)]
    await accepted(twin, *news)
    await claimed_ids(twin, owner)
    await accepted(twin, limited(workspace, limit=3))

    assert await twin.executions.release_held(workspace, "k") == 1, "the newest has room, and so has one more"


async def test_a_sweep_finds_room_that_nobody_gave_on(twin: Twin) -> None:
    owner, spaces = twin.owner(), [an_id() for _ in range(5)]
    news = [[limited(space, f"key {space}") for _ in range(2)] for space in spaces]
    await accepted(twin, *(new for pair in news for new in pair))
    await claimed_ids(twin, owner)
    for first, _ in news[1:]:
        await end(twin, first.id)
    let_go = [await twin.executions.release_all_held(2) for _ in range(4)]

    assert sum(let_go) == 4
    assert await twin.executions.release_all_held(100) == 0
    assert set(await claimed_ids(twin, owner)) == {second.id for _, second in news[1:]}


async def test_many_at_once_and_never_more_than_the_limit(twin: Twin) -> None:
    workspace, owner = an_id(), twin.owner()
    keys = ["a", "b", "c"]
    news = [limited(workspace, keys[place % 3], limit=2) for place in range(60)]
    await asyncio.gather(
        *((twin.executions, twin.others)[place % 2].accept(news[place : place + 5]) for place in range(0, 60, 5))
    )
    of_key = {new.id: new.concurrency.key for new in news if new.concurrency}
    left = set(of_key)
    under_way: set[UUID] = set()
    while left:
        under_way |= set(await claimed_ids(twin, owner))
        for key in keys:
            ours = sum(of_key[identity] == key for identity in under_way)
            assert ours == min(2, sum(of_key[identity] == key for identity in left))
        some = sorted(under_way)[::2] or sorted(under_way)
        await twin.executions.flush([flush(identity, ending=ending()) for identity in some])
        under_way -= set(some)
        left -= set(some)
        await asyncio.gather(
            *(store.release_held(workspace, key) for store in (twin.executions, twin.others) for key in keys)
        )
