"""Each judge of a storm complains of a broken journal, and of nothing else."""

import pytest

from tests.storm.aftermath import ONE_OF_EACH, own_requests, processes, separate, whole
from tests.storm.evidence import Event, Result
from tests.storm.invariants import Effects, submissions
from tests.unit.storm.telling import (
    ID,
    OTHER,
    REQUEST,
    broken,
    completed,
    end,
    events,
    judged,
    request,
    results,
    submitted,
    told,
)

STORED = {ID: ("first", "k")}
KNOWN = {("first", "k"): submitted()}


def test_an_execution_that_went_well_is_no_violation():
    assert judged(told()) == []
    assert list(submissions(KNOWN, STORED)) == []
    assert list(Effects([REQUEST]).violations()) == []


def test_what_was_acknowledged_and_is_not_there_is_lost():
    assert broken(list(submissions(KNOWN, {}))) == {"I1"}


@pytest.mark.parametrize("status", ["queued", "running"])
def test_what_was_acknowledged_and_has_not_ended_is_lost(status):
    tale = told(status=status, last_seq=5, events=events()[:-1])
    assert "I1" in broken(judged(tale, submitted(status="", output=None, seqs=None)))


def test_an_end_that_is_another_than_its_client_was_told_is_found():
    assert broken(judged(told(), submitted(status="cancelled"))) == {"I1"}
    assert broken(judged(told(), submitted(output={"end": []}))) == {"I1"}


def test_two_executions_of_one_key_are_found():
    twice = {("first", "k"): submitted(ids={ID, OTHER})}
    assert broken(list(submissions(twice, STORED | {OTHER: ("first", "k")}))) == {"I2"}
    unheard = list(submissions(KNOWN, STORED | {OTHER: ("first", "k")}))
    assert broken(unheard) == {"I2"}, "also when the client has heard of one only"


@pytest.mark.parametrize("key", [None, "nobody's"])
def test_an_execution_that_nobody_asked_for_is_found(key):
    assert broken(list(submissions(KNOWN, STORED | {OTHER: ("first", key)}))) == {"I2"}


def test_a_key_that_is_answered_with_the_execution_of_another_key_is_found():
    known = {("first", "k"): submitted(), ("first", "l"): submitted(key="l")}
    assert broken(list(submissions(known, STORED))) == {"I2"}


def test_an_answer_with_the_execution_of_another_workspace_is_found():
    known = {("first", "k"): submitted(), ("second", "k"): submitted(tenant="second")}
    assert broken(list(submissions(known, STORED))) == {"I12"}


def test_a_second_result_of_a_node_is_found():
    twice = [*events()[:4], completed(5, "post"), completed(6, "end"), end(7)]
    assert "I3" in broken(judged(told(events=twice, last_seq=7), submitted(seqs=None)))


def test_an_event_without_its_result_and_a_result_without_its_event_are_found():
    assert broken(judged(told(results=results()[:-1]))) == {"I3"}
    assert broken(judged(told(results=[*results(), Result("more", 0, "completed")]))) == {"I3"}


def test_an_event_after_the_end_is_found():
    late = [*events(), completed(7, "end")]
    assert "I3" in broken(judged(told(events=late, last_seq=7), submitted(seqs=None)))


def test_a_node_that_is_still_running_after_the_end_is_found():
    assert broken(judged(told(results=[*results(), Result("slow", 0, "running")]))) == {"I3"}


def test_an_output_that_is_not_the_reference_is_found():
    wrong = {"end": [{"n": 6, "serial": 11}]}
    assert broken(judged(told(output=wrong), submitted(output=wrong))) == {"I5"}


def test_an_output_that_was_made_from_an_answer_that_was_not_committed_is_found():
    """The sink has answered twice: 11 was committed, and the output holds the other one."""
    output = {"end": [{"n": 5, "serial": 12}]}
    seen = (REQUEST, request(serial=12))
    assert broken(judged(told(output=output), submitted(output=output), seen)) == {"I5"}


@pytest.mark.parametrize("status", ["failed", "timeout", "cancelled"])
def test_an_end_that_nobody_asked_for_is_found(status):
    tale = told(status=status, events=[*events()[:-1], end(6, f"execution.{status}")])
    assert "I5" in broken(judged(tale, submitted(status=status)))


