"""What one actor process owns: lost calls, late calls, lost leases, poison, and a crash at every flush."""

import asyncio
from dataclasses import replace
from time import monotonic

import pytest

from actors.ids import new_id
from actors.lease import LeaseReport
from tests.unit.actors.plant import WORKSPACE, Plant, Process, claimed
from workflow.ports import LeaseEnd, Renewal, SignalKind
from workflow.spec import Catalog
from workflow.states import ExecutionStatus, NodeStatus


async def finish(plant: Plant, execution_id) -> None:
    await plant.world.until(lambda: plant.row(execution_id).status.terminal)


async def test_a_push_whose_call_was_lost_is_taken_up_by_the_next_renewal(plant: Plant):
    process = plant.process()
    accepted, _ = await plant.accept("a -> fx", owner=process.id)
    assert plant.row(accepted.id).status is ExecutionStatus.RUNNING

    process.renew()
    for _ in range(20):
        await asyncio.sleep(0)
    assert process.owner.active == 0, "a call may still be on its way"
    plant.now_ms += 1_500
    process.renew()

    await finish(plant, accepted.id)
    assert plant.world.journal == [f"{accepted.id}:fx:0"]


async def test_a_call_that_comes_after_the_execution_was_taken_up_does_not_run_it_again(plant: Plant):
    process = plant.process()
    accepted, definition = await plant.accept("a -> fx", owner=process.id)
    plant.now_ms += 1_500
    process.renew()
    await finish(plant, accepted.id)

    reply = await process.owner.run(claimed(accepted, definition))

    assert reply is None
    assert len(plant.world.journal) == 1


async def test_what_is_begun_early_runs_but_writes_and_shows_nothing_before_its_row_is_committed(plant: Plant):
    process = plant.process()
    accepted, definition = await plant.accept("a -> b -> fx", owner=process.id, b="draw.gate")
    end = asyncio.ensure_future(process.owner.begin(claimed(accepted, definition)))
    await plant.world.until(lambda: "b" in plant.world.running)
    plant.world.gate("b").set()
    for _ in range(100):
        await asyncio.sleep(0)

    assert process.flushes == []
    assert plant.world.journal == []
    process.owner.settle(accepted.id, accepted=True)
    assert (await end).ending.status is ExecutionStatus.COMPLETED
    assert len(plant.world.journal) == 1


async def test_what_was_begun_in_vain_is_dropped_without_a_trace(plant: Plant):
    process = plant.process()
    accepted, definition = await plant.accept("a -> fx", owner=process.id)
    plant.store.executions.clear()
    end = asyncio.ensure_future(process.owner.begin(claimed(accepted, definition)))
    await asyncio.sleep(0)

    process.owner.settle(accepted.id, accepted=False)

    assert await end is None
    assert process.owner.active == 0
    assert process.flushes == []
    assert plant.world.journal == []


async def test_a_renewal_that_finds_the_row_releases_what_was_begun(plant: Plant):
    process = plant.process()
    accepted, definition = await plant.accept("a -> fx", owner=process.id)
    end = asyncio.ensure_future(process.owner.begin(claimed(accepted, definition)))
    await asyncio.sleep(0)

    process.renew()

    assert (await end).ending.status is ExecutionStatus.COMPLETED


async def test_two_calls_for_one_execution_run_it_once(plant: Plant):
    process = plant.process()
    accepted, definition = await plant.accept("a -> fx", owner=process.id)
    push = claimed(accepted, definition)

    first, second = await asyncio.gather(process.owner.run(push), process.owner.run(push))

    assert first == second
    assert len(plant.world.journal) == 1


async def test_a_push_to_an_owner_whose_lease_is_over_is_queued_and_claimed_by_another(plant: Plant):
    gone, other = plant.process(), plant.process()
    await gone.kill(LeaseEnd.RELEASED)

    accepted, _ = await plant.accept("a -> b", owner=gone.id)

    assert accepted.status is ExecutionStatus.QUEUED
    other.owner.start()
    await finish(plant, accepted.id)


