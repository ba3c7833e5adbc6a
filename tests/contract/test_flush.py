"""Flushing: written whole or refused whole, fenced by epoch and by the number of the last event."""

import pytest

from tests.contract.conftest import Twin
from tests.contract.making import TTL_MS, an_id, ending, event, flush, new_execution, node
from workflow.blobs import reference_to
from workflow.errors import Bug, Conflict, NotFound
from workflow.ports import LeaseEnd, NewExecution, SignalKind, Verdict
from workflow.states import TERMINAL, ExecutionStatus, NodeStatus


async def running(twin: Twin) -> NewExecution:
    new = new_execution(an_id(), owner=twin.owner())
    await twin.executions.accept([new])
    return new


async def events_of(twin: Twin, new: NewExecution) -> list[int]:
    return [row.seq for row in await twin.executions.events(new.workspace_id, new.id, 0, 1000)]


async def test_events_results_and_status_are_written_together(twin: Twin) -> None:
    new = await running(twin)
    rows = [node("a"), node("b", NodeStatus.FAILED, error_code="boom", error_message="it broke", logs="x")]
    first = await twin.executions.flush([flush(new.id, events=2, started_ms=1_700_000_000_000, nodes_completed=1)])
    end = ending(ExecutionStatus.FAILED, error_code="boom", error_message="it broke", error_node_id="b", output=None)
    last = await twin.executions.flush([flush(new.id, last_seq=2, events=1, nodes=rows, ending=end, nodes_completed=2)])
    view = await twin.executions.get(new.workspace_id, new.id)

    assert first + last == [Verdict.COMMITTED] * 2
    assert await twin.executions.events(new.workspace_id, new.id, 0, 10) == [event(1), event(2), event(3)]
    assert await twin.executions.nodes(new.workspace_id, new.id) == rows
    assert (view.status, view.last_seq, view.nodes_completed) == (ExecutionStatus.FAILED, 3, 2)
    assert (view.started_ms, view.completed_ms, view.output) == (1_700_000_000_000, end.at_ms, None)
    assert (view.error_code, view.error_message, view.error_node_id) == ("boom", "it broke", "b")


async def test_the_output_comes_back_as_it_was(twin: Twin) -> None:
    new = await running(twin)
    await twin.executions.flush([flush(new.id, ending=ending(output=b'{"z": 1.0, "a": [1e2]}'))])
    view = await twin.executions.get(new.workspace_id, new.id)

    assert view.output == b'{"z": 1.0, "a": [1e2]}'


async def test_references_stand_where_the_data_would(twin: Twin) -> None:
    lost = twin.owner()
    given, made, given_back = (reference_to(content, {"main": 2}) for content in (b"input", b"node", b"output"))
    new = new_execution(an_id(), owner=lost, input=b"null", input_ref=given)
    await twin.executions.accept([new])
    rows = [node("a", output=None, output_ref=made), node("b", NodeStatus.FAILED, output=None, output_ref=made)]
    await twin.executions.flush([flush(new.id, nodes=rows)])
    twin.leases.end(lost, LeaseEnd.CRASHED)
    (claimed,) = await twin.executions.claim(twin.owner(), 1, 0)
    end = ending(output=None, output_ref=given_back)
    await twin.executions.flush([flush(new.id, epoch=2, last_seq=1, ending=end)])
    view = await twin.executions.get(new.workspace_id, new.id)

    assert (claimed.input, claimed.input_ref) == (b"null", given)
    assert await twin.executions.nodes(new.workspace_id, new.id) == rows
    assert (await twin.executions.history(new.id)).nodes == rows
    assert (view.input, view.input_ref, view.output, view.output_ref) == (b"null", given, None, given_back)


