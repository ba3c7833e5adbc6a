"""The invariants of a storm, each held against what was seen from outside. Pure: a broken journal is found out by a unit test.

I1 nothing acknowledged is lost; what a client was told at the end stays so. I2 the same key is the same execution, and there is no
execution that nobody asked for. I3 one result per node and run, nothing after the end. I4 and I5 the output is the one of the pure
reference, computed from committed results. I6 the attempts of an effect carry one key, and what was committed is one of the answers.
I9 streams have no gap and no duplicate. I10 the events are a legal history that ends in the stored status. I12 nobody sees another
workspace. (I8, times and children are in `resting`, I11 is in `aftermath`; I7 needs a node type that acts at most once.)
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tests.storm.drawing import Decision, Shape
from tests.storm.evidence import Story, serial_of
from tests.storm.journal import Submission, Submissions
from tests.storm.sink import Seen
from workflow import invariants
from workflow.errors import RayloomError
from workflow.events import TERMINAL_KINDS, from_body
from workflow.machine import step
from workflow.plan import Plan
from workflow.state import initial
from workflow.states import TERMINAL

ENDED = frozenset(status.value for status in TERMINAL)
INSTEAD = ("skip", "replace")
"""What people decide about a node that has failed so that it has a result without another attempt."""


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that does not hold, and of what."""

    invariant: str
    what: str


class Effects:
    """The sink's record, by key."""

    def __init__(self, seen: Iterable[Seen]) -> None:
        self.by_key: dict[str, list[Seen]] = defaultdict(list)
        for each in seen:
            self.by_key[each.key].append(each)

    def violations(self) -> Iterator[Violation]:
        """I6: one key per effect, one effect per key. An effect is a path, a tenant and an `n`."""
        keys: dict[tuple[str, str, int], set[str]] = defaultdict(set)
        for key, requests in self.by_key.items():
            meant = {(each.path, each.tenant, each.n) for each in requests}
            if len(meant) > 1 or not key:
                yield Violation("I6", f"the key {key!r} was used for {sorted(meant)[:3]}")
            for one in meant:
                keys[one].add(key)
        for one, used in keys.items():
            if len(used) > 1:
                yield Violation("I6", f"{one} was done under {len(used)} keys: {sorted(used)[:3]}")

    def gave(self, serial: int, execution_id: UUID, run: tuple[str, int]) -> Iterator[Violation]:
        """I6: a committed answer is one that the sink gave under the key of the effect."""
        if self.answer(execution_id, run, serial) is None:
            yield Violation("I6", f"{run} committed the answer {serial}, which nobody gave under its key")

    def under(self, execution_id: UUID, run: tuple[str, int]) -> list[Seen]:
        """Return the requests under the key of the effect of a run."""
        return self.by_key.get(f"{execution_id}:{run[0]}:{run[1]}:0", [])

    def answer(self, execution_id: UUID, run: tuple[str, int], serial: int) -> Seen | None:
        """Return the request of a run's effect that was answered with this serial number."""
        answered = (each for each in self.under(execution_id, run) if each.status == 200)
        return next((each for each in answered if each.serial == serial), None)

    @property
    def again(self) -> int:
        """How many requests were sent that an earlier one with the same key had been answered or lost for, unless with 503."""
        return sum(max(0, sum(each.status != 503 for each in requests) - 1) for requests in self.by_key.values())


def submissions(known: Submissions, stored: Mapping[UUID, tuple[str, str | None]]) -> Iterator[Violation]:
    """I1, I2: hold the clients' journal against all executions that there are, by id with tenant and key."""
    keys = Counter(place for place in stored.values() if place[1] is not None)
    for (tenant, key), submission in known.items():
        place = f"{tenant} {key}"
        if len(submission.ids) > 1:
            yield Violation("I2", f"{place} was answered with {len(submission.ids)} executions")
        for identity in submission.ids:
            if identity not in stored:
                yield Violation("I1", f"{place} was acknowledged as {identity}, which is not there")
            elif stored[identity] != (tenant, key):
                owner = stored[identity]
                yield Violation(
                    "I12" if owner[0] != tenant else "I2", f"{place} was answered with {identity} of {owner}"
                )
        if keys[tenant, key] > 1:
            yield Violation("I2", f"{place} has {keys[tenant, key]} executions")
    for identity, (tenant, key) in stored.items():
        if key is None or (tenant, key) not in known:
            yield Violation("I2", f"{identity} of {tenant} under {key} was asked for by nobody")


