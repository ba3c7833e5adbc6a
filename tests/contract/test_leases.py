"""Leases: one per actor process, on the store's clock."""

from tests.contract.conftest import Twin
from tests.contract.making import TTL_MS, an_id, ending, flush, holder, new_execution
from workflow.ports import LeaseEnd, SignalKind


async def test_a_renewal_reads_back_what_is_owned(twin: Twin) -> None:
    owner, other = twin.owner(), twin.owner()
    mine, theirs = new_execution(an_id(), owner=owner), new_execution(an_id(), owner=other)
    await twin.executions.accept([mine, theirs])
    signal_id = an_id()
    await twin.executions.signal(mine.workspace_id, mine.id, signal_id, SignalKind.CANCEL, b"{}")
    renewal = twin.leases.renew(owner, TTL_MS)

    assert renewal is not None
    [(identity, epoch, age_ms)] = renewal.owned
    assert (identity, epoch) == (mine.id, 1)
    assert 0 <= age_ms < TTL_MS
    assert [signal.id for signal in renewal.signals] == [signal_id]


async def test_what_was_claimed_by_another_is_no_longer_owned(twin: Twin) -> None:
    owner, heir = twin.owner(), twin.owner()
    new = new_execution(an_id(), owner=owner)
    await twin.executions.accept([new])
    twin.leases.end(owner, LeaseEnd.CRASHED)
    await twin.executions.claim(heir, 1, 0)
    renewal = twin.leases.renew(heir, TTL_MS)

    assert renewal is not None
    assert [(identity, epoch) for identity, epoch, _ in renewal.owned] == [(new.id, 2)]


async def test_a_lease_that_is_over_cannot_be_renewed(twin: Twin) -> None:
    owner = twin.owner()

    assert twin.leases.end(owner, LeaseEnd.RELEASED)
    assert not twin.leases.end(owner, LeaseEnd.CRASHED)
    assert twin.leases.renew(owner, TTL_MS) is None
    assert twin.leases.renew(an_id(), TTL_MS) is None


async def test_a_late_holder_goes_on_if_nobody_ended_its_lease(twin: Twin) -> None:
    late = an_id()
    twin.leases.register(holder(late), 0)

    assert twin.leases.renew(late, TTL_MS) is not None
    assert twin.leases.reap(0) == []


async def test_the_reaper_ends_the_expired_ones_only(twin: Twin) -> None:
    late, live = an_id(), twin.owner()
    twin.leases.register(holder(late), 0)
    reaped = []
    while not reaped:
        reaped = twin.leases.reap(0)

    assert reaped == [late]
    assert twin.leases.renew(late, TTL_MS) is None
    assert twin.leases.renew(live, TTL_MS) is not None


async def test_the_reaper_holds_off_after_a_start_of_the_database(twin: Twin) -> None:
    late = an_id()
    twin.leases.register(holder(late), 0)
    a_year_ms = 31_536_000_000
    store = getattr(twin.leases, "_store", None)
    if store is not None:
        store.restart()

    assert twin.leases.reap(a_year_ms) == []
    assert twin.leases.renew(late, TTL_MS) is not None


async def test_the_end_of_a_cluster_ends_all_its_leases(twin: Twin) -> None:
    mine = [twin.owner(cluster_id="one"), twin.owner(cluster_id="one")]
    other = twin.owner(cluster_id="two")

    assert twin.leases.end_cluster("one") == 2
    assert twin.leases.end_cluster("one") == 0
    assert [twin.leases.renew(lease, TTL_MS) for lease in mine] == [None, None]
    assert twin.leases.renew(other, TTL_MS) is not None


async def test_registering_again_changes_nothing(twin: Twin) -> None:
    owner = twin.owner()
    twin.leases.end(owner, LeaseEnd.RELEASED)
    twin.leases.register(holder(owner), TTL_MS)

    assert twin.leases.renew(owner, TTL_MS) is None


async def test_a_view_tells_whether_the_actor_was_shared(twin: Twin) -> None:
    owner = twin.owner()
    batch = [new_execution(an_id(), owner=owner) for _ in range(3)]
    await twin.executions.accept(batch)
    parts = [flush(new.id, ending=ending(shared=shared)) for new, shared in zip(batch, (True, False), strict=False)]
    await twin.executions.flush([*parts, flush(batch[2].id)])
    views = [await twin.executions.get(new.workspace_id, new.id) for new in batch]

    assert [view.shared for view in views] == [True, False, None]