async def test_an_older_epoch_is_refused_as_a_whole(twin: Twin) -> None:
    gone, heir = twin.owner(), twin.owner()
    new = new_execution(an_id(), owner=gone)
    await twin.executions.accept([new])
    signal_id = an_id()
    await twin.executions.signal(new.workspace_id, new.id, signal_id, SignalKind.CANCEL, b"{}")
    twin.leases.end(gone, LeaseEnd.EXPIRED)
    await twin.executions.claim(heir, 1, 0)
    zombie = flush(new.id, epoch=1, events=2, nodes=[node("a")], ending=ending(), signals_read=[signal_id])

    assert await twin.executions.flush([zombie]) == [Verdict.FENCED]
    view = await twin.executions.get(new.workspace_id, new.id)
    assert (view.status, view.last_seq, view.owner) == (ExecutionStatus.RUNNING, 0, heir)
    assert await events_of(twin, new) == []
    assert await twin.executions.nodes(new.workspace_id, new.id) == []
    assert [signal.id for signal in await twin.executions.unread_signals([new.id])] == [signal_id]


async def test_what_an_heir_has_written_is_not_taken_for_the_former_owners(twin: Twin) -> None:
    gone, heir = twin.owner(), twin.owner()
    new = new_execution(an_id(), owner=gone)
    await twin.executions.accept([new])
    twin.leases.end(gone, LeaseEnd.EXPIRED)
    await twin.executions.claim(heir, 1, 0)
    await twin.executions.flush([flush(new.id, epoch=2, events=3, nodes=[node("a")])])
    zombie = flush(new.id, epoch=1, events=2, nodes=[node("b")])

    assert await twin.executions.flush([zombie]) == [Verdict.FENCED]
    assert await events_of(twin, new) == [1, 2, 3]
    assert await twin.executions.nodes(new.workspace_id, new.id) == [node("a")]


async def test_a_gap_in_the_numbers_is_refused(twin: Twin) -> None:
    new = await running(twin)

    assert await twin.executions.flush([flush(new.id, last_seq=1)]) == [Verdict.FENCED]
    assert await events_of(twin, new) == []


async def test_a_repeated_flush_is_committed_and_written_once(twin: Twin) -> None:
    new = await running(twin)
    part = flush(new.id, events=2, nodes=[node("a")])

    assert await twin.executions.flush([part]) == [Verdict.COMMITTED]
    assert await twin.executions.flush([part]) == [Verdict.COMMITTED]
    assert await events_of(twin, new) == [1, 2]
    assert len(await twin.executions.nodes(new.workspace_id, new.id)) == 1


async def test_a_repeated_terminal_flush_is_committed(twin: Twin) -> None:
    new = await running(twin)
    part = flush(new.id, ending=ending())

    assert await twin.executions.flush([part]) == [Verdict.COMMITTED]
    assert await twin.executions.flush([part]) == [Verdict.COMMITTED]


async def test_verdicts_are_of_each_part_alone(twin: Twin) -> None:
    good, stale = await running(twin), await running(twin)
    parts = [flush(stale.id, epoch=7), flush(good.id), flush(an_id())]

    assert await twin.executions.flush(parts) == [Verdict.FENCED, Verdict.COMMITTED, Verdict.FENCED]
    assert (await events_of(twin, good), await events_of(twin, stale)) == ([1], [])
    assert await twin.executions.flush([]) == []


