"""Plays one story to its end and holds what is left against every guarantee.

`python -m tests.simulation.play SEED` plays it again; `make simulate` plays a million events.
"""

import asyncio
import sys
from collections import Counter
from dataclasses import dataclass

import orjson
import structlog

from store.memory import MemoryLeases, StoredExecution
from tests.simulation import clock
from tests.simulation.graphs import drawn_catalog, evaluate
from tests.simulation.world import BEGINNING_MS, REAP_S, TTL_MS, Process, Story, Violation, World, new_world, submit
from workflow.document import parse_document
from workflow.events import from_body
from workflow.invariants import check
from workflow.machine import step
from workflow.plan import make_plan
from workflow.state import initial
from workflow.states import ExecutionStatus

PATIENCE_S = 600.0
"""How long (virtual) the engine may need to end everything after the last fault."""


@dataclass(frozen=True, slots=True)
class Report:
    """What happened in a story."""

    events: int
    executions: Counter[str]
    faults: Counter[str]
    virtual_s: float
    as_undisturbed: int
    """Executions that were held against an undisturbed evaluation."""
    passed_max: int
    """How many executions of the workspace with many were claimed at most in a row where the one with few waited and had no slot."""


def play(story: Story) -> Report:
    """Play the story. Raises `Violation`, naming the seed."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    try:
        return clock.run(_play(story))
    except Violation:
        raise
    except Exception as error:
        raise Violation(f"seed {story.seed}: {type(error).__name__}: {error}") from error


async def _play(story: Story) -> Report:
    world = new_world(story)
    processes = [Process(world) for _ in range(story.processes)]
    for process in processes:
        await process.start()
    faults = [
        asyncio.create_task(work)
        for work in (
            _kill_now_and_then(world, processes),
            _freeze_now_and_then(world, processes),
            _outages(world),
            _flush_faults(world),
        )
    ]
    reaper = asyncio.create_task(_reap(world))
    releasing = asyncio.create_task(world.keys.let_go_now_and_then())
    for _ in range(story.executions):
        await asyncio.sleep(world.random.expovariate(story.per_s))
        target = world.random.choice(processes) if world.random.random() < 0.7 else None
        await submit(world, target)
    for fault in faults:
        fault.cancel()
    await asyncio.gather(*faults, return_exceptions=True)
    for process in processes:
        process.frozen = False
    if not world.store.available:
        world.store.available = True
        world.store.restart()
    await _until_all_have_ended(world)
    reaper.cancel()
    releasing.cancel()
    for process in processes:
        await process.kill(noticed=False)
    if world.breaches:
        raise Violation(world.breaches[0])
    report = await _hold_against_guarantees(world)
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    return report


async def _kill_now_and_then(world: World, processes: list[Process]) -> None:
    while True:
        await asyncio.sleep(world.random.expovariate(1 / world.story.kill_s))
        index = world.random.randrange(len(processes))
        await processes[index].kill(noticed=world.random.random() < 0.7)
        world.faults["kill"] += 1
        processes[index] = Process(world)
        await processes[index].start()


async def _freeze_now_and_then(world: World, processes: list[Process]) -> None:
    while True:
        await asyncio.sleep(world.random.expovariate(1 / world.story.freeze_s))
        process = world.random.choice(processes)
        process.frozen = True
        world.faults["freeze"] += 1
        await asyncio.sleep(world.random.uniform(1, 2 * TTL_MS / 1000))
        process.frozen = False


async def _outages(world: World) -> None:
    while True:
        await asyncio.sleep(world.random.expovariate(1 / world.story.outage_s))
        world.store.available = False
        world.faults["outage"] += 1
        await asyncio.sleep(world.random.uniform(0.1, 5))
        world.store.available = True
        if world.random.random() < 0.5:
            world.store.restart()


async def _flush_faults(world: World) -> None:
    while True:
        await asyncio.sleep(world.random.expovariate(1 / world.story.flush_fault_s))
        after_commit = world.random.random() < 0.5
        world.faults["ambiguous commit" if after_commit else "failed flush"] += 1
        world.store.fail_next_flush(after_commit=after_commit)


async def _reap(world: World) -> None:
    while True:
        await asyncio.sleep(REAP_S)
        if world.store.available:
            MemoryLeases(world.store).reap(TTL_MS)


async def _until_all_have_ended(world: World) -> None:
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE_S
    while not world.breaches and (
        open_ones := [row for row in world.store.executions.values() if not row.status.terminal]
    ):
        if loop.time() > deadline:
            row = open_ones[0]
            world.breach(
                f"{len(open_ones)} executions have not ended {PATIENCE_S} s after the last fault, such as {row.new.id}: "
                f"{row.status.value}, epoch {row.epoch}, {row.last_seq} events: {[e.kind for e in row.events][-5:]}"
            )
        await asyncio.sleep(1)


async def _hold_against_guarantees(world: World) -> Report:
    compared = 0
    for row in world.store.executions.values():
        _hold_log(world, row)
        world.keys.check_end(row)
        expected = await evaluate(parse_document(orjson.loads(world.documents[row.new.id])), row.new.id)
        if expected is not None and row.status is ExecutionStatus.COMPLETED:
            compared += 1
            if orjson.loads(_output_of(world, row)) != orjson.loads(expected) and not _failed_somewhere(row):
                world.breach(
                    f"{row.new.id} gave {_output_of(world, row)!r} where an undisturbed evaluation gives {expected!r}"
                )
    return Report(
        events=sum(len(row.events) for row in world.store.executions.values()),
        executions=Counter(row.status.value for row in world.store.executions.values()),
        faults=world.faults,
        virtual_s=(world.store.now_ms() - BEGINNING_MS) / 1000,
        as_undisturbed=compared,
        passed_max=world.turns.passed_max,
    )


def _output_of(world: World, row: StoredExecution) -> bytes:
    if row.output_ref is not None:
        return world.store.blobs[row.new.workspace_id, row.output_ref.sha256][0]
    return row.output or b"null"


def _failed_somewhere(row: StoredExecution) -> bool:
    """Whether some node failed, by chance, and the execution went on: it may then give something else."""
    return any(event.kind == "node.failed" for event in row.events)


def _hold_log(world: World, row: StoredExecution) -> None:
    """The log has no gaps, one end, rising epochs, and is a legal history whose end is the execution's."""
    execution_id = row.new.id
    if [event.seq for event in row.events] != list(range(1, len(row.events) + 1)):
        world.breach(f"{execution_id}: the numbers of its events have gaps")
    plan = make_plan(parse_document(orjson.loads(world.documents[execution_id])), drawn_catalog())
    state = initial(plan, execution_id)
    epoch = 0
    for stored in row.events:
        if state.status.terminal:
            world.breach(f"{execution_id}: {stored.kind} after its end")
        event = from_body(stored.kind, stored.at_ms, orjson.loads(stored.body))
        limits_ms = {index: state.deadline_ms(index) for index in state.waiting if not state.nodes[index].failed_with}
        step(state, event)
        check(state)
        late = [index for index, over_ms in limits_ms.items() if index in state.running and 0 < over_ms <= event.at_ms]
        if any(not state.nodes[index].overdue for index in late):
            world.breach(f"{execution_id}: a node that was woken when its time was over went on")
        if state.epoch < epoch:
            world.breach(f"{execution_id}: its epochs fall")
        epoch = state.epoch
    if state.status is not row.status:
        world.breach(f"{execution_id} is {row.status.value}, but its log ends as {state.status.value}")


def main() -> None:
    """Play the seeds of the command line, or with `--events N [FIRST]` one seed after the other until so many have happened."""
    if sys.argv[1:2] != ["--events"]:
        for seed in map(int, sys.argv[1:]):
            print(seed, play(Story(seed=seed)))
        return
    wanted, seed = int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1
    events, executions, faults = 0, Counter[str](), Counter[str]()
    while events < wanted:
        report = play(Story(seed=seed))
        seed, events = seed + 1, events + report.events
        executions, faults = executions + report.executions, faults + report.faults
        print(f"seeds below {seed}: {events} events", flush=True)
    print(f"0 violations in {events} events: {dict(executions)}; faults: {dict(faults)}")


if __name__ == "__main__":
    main()