def test_a_cancelled_execution_whose_client_asked_for_it_is_fine():
    tale = told(
        status="cancelled",
        output=None,
        last_seq=4,
        events=[
            *events()[:2],
            Event(3, "execution.cancel_requested", 1_003, "", {"by": "somebody"}),
            end(4, "execution.cancelled"),
        ],
        results=[Result("post", 0, "cancelled"), Result("start", 0, "completed")],
    )
    assert judged(tale, submitted(status="cancelled", output=None, cancelled=True, seqs=None)) == []


def test_an_answer_that_nobody_gave_is_found():
    assert broken(judged(told(), seen=())) == {"I6"}
    assert broken(judged(told(), seen=(request(serial=12),))) == {"I6"}
    assert broken(judged(told(), seen=(request(key="another"),))) == {"I6"}
    assert broken(judged(told(), seen=(request(status=503),))) == {"I6"}, "an error is no answer to be committed"


def test_a_completed_execution_without_its_effect_is_found():
    without = [result for result in results() if result.node_id != "post"]
    assert "I6" in broken(judged(told(results=without)))


def test_one_effect_under_two_keys_and_two_effects_under_one_key_are_found():
    assert broken(list(Effects([REQUEST, request(key="another")]).violations())) == {"I6"}
    assert broken(list(Effects([REQUEST, request(n=6)]).violations())) == {"I6"}
    assert broken(list(Effects([request(key="")]).violations())) == {"I6"}
    assert Effects([REQUEST, request(serial=12)]).again == 1
    assert Effects([request(status=503), request(serial=12)]).again == 0, "an attempt after a refusal repeats nothing"


@pytest.mark.parametrize("seqs", [[1, 2, 3, 5, 6], [1, 2, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5], [], [2, 1, 3, 4, 5, 6]])
def test_a_stream_with_a_gap_or_a_duplicate_is_found(seqs):
    assert broken(judged(told(), submitted(seqs=seqs))) == {"I9"}


def test_a_gap_in_the_events_is_found():
    assert "I10" in broken(judged(told(events=[*events()[:2], *events()[3:]])))


def test_an_illegal_event_is_found():
    unknown = [*events()[:2], completed(3, "nowhere"), *events()[3:]]
    assert "I10" in broken(judged(told(events=unknown)))
    early = [*events()[:2], end(3)]
    found = judged(told(events=early, last_seq=3, results=results()[2:]), submitted(seqs=None))
    assert "I10" in broken(found), "it has completed with nodes that had not"


def test_events_that_end_in_another_status_are_found():
    tale = told(status="cancelled")
    assert "I10" in broken(judged(tale, submitted(status="cancelled", cancelled=True)))


HEALTHY = 200, {"actors": 2}


def test_what_is_not_whole_afterwards_is_found():
    assert list(whole(HEALTHY, 2, 2, {"queued": 0})) == []
    assert broken(list(whole((503, {}), 2, 2, {}))) == {"I11"}
    assert broken(list(whole((200, {"actors": 1}), 2, 2, {}))) == {"I11"}
    assert broken(list(whole(HEALTHY, 2, 3, {}))) == {"I11"}
    assert broken(list(whole(HEALTHY, 2, 2, {"queued": 1}))) == {"I11"}


def test_a_process_too_many_too_few_or_without_an_owner_is_found():
    titles = [name for name, count in ONE_OF_EACH.items() for _ in range(count)] + ["ray::ExecutionActor.run"] * 2
    assert list(processes(titles, 2, [])) == []
    assert broken(list(processes(titles[1:], 2, []))) == {"I11"}
    assert broken(list(processes([*titles, "ray::ExecutionActor"], 2, []))) == {"I11"}
    assert broken(list(processes(titles, 2, ["a sandbox"]))) == {"I11"}


def test_what_is_seen_of_another_workspace_is_found():
    owned = {"first": {ID}, "second": {OTHER}}
    assert list(separate(owned, owned, {"first": {404}})) == []
    assert broken(list(separate({"first": {ID, OTHER}}, owned, {}))) == {"I12"}
    assert broken(list(separate({"first": set()}, owned, {}))) == {"I12"}
    assert broken(list(separate(owned, owned, {"first": {200, 404}}))) == {"I12"}


def test_requests_of_executions_of_others_are_violations():
    assert list(own_requests({"first": {ID}}, {"first": {ID, OTHER}})) == []
    assert broken(list(own_requests({"first": {ID, OTHER}}, {"first": {ID}}))) == {"I12"}