def story(told: Story, submission: Submission, shape: Shape, plan: Plan, effects: Effects) -> Iterator[Violation]:
    """I1, I3, I4, I5, I6, I9, I10 of one execution."""
    where = f"{submission.tenant} {submission.key} ({shape.name}, {told.id})"
    yield from (
        Violation(found.invariant, f"{where}: {found.what}")
        for check in (
            _ended(told, submission),
            _once(told),
            _output(told, submission, shape, effects),
            _streamed(told, submission),
            _history(told, plan),
        )
        for found in check
    )


def _ended(told: Story, submission: Submission) -> Iterator[Violation]:
    if submission.acknowledged_s is not None and told.status not in ENDED:
        yield Violation("I1", f"it was acknowledged and is {told.status}")
    if submission.status and (submission.status, submission.output) != (told.status, told.output):
        yield Violation("I1", f"its client was told {submission.status}, it is {told.status}, or its output is another")


def _once(told: Story) -> Iterator[Violation]:
    ends = [place for place, event in enumerate(told.events) if event.kind in TERMINAL_KINDS]
    if told.status in ENDED and ends != [len(told.events) - 1]:
        yield Violation("I3", f"its {len(told.events)} events have their ends at {ends}")
    settled = Counter(
        (event.node_id, event.body["run_index"])
        for event in told.events
        if event.kind == "node.completed" or (event.kind == "node.recovered" and event.body["decision"] in INSTEAD)
    )
    rows = Counter((result.node_id, result.run_index) for result in told.results if result.status == "completed")
    if any(count > 1 for count in settled.values()) or settled != rows:
        yield Violation("I3", f"completed by events {sorted(settled.items())}, by results {sorted(rows)}")
    for result in told.results:
        if told.status in ENDED and result.status in ("pending", "running"):
            yield Violation("I3", f"it has ended, and {result.node_id} is {result.status}")


def _output(told: Story, submission: Submission, shape: Shape, effects: Effects) -> Iterator[Violation]:
    answers: dict[tuple[str, int], Any] = {
        run: Decision(asked.action, asked.who)
        for run, asked in told.decisions().items()
        if asked.decided and (run in shape.asked or asked.action in INSTEAD)
    }
    for result in told.results:
        run = result.node_id, result.run_index
        effect = run in shape.runs and result.node_id not in shape.refused and run not in answers
        if effect and result.status == "completed":
            answers[run] = serial_of(result.output)
            yield from effects.gave(answers[run], told.id, run)
    if told.children:
        answers[shape.calls, 0] = [serial_of(child.effect) for child in told.children]
    if told.status == "completed":
        given = shape.given(submission.n, submission.tenant)
        missing = [run for run in needed(shape) if run not in answers]
        if missing:
            yield Violation("I6", f"it has completed without {missing}")
        elif told.output != (wanted := shape.expected(given, answers)):
            yield Violation("I5", f"its output is {told.output}, the reference gives {wanted}")
    elif not (told.status == "cancelled" and submission.cancelled):
        yield Violation("I5", f"it is {told.status} ({told.error}), the reference completes")


def _streamed(told: Story, submission: Submission) -> Iterator[Violation]:
    if submission.seqs is not None and submission.seqs != list(range(1, told.last_seq + 1)):
        yield Violation("I9", f"its stream gave {submission.seqs}, the last event is {told.last_seq}")


def _history(told: Story, plan: Plan) -> Iterator[Violation]:
    if [event.seq for event in told.events] != list(range(1, told.last_seq + 1)):
        yield Violation("I10", f"its events are {[event.seq for event in told.events]}, the last is {told.last_seq}")
        return
    state = initial(plan, told.id)
    try:
        for event in told.events:
            step(state, from_body(event.kind, event.at_ms, event.body))
            invariants.check(state)
    except (RayloomError, TypeError, KeyError) as error:
        yield Violation("I10", f"{type(error).__name__}: {error}")
        return
    if state.status.value != told.status and told.events:
        yield Violation("I10", f"its events end in {state.status.value}, it is {told.status}")


def needed(shape: Shape) -> list[tuple[str, int]]:
    """Return the runs without whose outcome the reference cannot be computed."""
    effects = [run for run in shape.runs if run[0] not in shape.refused]
    return [*effects, *shape.asked, *([(shape.calls, 0)] if shape.calls else [])]
