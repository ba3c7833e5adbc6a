"""The judges of what waits complain of a broken journal: decisions, timers, pauses, children, what starts at most once, causes."""

from dataclasses import replace
from uuid import UUID

import pytest

from tests.chaos.work import chain, node
from tests.storm.causes import causes, once, unknown_outcomes
from tests.storm.decisions import decisions, last_decisions
from tests.storm.evidence import Event, Noted, Request, Result, Story
from tests.storm.families import as_submitted, children
from tests.storm.invariants import ENDED
from tests.storm.journal import Said
from tests.storm.patient import shapes
from tests.storm.shape import Facts, Shape, one
from tests.storm.waits import lateness_ms, pauses, timers
from tests.unit.storm.telling import (
    ID,
    KEY,
    OTHER,
    SHAPE,
    broken,
    completed,
    end,
    events,
    judged,
    request,
    results,
    started,
    submitted,
    told,
)

ASKED = UUID(int=77)
APPROVED = Request(ASKED, "ask", 0, "approval", "approved", {"action": "approve", "comment": "ann"})
NOTED = Noted(ASKED, {"action": "approve", "comment": "ann"})
ANN = Said(ASKED, "ann", "approve", 200)
BOB = Said(ASKED, "bob", "reject", 409)


def asked(*said: Said, request: Request = APPROVED, noted: tuple[Noted, ...] = (NOTED,)) -> list[str]:
    tale = told(requests=[request], noted=list(noted))
    found = list(decisions(tale, submitted(said={each.who: each for each in said})))
    assert broken(judged(tale, submitted(said={each.who: each for each in said}))) == ({"I8"} if found else set())
    return found


def test_one_decision_of_several_is_no_violation() -> None:
    assert asked(ANN, BOB) == []
    assert asked(replace(ANN, status=409, doubtful=True), BOB) == [], "its own first try had decided"
    assert asked(replace(ANN, status=None), BOB) == [], "whoever asked has gone before the answer"
    assert last_decisions(told(requests=[APPROVED])) == {"ask": APPROVED.response}


def test_a_decision_that_is_lost_changed_or_nobodys_is_found() -> None:
    pending = replace(APPROVED, status="pending", response=None)
    assert asked(ANN, request=pending, noted=()), "it was taken, and is not there"
    assert asked(replace(ANN, status=409), BOB), "it was told that it came too late, and it was taken"
    assert asked(ANN, replace(BOB, status=200)), "two were told that theirs was taken"
    assert asked(replace(ANN, status=None), replace(BOB, status=200)), "another one is held than was taken"
    assert asked(BOB), "nobody has said what is held"
    assert asked(replace(ANN, action="reject")), "it is not what was said"
    assert asked(ANN, request=replace(APPROVED, status="rejected")), "the status is not of the answer"
    assert asked(replace(ANN, request=OTHER)), "it was not about this request"


def test_the_audit_has_each_decision_once_and_as_it_is_held() -> None:
    assert asked(ANN, noted=())
    assert asked(ANN, noted=(NOTED, NOTED))
    assert asked(ANN, noted=(replace(NOTED, response={"action": "reject", "comment": "bob"}),))
    assert asked(request=replace(APPROVED, status="cancelled", response=None)), "nobody has decided, and it is noted"
    over = replace(APPROVED, status="timeout", response={"action": "reject", "automatic": True})
    by_time = Noted(ASKED, over.response)
    assert asked(request=over, noted=(by_time,)) == []
    assert asked(request=over, noted=()), "what the time has decided is noted, too"


def test_the_last_decision_about_a_node_counts() -> None:
    again = replace(APPROVED, id=OTHER, ordinal=2, response={"action": "skip", "comment": "bob"})
    assert last_decisions(told(requests=[again, APPROVED])) == {"ask": again.response}


WAITING = Shape(
    "waiting", 1, chain("waiting", node("wait", "logic.wait")), one, SHAPE.expected, (), waits_ms={"wait": 3_000}
)


def waiting(until_ms: int, woken_ms: int) -> Story:
    wait = {"node_id": "wait", "run_index": 0, "attempt": 1, "wait": 0}
    return told(
        events=[
            completed(2, "start"),
            Event(3, "node.waiting", 1_010, "wait", {**wait, "until_ms": until_ms}),
            Event(4, "node.woken", woken_ms, "wait", {**wait, "cause": "time"}),
            replace(completed(5, "wait"), at_ms=woken_ms + 1),
        ]
    )


def test_a_timer_is_never_early() -> None:
    assert list(timers(waiting(4_005, 4_300), WAITING)) == []
    assert list(lateness_ms(waiting(4_005, 4_300))) == [295]
    assert list(timers(waiting(3_000, 4_300), WAITING)), "it was set too early"
    assert list(timers(waiting(4_005, 4_003), WAITING)), "it came too early"
    silently = waiting(4_005, 4_003)
    del silently.events[2]
    assert list(timers(silently, WAITING)), "the node went on without it"


