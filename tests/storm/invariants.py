"""The invariants of a storm, each held against what was seen from outside. Pure: a broken journal is found out by a unit test.

I1 nothing acknowledged is lost; what a client was told at the end stays so. I2 the same key is the same execution, and there is no
execution that nobody asked for. I3 one result per node and run, nothing after the end. I4 what results were made of was committed
before them (`causes`). I5 the output is the one of the pure reference, computed from committed answers and decisions, and from those of
children (`families`). I6 the attempts of an effect carry one key, what was committed is one of the answers, and a pause repeats
nothing (`waits`). I7 what starts at most once does (`causes`). I8 one decision counts (`decisions`). I9 streams have no gap and no
duplicate. I10 the events are a legal history that ends in the stored status. I11 is in `aftermath`. I12 nobody sees another workspace.
Timers are never early (`waits`).
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from uuid import UUID

from tests.storm.causes import causes, once
from tests.storm.decisions import decisions, last_decisions
from tests.storm.evidence import Result, Story
from tests.storm.journal import Submission, Submissions
from tests.storm.shape import Facts, Run, Shape
from tests.storm.sink import Seen
from tests.storm.waits import pauses, timers
from workflow import invariants
from workflow.errors import RayloomError
from workflow.events import TERMINAL_KINDS, from_body
from workflow.machine import step
from workflow.plan import Plan
from workflow.state import initial
from workflow.states import TERMINAL

ENDED = frozenset(status.value for status in TERMINAL)


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


def story(
    told: Story,
    submission: Submission,
    shape: Shape,
    plan: Plan,
    effects: Effects,
    children: Sequence[Facts] = (),
) -> Iterator[Violation]:
    """I1, I3, I4, I5, I6, I7, I8, I9, I10 of one execution, and its timers and pauses; `children` are those that it waited for."""
    where = f"{submission.tenant} {submission.key} ({shape.name}, {told.id})"
    facts = facts_of(told, shape, effects, children)
    below = [serial for child in children for serial in child.answers.values()]
    complaints = {
        "I1": _ended(told, submission),
        "I3": _once(told),
        "I4": causes(told, shape, facts.answers, below),
        "I5": _output(told, submission, shape, facts),
        "I6": chain(_answers(told, shape, facts, effects), pauses(told, effects.by_key)),
        "I7": once(told, shape, effects.by_key),
        "I8": decisions(told, submission),
        "timers": timers(told, shape),
        "I9": _streamed(told, submission),
        "I10": _history(told, plan),
    }
    for invariant, found in complaints.items():
        yield from (Violation(invariant, f"{where}: {what}") for what in found)


def facts_of(told: Story, shape: Shape, effects: Effects, children: Sequence[Facts] = ()) -> Facts:
    """Return what the output of an execution may rest on. An answer is what is committed, whether the sink gave it or not."""
    answers: dict[Run, int] = {}
    for result in told.results:
        run = result.node_id, result.run_index
        if run not in shape.runs or result.node_id in shape.refused or result.status != "completed":
            continue
        serial = serial_of(result)
        if serial >= 0 or result.node_id not in shape.perhaps:
            answers[run] = serial
    return Facts(answers, last_decisions(told), children)


def _ended(told: Story, submission: Submission) -> Iterator[str]:
    if submission.acknowledged_s is not None and told.status not in ENDED:
        yield f"it was acknowledged and is {told.status}"
    if submission.status and (submission.status, submission.output) != (told.status, told.output):
        yield f"its client was told {submission.status}, it is {told.status}, or its output is another"


def _once(told: Story) -> Iterator[str]:
    ends = [place for place, event in enumerate(told.events) if event.kind in TERMINAL_KINDS]
    if told.status in ENDED and ends != [len(told.events) - 1]:
        yield f"its {len(told.events)} events have their ends at {ends}"
    settled = Counter(
        (event.node_id, event.body["run_index"])
        for event in told.events
        if event.kind == "node.completed" or event.gives_instead
    )
    rows = Counter((result.node_id, result.run_index) for result in told.results if result.status == "completed")
    if any(count > 1 for count in settled.values()) or settled != rows:
        yield f"completed by events {sorted(settled.items())}, by results {sorted(rows)}"
    for result in told.results:
        if told.status in ENDED and result.status in ("pending", "running"):
            yield f"it has ended, and {result.node_id} is {result.status}"


def _answers(told: Story, shape: Shape, facts: Facts, effects: Effects) -> Iterator[str]:
    for (node_id, run_index), serial in facts.answers.items():
        key = f"{told.id}:{node_id}:{run_index}:0"
        if serial not in {each.serial for each in effects.by_key.get(key, ()) if each.status == 200}:
            yield f"{node_id} committed the answer {serial}, which nobody gave under {key}"
    wanted = [run for run in shape.runs if run[0] not in shape.refused | shape.perhaps]
    if told.status == "completed" and (missing := [run for run in wanted if run not in facts.answers]):
        yield f"it has completed without {missing}"


def _output(told: Story, submission: Submission, shape: Shape, facts: Facts) -> Iterator[str]:
    if told.status == "completed":
        given = shape.given(submission.n, submission.tenant)
        try:
            wanted = shape.expected(given, facts)
        except (KeyError, TypeError, IndexError) as missing:
            if not isinstance(missing, KeyError) or missing.args[0] not in shape.runs:  # what is missing there is I6
                yield f"its output is {told.output}, the reference lacks {missing}"
            elif missing.args[0][0] in shape.perhaps:
                yield f"its output is {told.output}, it was to have an answer of {missing.args[0]}"
            return
        if told.output != wanted:
            yield f"its output is {told.output}, the reference gives {wanted}"
    elif not (told.status == "cancelled" and submission.cancelled):
        yield f"it is {told.status} ({told.error}), the reference completes"


def _streamed(told: Story, submission: Submission) -> Iterator[str]:
    if submission.seqs is not None and submission.seqs != list(range(1, told.last_seq + 1)):
        yield f"its stream gave {submission.seqs}, the last event is {told.last_seq}"


def _history(told: Story, plan: Plan) -> Iterator[str]:
    if [event.seq for event in told.events] != list(range(1, told.last_seq + 1)):
        yield f"its events are {[event.seq for event in told.events]}, the last is {told.last_seq}"
        return
    state = initial(plan, told.id)
    try:
        for event in told.events:
            step(state, from_body(event.kind, event.at_ms, event.body))
            invariants.check(state)
    except (RayloomError, TypeError, KeyError) as error:
        yield f"{type(error).__name__}: {error}"
        return
    if state.status.value != told.status and told.events:
        yield f"its events end in {state.status.value}, it is {told.status}"


def serial_of(result: Result) -> int:
    """Return the sink's serial number in an effect's output; -1 where there is none."""
    try:
        return int(result.output["main"][0]["json"]["serial"])
    except (TypeError, KeyError, IndexError, ValueError):
        return -1
