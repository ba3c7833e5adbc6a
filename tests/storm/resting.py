"""The invariants of what waits. Pure: a broken journal is found out by a unit test.

I8 one decision of people is applied, never lost, never twice: the one whose sender was told so, and the others were told 409.
`timer`: no time comes too early, and none is lost. `child`: one child for each place, none that goes on after its parent. And
nothing begins while an execution is paused (I10).
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from tests.storm.drawing import Shape
from tests.storm.evidence import Asked, Event, Story, serial_of
from tests.storm.invariants import ENDED, Effects, Violation
from tests.storm.journal import Said, Submission

TAKEN, REFUSED = 200, 409
CLOCK_S = 0.005
"""Times in events are whole milliseconds."""
LEAVE_PAUSED = ("execution.resume_requested", "execution.cancel_requested", "execution.time_over")
NO_WORK = ("execution.resumed", "execution.pause_requested", "execution.paused")


def story(told: Story, submission: Submission, shape: Shape, effects: Effects) -> Iterator[Violation]:
    """I8, timers, children and pauses of one execution."""
    where = f"{submission.tenant} {submission.key} ({shape.name}, {told.id})"
    yield from (
        Violation(found.invariant, f"{where}: {found.what}")
        for check in (
            _decided(told, submission),
            _asked_once(told),
            _timed(told),
            _long_enough(told, submission, shape),
            _apart(told, submission, shape, effects),
            _paused(told.events),
            _children(told, submission, shape),
        )
        for found in check
    )


def counted(told: Story) -> Counter[str]:
    """Return how much of what waits there is in an execution."""
    kinds = Counter(event.kind for event in told.events)
    return Counter(
        {
            "decisions": sum(asked.decided for asked in told.asked),
            "timers": sum(event.kind == "node.woken" and event.body["cause"] == "time" for event in told.events),
            "passivations": kinds["execution.waiting"],
            "pauses": kinds["execution.paused"],
            "children": len(told.children),
        }
    )


def as_child(told: Story, parent: Submission, shape: Shape) -> Submission:
    """Return what a child's parent wants of it, as if a client had asked for it."""
    given = shape.given(parent.n, parent.tenant)
    n = given[told.place]["n"] if told.place < len(given) else -1
    name = shape.child.name if shape.child else ""
    key = f"{parent.key}, child {told.place}"
    return Submission(
        parent.tenant, key, name, n, parent.sent_s, parent.acknowledged_s, {told.id}, cancelled=parent.cancelled
    )


def _decided(told: Story, submission: Submission) -> Iterator[Violation]:
    said: dict[str, list[Said]] = defaultdict(list)
    for each in submission.said.values():
        said[each.request].append(each)
    for asked in told.asked:
        where = f"the request {asked.id} of {asked.node_id}"
        answers = said.pop(str(asked.id), [])
        entries = [entry for entry in told.entries if entry.request_id == str(asked.id)]
        for what in (*_one_of(asked, answers), *_not_lost(asked, answers, told.status)):
            yield Violation("I8", f"{where}: {what}")
        wanted = 1 if asked.decided else 0
        if len(entries) != wanted:
            yield Violation("I8", f"{where} is {asked.status}, and has {len(entries)} entries in the audit")
        told_apart = asked.type != "webhook"  # what a webhook brings is not kept in the audit
        for entry in entries if asked.decided and told_apart else ():
            if (entry.action, entry.comment) != (asked.action, asked.who):
                yield Violation("I8", f"{where} was decided by {asked.who}, the audit names {entry.comment}")
    for request in said:
        yield Violation("I8", f"the request {request} was answered and is not there")


def _one_of(asked: Asked, answers: Sequence[Said]) -> Iterator[str]:
    """Whose answer is kept has given it, and was not told that it came too late."""
    taken = [each for each in answers if each.status == TAKEN]
    if len(taken) > 1:
        yield f"{[each.who for each in taken]} were all told that their answers were taken"
    if not asked.decided:
        return
    kept = next((each for each in answers if each.who == asked.who), None)
    if kept is None:
        yield f"it was decided by {asked.who!r}, who has not answered"
        return
    if kept.action != asked.action:
        yield f"{kept.who} said {kept.action!r}, and {asked.action!r} was decided"
    if kept.status == REFUSED and not kept.lost:
        yield f"{kept.who} was told that it was too late, and it is this answer that counts"
    if taken and kept not in taken:
        yield f"{taken[0].who} was told that the answer was taken, and the one of {kept.who} counts"


def _not_lost(asked: Asked, answers: Sequence[Said], status: str) -> Iterator[str]:
    if asked.decided:
        return
    if any(each.status == TAKEN for each in answers):
        yield f"an answer was taken, and it is {asked.status}"
    if status == "completed":
        yield f"it has completed, and what it asked is {asked.status}"