@pytest.mark.parametrize(("slots", "most"), [(1, 1), (2, 4)])
async def test_an_owner_with_too_much_gives_a_push_back_to_the_queue(plant: Plant, slots: int, most: int):
    process = plant.process(slots=slots)
    for _ in range(most):
        await plant.push(process, "a", a="draw.gate")
    await plant.world.until(lambda: process.owner.active == most)

    reply = await (await plant.push(process, "x"))

    assert reply is None
    queued = [row for row in plant.store.executions.values() if row.status is ExecutionStatus.QUEUED]
    assert len(queued) == 1
    plant.world.gate("a").set()


async def test_an_owner_with_too_much_gives_back_what_it_should_begin_early(plant: Plant):
    process = plant.process(slots=1)
    await plant.push(process, "a", a="draw.gate")
    await plant.world.until(lambda: process.owner.active == 1)
    accepted, definition = await plant.accept("fx", owner=process.id)

    end = asyncio.ensure_future(process.owner.begin(claimed(accepted, definition)))
    assert await end is None
    assert plant.row(accepted.id).status is ExecutionStatus.RUNNING, "its row may not be there yet"
    process.owner.settle(accepted.id, accepted=True)

    await plant.world.until(lambda: plant.row(accepted.id).status is ExecutionStatus.QUEUED)
    assert plant.world.journal == []
    plant.world.gate("a").set()
    process.owner.start()
    await finish(plant, accepted.id)


async def test_a_workspace_that_has_nothing_need_not_wait_for_those_that_have_every_slot(plant: Plant):
    process = plant.process(slots=4)
    for _ in range(6):  # a burst, more than there are slots
        await plant.push(process, "a", a="draw.gate")
    await plant.world.until(lambda: process.owner.active == 6)
    held = [await plant.accept("a", a="draw.gate") for _ in range(2)]
    process.owner.start()

    quiet = [await plant.accept("a", workspace_id=new_id(), a="draw.gate") for _ in range(2)]
    await plant.world.until(lambda: process.owner.active == 7)
    running = [
        accepted.id for accepted, _ in (*held, *quiet) if plant.row(accepted.id).status is ExecutionStatus.RUNNING
    ]

    assert len(set(running) & {accepted.id for accepted, _ in quiet}) == 1, "as many as there are spare slots"
    plant.world.gate("a").set()
    for accepted, _ in (*held, *quiet):
        await finish(plant, accepted.id)


async def test_an_owner_that_has_lost_its_lease_drops_everything(plant: Plant):
    process = plant.process()
    await plant.push(process, "a -> fx", a="draw.gate")
    await plant.world.until(lambda: process.owner.active == 1)
    process.leases.end(process.id, LeaseEnd.EXPIRED)

    process.renew()

    assert process.owner.active == 0
    await plant.world.until(lambda: not plant.world.running)
    plant.world.gate("a").set()
    assert plant.world.journal == []


async def test_executions_that_the_database_says_are_not_ours_are_dropped(plant: Plant):
    old, new = plant.process(), plant.process()
    await plant.push(old, "a -> b", a="draw.gate")
    await plant.world.until(lambda: old.owner.active == 1)
    (execution_id,) = plant.store.executions
    row = plant.row(execution_id)
    row.owner, row.epoch = new.id, 2

    old.renew()

    assert old.owner.active == 0


async def test_a_signal_left_while_nobody_was_told_is_found_by_the_renewal(plant: Plant):
    process = plant.process()
    running = await plant.push(process, "a -> b", a="draw.gate")
    await plant.world.until(lambda: process.owner.active == 1)
    await plant.cancel(next(iter(plant.store.executions)))

    process.renew()

    assert (await running).ending.status is ExecutionStatus.CANCELLED


