"""Each judge of what waits complains of a broken journal, and of nothing else."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from tests.storm import resting
from tests.storm.drawing import Shape, Timer
from tests.storm.evidence import Asked, Entry, Event, Kin, Result, Story
from tests.storm.invariants import Effects, Violation
from tests.storm.journal import Said, Submission
from tests.storm.sink import Seen
from tests.unit.storm.telling import ID, OTHER, REQUEST, SHAPE, WORKSPACE, broken, events, results, submitted, told

REQUEST_ID = UUID(int=77)
ASKED = Asked(REQUEST_ID, "ask", 0, 0, "approval", "approved", {"action": "approve", "comment": "ann"})
ENTRY = Entry(str(REQUEST_ID), "approval", "approve", "ann")
ANN = Said(str(REQUEST_ID), "ann", "approve", "api", 200)
BOB = Said(str(REQUEST_ID), "bob", "reject", "link", 409)
CHILD_SHAPE = replace(SHAPE, name="child")
PARENT_SHAPE = replace(SHAPE, child=CHILD_SHAPE, calls="call")
KIN = Kin(OTHER, WORKSPACE, "call", 0, 0, "completed", 1_003)


def judged(
    tale: Story, submission: Submission | None = None, shape: Shape = SHAPE, seen: tuple[Seen, ...] = (REQUEST,)
) -> list[Violation]:
    return list(resting.story(tale, submission or submitted(), shape, Effects(seen)))


def answered(*said: Said) -> Submission:
    return submitted(said={(each.request, each.who): each for each in said})


def asked(*requests: Asked, entries: tuple[Entry, ...] = (ENTRY,), **changes: Any) -> Story:
    return told(asked=list(requests), entries=list(entries), **changes)


def test_one_decision_of_two_is_fine():
    assert judged(asked(ASKED), answered(ANN, BOB)) == []
    assert resting.counted(asked(ASKED))["decisions"] == 1


@pytest.mark.parametrize("said", [replace(ANN, status=None), replace(ANN, status=409, lost=1)])
def test_whose_answer_counts_may_not_have_heard_of_it(said: Said):
    """A try that had no answer may have decided; what is told after it is that it was too late."""
    assert judged(asked(ASKED), answered(said, BOB)) == []


@pytest.mark.parametrize(
    "said",
    [
        pytest.param((ANN, replace(BOB, status=200)), id="both were told that theirs was taken"),
        pytest.param((replace(ANN, status=409), replace(BOB, status=200)), id="the other's counts"),
        pytest.param((replace(ANN, status=409), BOB), id="whose counts was told that it was too late"),
        pytest.param((replace(ANN, action="reject"), BOB), id="something else was decided than was said"),
        pytest.param((BOB,), id="it was decided by nobody who answered"),
        pytest.param((ANN, BOB, replace(ANN, request="gone")), id="what was answered is not there"),
    ],
)
def test_a_decision_that_is_not_the_one_of_whom_it_was_acknowledged_to_is_found(said: tuple[Said, ...]):
    assert broken(judged(asked(ASKED), answered(*said))) == {"I8"}


@pytest.mark.parametrize("status", ["pending", "cancelled", "timeout"])
def test_a_decision_that_was_acknowledged_and_is_lost_is_found(status: str):
    lost = replace(ASKED, status=status, response=None)
    assert broken(judged(asked(lost, entries=(), status="cancelled"), answered(ANN, BOB))) == {"I8"}
    unheard = answered(replace(ANN, status=None), BOB)
    assert judged(asked(lost, entries=(), status="cancelled"), unheard) == []
    assert broken(judged(asked(lost, entries=()), unheard)) == {"I8"}, "it has gone on without a decision"


@pytest.mark.parametrize(
    "entries", [(), (ENTRY, ENTRY), (replace(ENTRY, comment="bob"),), (replace(ENTRY, action="reject"),)]
)
def test_a_decision_that_stands_otherwise_in_the_audit_is_found(entries: tuple[Entry, ...]):
    assert broken(judged(asked(ASKED, entries=entries), answered(ANN, BOB))) == {"I8"}


def test_what_a_webhook_brought_is_known_by_its_body():
    hook = replace(ASKED, type="webhook", status="answered", response={"body": {"who": "ann"}})
    entry = replace(ENTRY, action="", comment="")
    ann, bob = replace(ANN, action=""), replace(BOB, action="")
    assert judged(asked(hook, entries=(entry,)), answered(ann, bob)) == []
    twice = answered(ann, replace(bob, status=200))
    assert broken(judged(asked(hook, entries=(entry,)), twice)) == {"I8"}, "its link works once"


def recovered(seq: int, decision: str) -> Event:
    return Event(seq, "node.recovered", 1_000 + seq, "ask", {"run_index": 0, "decision": decision})


def failed_twice(*applied: str, first: str = "retry", **changes: Any) -> list[Violation]:
    requests, said, entries = [], [], []
    for ordinal, action in enumerate((first, "skip")):
        identity = UUID(int=80 + ordinal)
        response = {"action": action, "comment": "ann"}
        requests.append(Asked(identity, "ask", 0, ordinal, "error_recovery", "answered", response))
        said.append(Said(str(identity), "ann", action, "api", 200))
        entries.append(Entry(str(identity), "error_recovery", action, "ann"))
    done = [recovered(7 + place, decision) for place, decision in enumerate(applied)]
    tale = asked(*requests, entries=tuple(entries), events=[*events(), *done], **changes)
    return judged(tale, answered(*said))


def test_decisions_about_a_failed_node_are_applied_once_each_and_in_order():
    assert failed_twice("retry", "skip") == []
    assert failed_twice("retry", status="cancelled") == []
    for applied in ((), ("retry",), ("skip", "retry"), ("retry", "skip", "skip"), ("retry", "retry")):
        assert broken(failed_twice(*applied)) == {"I8"}
    assert broken(failed_twice("skip", "skip", first="skip")) == {"I8"}, "asked again though nobody wanted another try"


TIMER = Timer("nap", "post", "next", lambda given: 2_000)


def slept(until_ms: int, woken_ms: int | None, cause: str = "time") -> Story:
    waiting = Event(7, "node.waiting", 1_007, "nap", {"run_index": 0, "until_ms": until_ms})
    woken = [] if woken_ms is None else [Event(8, "node.woken", woken_ms, "nap", {"run_index": 0, "cause": cause})]
    return told(events=[*events(), waiting, *woken])


def test_a_time_that_comes_early_or_never_is_found():
    assert judged(slept(2_000, 2_000)) == []
    assert judged(slept(0, 1_500, "signal")) == []
    assert resting.counted(slept(2_000, 2_000))["timers"] == 1
    assert broken(judged(slept(2_000, 1_999))) == {"timer"}
    assert broken(judged(slept(0, 2_000))) == {"timer"}, "it waits for no time"
    assert broken(judged(slept(2_000, None))) == {"timer"}


TIMED = replace(SHAPE, timers=(TIMER,))


def apart(after_s: float, *more: Seen, outputs: list[Result] | None = None, shape: Shape = TIMED) -> list[Violation]:
    """Return what is said of an effect that came so many seconds after the one before a wait of two."""
    after = replace(REQUEST, key=f"{ID}:next:0:0", path="/small/next", at_s=REQUEST.at_s + after_s, serial=12)
    return judged(told(results=outputs or results()), shape=shape, seen=(REQUEST, after, *more))


def test_an_effect_that_comes_before_its_time_is_found():
    assert apart(2.0) == []
    assert broken(apart(1.99)) == {"timer"}
    sent_again = replace(REQUEST, serial=10, at_s=REQUEST.at_s - 1)
    assert broken(apart(1.5, sent_again)) == {"timer"}, "only the request that was committed counts"
    slow = replace(TIMED, given=lambda n, t: [{"n": n, "t": t, "ms": 400}])
    assert apart(2.4, shape=slow) == []
    assert broken(apart(2.3, shape=slow)) == {"timer"}, "the answer before the wait takes its time, too"
    assert broken(apart(3.0, outputs=results()[:1])) == {"timer"}, "it does not wait for what was not committed"


def test_a_time_that_is_too_near_to_what_came_before_is_found():
    """The effect before it has its result at 1,004."""
    assert judged(slept(3_004, 3_004), shape=TIMED) == []
    assert broken(judged(slept(3_003, 3_004), shape=TIMED)) == {"timer"}


def paused(*kinds: str) -> Story:
    between = [Event(7 + place, kind, 1_007 + place, "", {"run_index": 0}) for place, kind in enumerate(kinds)]
    return told(status="cancelled", events=[*events()[:-1], *between])


def test_what_happens_to_a_paused_execution_is_found():
    fine = ("execution.paused", "execution.resumed", "execution.resume_requested", "node.started")
    assert judged(paused(*fine)) == []
    assert judged(paused("execution.paused", "execution.cancel_requested", "execution.cancelled")) == []
    assert resting.counted(paused(*fine))["pauses"] == 1
    assert broken(judged(paused("execution.paused", "execution.resumed", "node.started"))) == {"I10"}


def of(*children: Kin, **changes: Any) -> list[Violation]:
    return judged(told(children=list(children), **changes), shape=PARENT_SHAPE)


def test_a_child_for_each_place_that_ended_before_its_parent_is_fine():
    assert of(KIN) == []
    assert of(status="cancelled") == []
    assert of(replace(KIN, status="running", ended_ms=None), status="running") == []


@pytest.mark.parametrize(
    "broken_family",
    [
        pytest.param(of, id="it has completed without its child"),
        pytest.param(lambda: of(KIN, replace(KIN, id=UUID(int=44))), id="two children for one place"),
        pytest.param(lambda: of(KIN, replace(KIN, place=1)), id="a child for an item that is not there"),
        pytest.param(lambda: of(replace(KIN, node_id="post")), id="a child of a node that starts none"),
        pytest.param(lambda: of(replace(KIN, status="failed")), id="its child has failed"),
        pytest.param(lambda: of(replace(KIN, ended_ms=2_000)), id="it did not wait for the end"),
        pytest.param(lambda: of(replace(KIN, status="waiting"), status="cancelled"), id="a child that goes on alone"),
        pytest.param(lambda: judged(told(children=[KIN])), id="children of a kind that has none"),
    ],
)
def test_children_that_should_not_be_are_found(broken_family: Callable[[], list[Violation]]):
    assert broken(broken_family()) == {"child"}


def test_a_child_of_another_workspace_is_found():
    assert broken(of(replace(KIN, workspace_id=UUID(int=8)))) == {"I12"}


def test_a_child_is_judged_by_the_item_that_it_is_for():
    shape = replace(PARENT_SHAPE, given=lambda n, t: [{"n": n * 10 + place, "t": t} for place in range(2)])
    wanted = resting.as_child(told(id=OTHER, parent_id=ID, place=1), submitted(cancelled=True), shape)
    assert (wanted.shape, wanted.n, wanted.tenant, wanted.cancelled) == ("child", 51, "first", True)
    assert wanted.ids == {OTHER}
    assert wanted.acknowledged_s is not None, "a child must come to its end, too"