@pytest.mark.parametrize("status", sorted(TERMINAL))
async def test_terminal_means_for_ever(twin: Twin, status: ExecutionStatus) -> None:
    owner = twin.owner()
    new = new_execution(an_id(), owner=owner)
    await twin.executions.accept([new])
    end = ending(status, output=None, error_code="why", error_message="so it ended", error_node_id="a")
    await twin.executions.flush([flush(new.id, ending=end)])
    twin.leases.end(owner, LeaseEnd.CRASHED)
    before = await twin.executions.get(new.workspace_id, new.id)
    heir = twin.owner()
    other = min(TERMINAL - {status})

    late = flush(new.id, last_seq=1, nodes=[node("late")])
    assert await twin.executions.flush([late]) == [Verdict.FENCED]
    assert await twin.executions.flush([flush(new.id, last_seq=1, ending=ending(other))]) == [Verdict.FENCED]
    assert await twin.executions.claim_one(heir, new.id) is None
    assert await twin.executions.claim(heir, 10, 0) == []
    assert not await twin.executions.release(owner, new.id, 1)
    with pytest.raises(Conflict) as caught:
        await twin.executions.signal(new.workspace_id, new.id, an_id(), SignalKind.CANCEL, b"{}")
    assert caught.value.fields == {"state": status.value}
    assert await twin.executions.unread_signals([new.id]) == []
    assert await twin.executions.nodes(new.workspace_id, new.id) == []
    assert await twin.executions.get(new.workspace_id, new.id) == before
    assert (before.status, before.error_code, before.error_node_id) == (status, "why", "a")


async def test_an_execution_twice_in_a_batch_is_a_bug(twin: Twin) -> None:
    new = await running(twin)

    with pytest.raises(Bug):
        await twin.executions.flush([flush(new.id), flush(new.id, last_seq=1)])


async def test_a_running_row_is_replaced_by_its_final_one_and_that_by_nothing(twin: Twin) -> None:
    new = await running(twin)
    started = node("a", NodeStatus.RUNNING, completed_ms=None, duration_ms=None, output=None)
    await twin.executions.flush([flush(new.id, nodes=[started])])
    before = await twin.executions.nodes(new.workspace_id, new.id)
    await twin.executions.flush([flush(new.id, last_seq=1, nodes=[node("a", attempt=2)])])
    await twin.executions.flush([flush(new.id, last_seq=2, nodes=[node("a", NodeStatus.FAILED)])])

    assert before == [started]
    assert await twin.executions.nodes(new.workspace_id, new.id) == [node("a", attempt=2)]


async def test_every_run_of_a_node_has_a_row_of_its_own(twin: Twin) -> None:
    new = await running(twin)
    items = b'{"error": [{"json": {"error": {"code": "boom"}}}]}'
    under_way = [
        node("a", NodeStatus.RUNNING, run_index=run, completed_ms=None, duration_ms=None, output=None)
        for run in range(3)
    ]
    await twin.executions.flush([flush(new.id, nodes=under_way)])
    before = await twin.executions.nodes(new.workspace_id, new.id)
    first = node("a", run_index=0, completed_ms=1_700_000_000_006)
    failed = node("a", NodeStatus.FAILED, run_index=1, output=items, error_code="boom", completed_ms=1_700_000_000_007)
    last = node("a", run_index=2, attempt=2, completed_ms=1_700_000_000_008)
    await twin.executions.flush([flush(new.id, last_seq=1, nodes=[failed, first])])
    between = await twin.executions.nodes(new.workspace_id, new.id)
    await twin.executions.flush([flush(new.id, last_seq=2, nodes=[last])])

    assert before == under_way
    assert between == [first, failed, under_way[2]]
    assert await twin.executions.nodes(new.workspace_id, new.id) == [first, failed, last]
    assert (await twin.executions.history(new.id)).nodes == [first, failed, last]


async def test_start_and_end_of_a_node_in_one_flush(twin: Twin) -> None:
    new = await running(twin)
    started = node("a", NodeStatus.RUNNING, completed_ms=None)
    await twin.executions.flush([flush(new.id, nodes=[started, node("a"), node("a", run_index=1)])])

    assert await twin.executions.nodes(new.workspace_id, new.id) == [node("a"), node("a", run_index=1)]


async def test_nodes_come_in_order_of_completion(twin: Twin) -> None:
    new = await running(twin)
    late = node("b", completed_ms=1_700_000_000_009)
    same = [node("d"), node("c")]
    open_one = node("e", NodeStatus.RUNNING, completed_ms=None)
    await twin.executions.flush([flush(new.id, nodes=[open_one, late, *same])])
    await twin.executions.flush([flush(new.id, last_seq=1, nodes=[node("a")])])

    names = [row.node_id for row in await twin.executions.nodes(new.workspace_id, new.id)]
    assert names == ["d", "c", "a", "b", "e"]