async def test_a_wish_to_pause_that_is_heard_behind_the_wish_that_took_it_back_pauses_nothing(plant: Plant):
    process = plant.process()
    accepted, definition = await plant.accept("a -> b", owner=process.id, a="draw.gate")
    running = asyncio.ensure_future(process.owner.run(claimed(accepted, definition)))
    await plant.world.until(lambda: "a" in plant.world.running)
    await plant.wish(accepted.id, SignalKind.PAUSE)
    read_before = await process.executions.unread_signals([accepted.id])
    await plant.wish(accepted.id, SignalKind.RESUME)
    await process.owner.deliver([accepted.id])

    renewal = Renewal(owned=[(accepted.id, 1, 0)], signals=read_before)
    process.owner.on_lease_report(LeaseReport(process.id, monotonic(), renewal, lost=False))
    plant.world.gate("a").set()

    finished = await asyncio.wait_for(running, 5)
    assert finished is not None, "it is paused, though nobody wants that any more"
    assert finished.ending.status is ExecutionStatus.COMPLETED


async def test_a_wish_that_came_while_a_claimed_one_waited_for_its_turn_counts_before_what_its_history_tells(
    plant: Plant,
):
    """Its history is read when it is claimed, and may be old when it begins."""
    process = plant.process()
    accepted, _ = await plant.accept("a -> b", a="draw.gate")
    await plant.wish(accepted.id, SignalKind.PAUSE)
    history = await process.executions.history(accepted.id)
    await plant.wish(accepted.id, SignalKind.RESUME)
    read = asyncio.Event()

    async def old_history(_identity):
        await read.wait()
        return history

    process.executions.history = old_history
    (mine,) = await process.executions.claim(process.id, 1, 0)
    process.owner.take(replace(mine, held=True, last_seq=0))
    await process.owner.deliver([accepted.id])
    read.set()
    plant.world.gate("a").set()

    await finish(plant, accepted.id)
    assert plant.row(accepted.id).status is ExecutionStatus.COMPLETED


async def test_a_queued_execution_that_was_cancelled_never_starts_a_node(plant: Plant):
    accepted, _ = await plant.accept("fx -> b")
    await plant.cancel(accepted.id)
    process = plant.process()

    process.owner.start()
    await finish(plant, accepted.id)

    assert plant.row(accepted.id).status is ExecutionStatus.CANCELLED
    assert plant.world.journal == []


async def test_a_queued_execution_is_cancelled_though_every_slot_is_taken(plant: Plant):
    process = plant.process(slots=1)
    await plant.push(process, "a", a="draw.gate")
    await plant.world.until(lambda: process.owner.active == 1)
    accepted, _ = await plant.accept("fx -> b")
    await plant.cancel(accepted.id)

    process.owner.start()
    await finish(plant, accepted.id)
    await plant.world.until(lambda: process.owner.active == 1)

    assert plant.row(accepted.id).status is ExecutionStatus.CANCELLED
    assert plant.world.journal == []
    assert plant.world.running == {"a"}


async def test_an_owner_goes_on_claiming_after_an_error_that_nobody_foresaw(plant: Plant):
    process = plant.process()
    claim, failures = process.executions.claim, iter([ValueError("nobody foresaw this")])

    async def claim_badly_once(*arguments):
        for failure in failures:
            raise failure
        return await claim(*arguments)

    process.executions.claim = claim_badly_once
    accepted, _ = await plant.accept("a -> b")

    process.owner.start()

    await finish(plant, accepted.id)


async def test_a_draining_owner_claims_nothing_and_is_done_when_nothing_is_under_way(plant: Plant):
    process = plant.process()
    running = await plant.push(process, "a", a="draw.gate")
    await plant.world.until(lambda: process.owner.active == 1)
    draining = asyncio.create_task(process.owner.drain())
    await plant.world.until(lambda: process.owner.draining)
    accepted, _ = await plant.accept("x")
    process.owner.start()
    process.owner.wake()

    assert not draining.done()
    plant.world.gate("a").set()
    await running
    await draining
    assert plant.row(accepted.id).status is ExecutionStatus.QUEUED


async def test_a_definition_that_can_no_longer_be_run_fails_though_some_of_it_has(plant: Plant):
    first = plant.process()
    await plant.push(first, "a -> b", b="draw.gate")
    await plant.world.until(lambda: bool(plant.world.running) and bool(first.flushes))
    [(execution_id, row)] = plant.store.executions.items()
    await plant.world.until(lambda: any(event.node_id == "a" for event in row.events))
    await first.kill()
    without = Catalog({t.spec.type: t for t in plant.world.catalog() if t.spec.type != "draw.gate"})
    plant.process(catalog=without).owner.start()

    await finish(plant, execution_id)

    assert (row.status, row.error_code) == (ExecutionStatus.FAILED, "definition_unusable")
    assert [event.seq for event in row.events] == list(range(1, len(row.events) + 1))