def paused(*after: Event) -> list[Event]:
    return [*events()[:4], Event(5, "execution.paused", 1_005, "", {}), *after]


def test_nothing_begins_and_nothing_is_repeated_while_it_is_paused() -> None:
    resumed = Event(6, "execution.resume_requested", 1_900, "", {"by": "ann"})
    fine = told(events=paused(resumed, completed(7, "end")))
    assert list(pauses(fine, {KEY: [request(at_s=1.003)]})) == []
    assert list(pauses(fine, {KEY: [request(at_s=1.003), request(at_s=1.95)]})), "a settled effect came again"
    assert list(pauses(told(events=paused(started(6, "end"), resumed)), {}))
    assert list(pauses(told(events=paused(completed(6, "end"))), {}))


def child(place: int, status: str = "completed", identity: int = 90) -> Story:
    return told(id=UUID(int=identity + place), parent=ID, place=place, status=status, key=None)


def family(below: list[Story], status: str = "completed") -> list[str]:
    return list(children(told(status=status), below, 2, ENDED))


def test_each_place_has_one_child_which_ends_with_its_parent() -> None:
    assert family([child(0), child(1)]) == []
    assert family([child(0, "cancelled")], "cancelled") == []
    assert family([child(0)]), "one is missing"
    assert family([child(0), child(1), child(1, identity=95)]), "one is there twice"
    assert family([child(0), child(1), child(2)]), "nobody asked for the third one"
    assert family([child(0), child(1, "waiting")], "cancelled"), "an orphan goes on"
    assert family([child(0), child(1, "failed")]), "its failure was not heard of"
    assert family([child(0), replace_workspace(child(1))])
    of_child = as_submitted(submitted(cancelled=True), child(1), 7, "child")
    assert (of_child.key, of_child.n, of_child.cancelled, of_child.ids) == ("k/1", 7, True, {UUID(int=91)})


def replace_workspace(tale: Story) -> Story:
    tale.workspace_id = OTHER
    return tale


def test_an_output_of_a_family_is_made_of_those_of_its_children() -> None:
    (shape,) = [shape for shape in shapes(1) if shape.child]
    given = shape.given(4, "first")
    one_way, other = (
        shape.expected(given, Facts({("post", 0): 5}, {}, [Facts({("post", 0): serial}), Facts({("post", 0): 9})]))
        for serial in (7, 8)
    )
    assert (one_way["end"][0]["twice"], other["end"][0]["twice"]) == ([14, 18], [16, 18])


ONCE = replace(SHAPE, once=frozenset({"post"}), perhaps=frozenset({"post"}))


def ended_once(status: str, code: str = "", *, requests: int = 1) -> list[str]:
    tale = told(results=[Result("post", 0, status, results()[1].output if status == "completed" else None, code)])
    return list(once(tale, ONCE, {KEY: [request()] * requests}))


def test_what_starts_at_most_once_is_not_sent_twice_and_its_outcome_is_told() -> None:
    assert ended_once("completed") == []
    assert ended_once("failed", "unknown_outcome") == []
    assert ended_once("failed", "unknown_outcome", requests=0) == [], "it had begun, and sent nothing"
    assert ended_once("completed", requests=2)
    assert ended_once("failed", "unknown_outcome", requests=2)
    assert ended_once("completed", requests=0)
    assert ended_once("failed", "http_failed"), "an outcome that is not known is said to be a failure"
    assert ended_once("running"), "nobody says what became of it"
    lost = told(results=[Result("post", 0, "failed", None, "unknown_outcome")])
    assert unknown_outcomes(lost, ONCE) == 1


def test_a_result_that_was_made_of_an_answer_that_is_not_committed_before_it_is_found() -> None:
    made = {"main": [{"json": {"n": 5, "serial": 12}}]}
    tale = told(results=[Result("end", 0, "completed", made), *results()[1:]])
    assert list(causes(tale, SHAPE, {("post", 0): 12})) != [], "the effect itself holds 11"
    assert broken(judged(tale)) == {"I4"}
    early = told(results=[*results()[:2], Result("start", 0, "completed", results()[1].output)])
    assert broken(judged(early)) == {"I4"}, "nothing leads from the effect to the start"
    assert list(causes(tale, SHAPE, {("post", 0): 11}, [12])) == [], "a child has given it"


@pytest.mark.parametrize("decision", ["skip", "replace"])
def test_what_somebody_decided_is_a_result(decision: str) -> None:
    recovered = Event(4, "node.recovered", 1_004, "post", {"decision": decision, "run_index": 0})
    tale = told(events=[*events()[:3], recovered, *events()[4:]])
    assert "I3" not in broken(judged(tale))
    retried = replace(recovered, body={**recovered.body, "decision": "retry"})
    assert "I3" in broken(judged(told(events=[*events()[:3], retried, completed(5, "end"), end(6)])))