async def test_the_count_of_completed_nodes_never_falls(twin: Twin) -> None:
    new = await running(twin)
    await twin.executions.flush([flush(new.id, nodes_completed=2)])
    await twin.executions.flush([flush(new.id, last_seq=1)])

    assert (await twin.executions.get(new.workspace_id, new.id)).nodes_completed == 2


async def test_signals_are_read_in_the_flush_that_took_them(twin: Twin) -> None:
    new = await running(twin)
    signal_id = an_id()
    await twin.executions.signal(new.workspace_id, new.id, signal_id, SignalKind.CANCEL, b"{}")
    await twin.executions.flush([flush(new.id, signals_read=[signal_id])])

    assert await twin.executions.unread_signals([new.id]) == []
    again = an_id()
    await twin.executions.signal(new.workspace_id, new.id, again, SignalKind.CANCEL, b"{}")
    assert [signal.id for signal in await twin.executions.unread_signals([new.id])] == [again]


async def test_signals_wait_until_the_flush_that_took_them(twin: Twin) -> None:
    owner, heir = twin.owner(), twin.owner()
    new = new_execution(an_id(), owner=owner)
    await twin.executions.accept([new])
    signal_id = an_id()
    await twin.executions.signal(new.workspace_id, new.id, signal_id, SignalKind.CANCEL, b"{}")
    heard = [
        *await twin.executions.unread_signals([new.id]),
        *(await twin.executions.history(new.id)).signals,
        *(renewal.signals if (renewal := twin.leases.renew(owner, TTL_MS)) else ()),
    ]
    twin.leases.end(owner, LeaseEnd.CRASHED)
    await twin.executions.claim(heir, 1, 0)

    assert [signal.id for signal in heard] == [signal_id] * 3, "whoever read it has died without a flush"
    assert [signal.id for signal in (await twin.executions.history(new.id)).signals] == [signal_id]


async def test_an_ending_leaves_no_signal_unread(twin: Twin) -> None:
    new = await running(twin)
    await twin.executions.signal(new.workspace_id, new.id, an_id(), SignalKind.CANCEL, b"{}")
    await twin.executions.flush([flush(new.id, ending=ending())])

    assert await twin.executions.unread_signals([new.id]) == []


async def test_one_unread_signal_of_a_kind_is_enough(twin: Twin) -> None:
    new = await running(twin)
    first = an_id()
    for signal_id in (first, an_id(), first):
        view = await twin.executions.signal(new.workspace_id, new.id, signal_id, SignalKind.CANCEL, b"{}")

    assert view.id == new.id
    assert [signal.id for signal in await twin.executions.unread_signals([new.id, an_id()])] == [first]


async def test_everything_of_another_workspace_is_not_found(twin: Twin) -> None:
    new = await running(twin)
    for workspace, execution in [(an_id(), new.id), (new.workspace_id, an_id())]:
        with pytest.raises(NotFound):
            await twin.executions.get(workspace, execution)
        with pytest.raises(NotFound):
            await twin.executions.nodes(workspace, execution)
        with pytest.raises(NotFound):
            await twin.executions.events(workspace, execution, 0, 10)
        with pytest.raises(NotFound):
            await twin.executions.signal(workspace, execution, an_id(), SignalKind.CANCEL, b"{}")
    assert await twin.executions.unread_signals([new.id]) == []


async def test_events_come_in_pages(twin: Twin) -> None:
    new = await running(twin)
    await twin.executions.flush([flush(new.id, events=5)])
    pages = [await twin.executions.events(new.workspace_id, new.id, after, 2) for after in (0, 2, 4, 5)]

    assert [[row.seq for row in page] for page in pages] == [[1, 2], [3, 4], [5], []]