def _asked_once(told: Story) -> Iterator[Violation]:
    """I8: a request is followed by another one only if somebody wants a failed node to be tried again; each decision is applied once."""
    by_run: dict[tuple[str, int], list[Asked]] = defaultdict(list)
    for asked in sorted(told.asked, key=lambda each: each.ordinal):
        by_run[asked.node_id, asked.run_index].append(asked)
    for run, requests in by_run.items():
        again = [asked.status for asked in requests[:-1] if asked.action != "retry"]
        if again:
            yield Violation("I8", f"{run} was asked about again after {again}")
        if requests[0].type == "error_recovery":
            applied = [
                event.body["decision"]
                for event in told.events
                if event.kind == "node.recovered" and (event.node_id, event.body["run_index"]) == run
            ]
            decided = [asked.action for asked in requests if asked.decided]
            if applied != decided[: len(applied)] or (told.status == "completed" and applied != decided):
                yield Violation("I8", f"about {run} {decided} was decided, and {applied} was done")


def _timed(told: Story) -> Iterator[Violation]:
    """A time that comes was waited for, and has come."""
    until_ms: dict[tuple[str, int], int] = {}
    for event in told.events:
        if event.kind not in ("node.waiting", "node.woken"):
            continue
        run = event.node_id, event.body["run_index"]
        if event.kind == "node.waiting":
            until_ms[run] = event.body["until_ms"]
            continue
        due_ms = until_ms.pop(run, 0)
        if event.body["cause"] == "time" and not 0 < due_ms <= event.at_ms:
            yield Violation("timer", f"{run} was woken at {event.at_ms} by the time {due_ms}")
    if told.status == "completed" and until_ms:
        yield Violation("timer", f"it has completed, and {sorted(until_ms)} have not been woken")


def _apart(told: Story, submission: Submission, shape: Shape, effects: Effects) -> Iterator[Violation]:
    """Between two effects so much time passes as the input says: as the sink saw it, which takes its own time."""
    given = shape.given(submission.n, submission.tenant)
    outputs = {result.node_id: result.output for result in told.results}
    for timer in shape.timers:
        before = effects.answer(told.id, (timer.after, 0), serial_of(outputs.get(timer.after)))
        after_s = [each.at_s for each in effects.under(told.id, (timer.before, 0))]
        if after_s and before is None:
            yield Violation("timer", f"{timer.before} began before {timer.after} had a result")
        elif after_s and before is not None:
            wanted_s = (timer.wait_ms(given) + given[0].get("ms", 0)) / 1000
            if min(after_s) - before.at_s < wanted_s - CLOCK_S:
                yield Violation(
                    "timer",
                    f"{timer.before} came {min(after_s) - before.at_s:.3f} s after {timer.after}, not {wanted_s} s",
                )


def _long_enough(told: Story, submission: Submission, shape: Shape) -> Iterator[Violation]:
    """The time that a node waits for is so long after the result before it as the input says."""
    given = shape.given(submission.n, submission.tenant)
    done_ms = {event.node_id: event.at_ms for event in told.events if event.kind == "node.completed"}
    until_ms = {event.node_id: event.body["until_ms"] for event in told.events if event.kind == "node.waiting"}
    for timer in shape.timers:
        if timer.node in until_ms:
            waits_ms = until_ms[timer.node] - done_ms.get(timer.after, until_ms[timer.node])
            if waits_ms < timer.wait_ms(given):
                yield Violation(
                    "timer", f"{timer.node} waits until {waits_ms} ms after {timer.after}, not {timer.wait_ms(given)}"
                )


def _paused(events: Sequence[Event]) -> Iterator[Violation]:
    """Nothing happens to a paused execution before somebody wants something of it."""
    paused = False
    for event in events:
        if event.kind in LEAVE_PAUSED:
            paused = False
        elif paused and event.kind not in NO_WORK:
            yield Violation("I10", f"{event.kind} {event.node_id} happened while it was paused")
            return
        paused = paused or event.kind == "execution.paused"


def _children(told: Story, submission: Submission, shape: Shape) -> Iterator[Violation]:
    places = Counter((child.node_id, child.run_index, child.place) for child in told.children)
    wanted = range(len(shape.given(submission.n, submission.tenant))) if shape.child else range(0)
    strange = [place for place in places if place not in {(shape.calls, 0, each) for each in wanted}]
    twice = [place for place, count in places.items() if count > 1]
    if strange or twice:
        yield Violation("child", f"it has children at {strange}, which it does not want, and several at {twice}")
    for child in told.children:
        if child.workspace_id != told.workspace_id:
            yield Violation("I12", f"its child {child.id} is of the workspace {child.workspace_id}")
        if told.status in ENDED and child.status not in ENDED:
            yield Violation("child", f"it is {told.status}, and its child {child.id} is {child.status}")
    if told.status == "completed":
        yield from _given_back(told, len(wanted))


def _given_back(told: Story, wanted: int) -> Iterator[Violation]:
    """An execution that has completed has all its children's answers, and had waited for them."""
    if len(told.children) != wanted:
        yield Violation("child", f"it has completed with {len(told.children)} children, not {wanted}")
    for child in told.children:
        late = child.ended_ms is None or child.ended_ms > told.events[-1].at_ms
        if child.status != "completed" or late:
            yield Violation(
                "child", f"its child {child.id} is {child.status} since {child.ended_ms}, after its own end"
            )