async def test_nothing_stays_under_way_of_a_definition_that_can_no_longer_be_run(plant: Plant):
    first = plant.process()
    await plant.push(first, "gated", gated="draw.once")
    [(execution_id, row)] = plant.store.executions.items()
    await plant.world.until(lambda: NodeStatus.RUNNING in {node.status for _, node in row.nodes.values()})
    await first.kill()
    without = Catalog({t.spec.type: t for t in plant.world.catalog() if t.spec.type != "draw.once"})
    plant.process(catalog=without).owner.start()

    await finish(plant, execution_id)

    assert row.status is ExecutionStatus.FAILED
    assert {node.node_id: node.status for _, node in row.nodes.values()}["gated"] is NodeStatus.CANCELLED


async def test_a_stored_definition_that_cannot_be_run_fails_with_a_clear_code(plant: Plant):
    accepted, _ = await plant.accept("a", a="no.such.type")
    process = plant.process()
    process.owner.start()

    await finish(plant, accepted.id)

    assert plant.row(accepted.id).error_code == "definition_unusable"


async def test_poison_is_convicted_and_its_bystanders_are_not(plant: Plant):
    poison, _ = await plant.accept("p", p="draw.gate")
    bystanders = [(await plant.accept("b -> c -> d"))[0] for _ in range(4)]
    for _ in range(12):
        process = plant.process()
        process.owner.start()
        await plant.world.until(lambda: "p" in plant.world.running or plant.row(poison.id).status.terminal)
        if plant.row(poison.id).status.terminal:
            break
        await process.kill()
        plant.now_ms += 10

    assert plant.row(poison.id).error_code == "poisoned"
    for bystander in bystanders:
        await finish(plant, bystander.id)
        assert plant.row(bystander.id).status is ExecutionStatus.COMPLETED
        assert plant.row(bystander.id).crashes == 0


DRAWING = "a -> fx1 -> b -> d; a -> c -> d; d -> once -> e; e:true -> f; e:false -> g"


@pytest.mark.parametrize("after_commit", [True, False], ids=["after the commit", "before the commit"])
@pytest.mark.parametrize("crash_at", range(8))
async def test_a_crash_at_any_flush_loses_nothing_and_repeats_no_at_most_once_node(
    plant: Plant, crash_at: int, after_commit: bool
):
    process: Process = plant.process()
    real, seen = process.executions.flush, 0
    dying = asyncio.Event()

    async def flush(parts):
        nonlocal seen
        seen += 1
        if seen - 1 != crash_at:
            return await real(parts)
        if after_commit:
            await real(parts)
        dying.set()
        return await asyncio.Future()

    process.executions.flush = flush
    running = await plant.push(process, DRAWING)
    await plant.world.until(lambda: dying.is_set() or running.done())
    (execution_id,) = plant.store.executions
    await process.kill()
    plant.process().owner.start()
    await finish(plant, execution_id)

    row = plant.row(execution_id)
    assert [e.seq for e in row.events] == list(range(1, row.last_seq + 1))
    once = [key for key in plant.world.journal if ":once:" in key]
    assert len(once) <= 1
    if row.status is ExecutionStatus.COMPLETED:
        done = {n.node_id for _, n in row.nodes.values() if n.status.value == "completed"}
        assert done == {"a", "fx1", "b", "c", "d", "once", "e", "f"}
        assert len(once) == 1
    else:
        assert row.error_code == "unknown_outcome"
    kinds = [e.kind for e in row.events if e.kind == "node.completed"]
    assert len(kinds) == len({(e.node_id) for e in row.events if e.kind == "node.completed"}), "one durable result each"
    assert set(plant.world.journal) <= {f"{execution_id}:fx1:0", f"{execution_id}:once:0"}
    assert row.new.workspace_id == WORKSPACE
