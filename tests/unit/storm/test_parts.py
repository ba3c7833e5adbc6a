"""The parts of a storm: journal, sink, schedule, figures. What they get wrong, a storm would not see."""

import asyncio
from itertools import islice
from random import Random
from typing import Any
from uuid import UUID

import httpx2
import pytest

from tests.storm import people
from tests.storm.client import Retried
from tests.storm.journal import JournalFile, read_journal
from tests.storm.load import Load
from tests.storm.once import ONCE, catalog
from tests.storm.recovery import Fault, quantiles
from tests.storm.report import BOUNDS, Phase, Report, apart_from_outages, by_itself, retries_after, silent_s
from tests.storm.schedule import ALONE, APART_S, LONG, SHORT, TURN, Kind, one_by_one, planned
from tests.storm.shape import Facts
from tests.storm.shapes import shapes
from tests.storm.sink import Sink
from workflow.compile import Compiler
from workflow.document import parse_document
from workflow.findings import Severity

ID = UUID(int=42)


async def test_a_journal_is_read_back_without_the_line_that_was_cut_off(tmp_path):
    journal = JournalFile(tmp_path / "journal")
    place = {"t": "first", "key": "k"}
    await journal.note("sent", 1.0, **place, shape="chain", n=5)
    await journal.note("acknowledged", 2.0, **place, id=str(ID))
    await journal.note("acknowledged", 3.0, **place, id=str(ID))
    await journal.note("cancel", 3.5, **place)
    await journal.note("streamed", 4.0, **place, seqs=[1, 2])
    await journal.note("ended", 5.0, **place, status="completed", output={"end": []})
    journal.close()
    with journal.path.open("ab") as file:
        file.write(b'{"what": "sent", "at_s"')

    ((found_place, found),) = read_journal(journal.path).items()

    assert found_place == ("first", "k")
    assert (found.shape, found.n, found.ids, found.acknowledged_s) == ("chain", 5, {ID}, 2.0)
    assert (found.cancelled, found.seqs, found.status, found.output) == (True, [1, 2], "completed", {"end": []})


async def test_the_sink_notes_requests_and_answers_by_their_mood():
    async with Sink().serving() as sink, httpx2.AsyncClient(trust_env=False) as http:

        async def post(query: str, key: str) -> httpx2.Response:
            headers = {"Idempotency-Key": key}
            return await http.post(f"http://127.0.0.1:{sink.port}/small/post?t=first&{query}", headers=headers)

        fine = await post("n=5", "a")
        again = await post("n=5", "a")
        statuses = [(await post(query, key)).status_code for query, key in (
            ("n=6&mood=refuse", "b"), ("n=7&mood=flaky", "c"), ("n=7&mood=flaky", "c"),
            ("n=8&mood=mend", "d"), ("n=8&mood=mend", "d"))]  # fmt: skip

    assert fine.json() == {"n": 5, "t": "first", "serial": 1}
    assert again.json()["serial"] == 2
    assert statuses == [422, 503, 200, 422, 200]
    noted = [(seen.key, seen.path, seen.n, seen.status) for seen in sink.seen]
    path = "/small/post"
    assert noted == [("a", path, 5, 200)] * 2 + [
        ("b", path, 6, 422),
        ("c", path, 7, 503),
        ("c", path, 7, 200),
        ("d", path, 8, 422),
        ("d", path, 8, 200),
    ]


async def test_the_sink_takes_its_time_beside_other_requests():
    async with Sink().serving() as sink, httpx2.AsyncClient(trust_env=False) as http:
        ends: list[str] = []

        async def post(ms: int, key: str) -> None:
            await http.post(f"http://127.0.0.1:{sink.port}/p?n=1&ms={ms}", headers={"Idempotency-Key": key})
            ends.append(key)

        await asyncio.gather(post(400, "slow"), post(0, "quick"))
    assert ends == ["quick", "slow"]


@pytest.mark.parametrize(("pace", "seconds"), [(SHORT, 110), (LONG, 900)])
def test_every_kind_of_fault_comes_early_enough(pace, seconds):
    for seed in range(20):
        begun = [one.kind for one in islice(planned(seed, pace), 5_000) if one.at_s < seconds]
        assert set(begun) == set(pace) >= set(Kind) - {Kind.KEEPER}
    assert set(LONG) == set(Kind)


def test_half_an_hour_has_a_thousand_faults_and_time_to_heal():
    half_an_hour = [one for one in islice(planned(1, LONG), 5_000) if one.at_s < 1_400]
    assert len(half_an_hour) >= 1_000
    assert sum(one.kind in ALONE for one in half_an_hour) * 60 < 1_800 - 1_400


def test_the_same_seed_gives_the_same_storm():
    first, second, other = (list(islice(planned(seed, SHORT), 50)) for seed in (3, 3, 4))
    assert first == second != other
    assert [one.at_s for one in first] == sorted(one.at_s for one in first)


def test_every_shape_compiles_has_eight_nodes_and_names_its_effects():
    for shape in shapes(20_001, 100).values():
        found = Compiler(catalog(), nodes_max=50).validate(parse_document(shape.document))
        assert [each for each in found if each.severity is Severity.ERROR] == []
        nodes = {each["id"]: each["type"] for each in shape.document["nodes"]}
        assert len(nodes) >= 8 or not shape.weight
        assert {node_id for node_id, _ in shape.runs} == {
            each for each, kind in nodes.items() if kind in ("action.http", ONCE)
        }
        assert nodes.keys() >= shape.asks | shape.once | shape.perhaps | shape.refused | shape.waits_ms.keys()
        assert not shape.child or shape.child in shapes(20_001, 100)


DECISIONS = {
    "ask": ({"action": "approve", "comment": "ann"}, {"action": "reject", "comment": "bob"}),
    "called": ({"body": {"who": "ann"}}, {"body": {"who": "bob"}}),
    "bad": ({"action": "skip"}, {"action": "replace", "output": [{"instead": "ann"}]}),
}


def test_the_reference_depends_on_the_committed_answers():
    for shape in shapes(20_001, 100).values():
        given = shape.given(5, "first")
        decided = {name: these[0] for name, these in DECISIONS.items()}
        one, other = (shape.expected(given, Facts(dict.fromkeys(shape.runs, serial), decided)) for serial in (11, 12))
        assert one != other


def test_the_reference_depends_on_what_was_decided():
    for shape in shapes(20_001, 100).values():
        for name in shape.asks:
            answers = {run: 11 for run in shape.runs if run != ("act", 0) or name != "ask"}
            allowed = answers | {("act", 0): 12}
            one = shape.expected(shape.given(5, "first"), Facts(allowed, {name: DECISIONS[name][0]}))
            other = shape.expected(shape.given(5, "first"), Facts(answers, {name: DECISIONS[name][1]}))
            assert one != other
            done = shape.expected(
                shape.given(5, "first"), Facts(allowed, {"ask": DECISIONS["ask"][1]} | {name: DECISIONS[name][1]})
            )
            assert name != "ask" or done == {"end": "what was rejected was done"}


def test_the_reference_knows_an_outcome_that_is_not_known():
    shape = shapes(20_001, 100)["once"]
    lost = shape.expected(shape.given(5, "first"), Facts({("act", 0): 11}))
    assert lost["end"][0]["how"] == "unknown_outcome"


class FakeStore:
    """Gives each workflow its name for an id."""

    def __init__(self) -> None:
        self.stored: list[dict[str, Any]] = []

    async def store(self, document: dict[str, Any]) -> str:
        self.stored.append(document)
        return f"the id of {document['name']}"


async def test_a_workflow_that_executes_another_is_stored_after_it_and_names_it():
    api: Any = FakeStore()
    load = Load("first", api, shapes(20_001, 100), None, Random(1))  # type: ignore[arg-type]
    await load.store()
    (call,) = [each for each in api.stored[-1]["nodes"] if each["type"] == "action.execute_workflow"]
    assert call["config"]["workflow_id"] == "the id of child"
    assert len(api.stored) == len(load.workflows) == len(load.shapes)


class FakeApi:
    """Answers the first one with 200 and the others with 409; after three looks nothing is asked any more."""

    def __init__(self, kind: str) -> None:
        self.asked = {"id": str(ID), "type": kind, "link": "http://here/api/v1/respond/secret"}
        self.said: list[tuple[str, dict[str, Any]]] = []

    async def requests(self, execution_id: UUID) -> list[dict[str, Any]]:
        return [self.asked]

    async def respond(self, path: str, body: dict[str, Any]) -> tuple[int, bool]:
        self.said.append((path, body))
        self.ended.set()
        return (200 if len(self.said) == 1 else 409), False

    ended: asyncio.Event


@pytest.mark.parametrize("kind", ["approval", "error_recovery", "webhook"])
async def test_several_people_answer_differently_and_each_is_known_by_the_answer(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(people, "THINK_S", 0.01)
    journal, api = JournalFile(tmp_path / "journal"), FakeApi(kind)
    api.ended = asyncio.Event()
    await journal.note("sent", 1.0, t="first", key="k", shape="asking", n=5)
    asked = people.People("first", api, journal, Random(3))  # type: ignore[arg-type]
    await asked.look_after("k", ID, api.ended)
    journal.close()

    ((_, found),) = read_journal(journal.path).items()
    assert {said.status for said in found.said.values()} == {200, 409}
    assert len(found.said) == len(api.said) >= 2
    assert len({said.action for said in found.said.values()}) >= 2
    for path, body in api.said:
        assert path in (api.asked["link"], f"/hitl/{ID}/respond")
        held = {"body": body} if kind == "webhook" else {key: value for key, value in body.items() if key != "data"}
        who, action = people.who_said(kind, held)
        assert (found.said[who].request, found.said[who].action) == (ID, action)


def test_quantiles():
    assert quantiles([]) is None
    assert quantiles([0.5]) == {"p50": 0.5, "p99": 0.5, "max": 0.5}
    assert quantiles([float(number) for number in range(100)]) == {"p50": 50.0, "p99": 99.0, "max": 99.0}


def retried(failed_s: float, took_s: float) -> Retried:
    return Retried(failed_s, failed_s + took_s, ("ReadError",))


def test_a_failed_request_is_blamed_on_the_replica_that_was_killed_before_it_and_not_on_an_outage():
    replica, head = Fault(Kind.REPLICA, "", 100.0), Fault(Kind.HEAD, "", 200.0, healed_s=230.0)
    near_head = Fault(Kind.REPLICA, "", 199.0)
    known = [retried(100.5, 1.0), retried(150.0, 2.0), retried(205.0, 20.0)]
    assert retries_after([replica], [replica, head], known) == [1.0]
    assert retries_after([near_head], [near_head, head], known) == []
    assert retries_after([head], [replica, head], known) == []


def test_outages_of_everything_are_left_out_of_the_second_goodput():
    head = Fault(Kind.HEAD, "", 110.0, healed_s=150.0)
    actor = Fault(Kind.ACTOR, "", 160.0, healed_s=170.0)
    ended_s = [100.5, 105.0, 120.0, 155.0, 199.0, 250.0]
    assert apart_from_outages((100.0, 200.0), [head, actor], ended_s) == pytest.approx(4 / 60)
    assert apart_from_outages((100.0, 200.0), [], ended_s) == pytest.approx(5 / 100)
    assert apart_from_outages((100.0, 200.0), [Fault(Kind.HEAD, "", 90.0)], ended_s) == 0


def test_seconds_in_which_no_client_was_answered_are_counted():
    assert silent_s((100.5, 106.2), [101, 103, 105, 200]) == 2
    assert silent_s((100.0, 102.0), []) == 2
    assert silent_s((100.0, 102.0), [100, 101]) == 0


def test_a_bound_is_met_missed_or_not_measured():
    def met(first_s: float | None) -> bool | None:
        phase = Phase(10, 20, 200)
        fault = Fault(Kind.ACTOR, "", 1.0, affected=1, first_s=first_s, all_s=first_s)
        report = Report({}, phase, phase, 1.0, [fault], [], [], {}, {}, {})
        assert report.goodput == 1.0
        assert report.as_json()["violations"]["I1"] == 0
        return report.by_kind["actor"]["bound"]["met"]

    limit_s = BOUNDS[Kind.ACTOR].limit_s
    assert (met(limit_s - 0.1), met(limit_s + 0.1), met(None)) == (True, False, None)


async def test_lines_that_come_together_are_durable_when_their_notes_return(tmp_path):
    journal = JournalFile(tmp_path / "journal")
    notes = [journal.note("sent", 1.0, t="first", key=f"k{n}", shape="chain", n=n) for n in range(50)]
    await asyncio.gather(*notes)
    assert {submission.n for submission in read_journal(journal.path).values()} == set(range(50))
    journal.close()


def test_a_bound_is_for_one_fault_at_a_time():
    actor = Fault(Kind.ACTOR, "", 100.0, affected=1, first_s=7.0, all_s=8.0)
    before = Fault(Kind.POSTGRESQL, "", 90.0, healed_s=99.0)
    during = Fault(Kind.POSTGRESQL, "", 106.0, healed_s=108.0)
    after = Fault(Kind.HEAD, "", 108.0)
    as_fast = Fault(Kind.WORKER, "", 101.0)

    assert by_itself(actor, [actor, before, after, as_fast])
    assert not by_itself(actor, [actor, during])
    assert not by_itself(actor, [actor, Fault(Kind.SUPERVISOR, "", 95.0)])  # nobody saw it heal: its bound counts

    phase = Phase(10, 20, 200)
    report = Report({}, phase, phase, 1.0, [actor, during], [], [], {}, {}, {})
    assert report.by_kind["actor"]["bound"]["met"] is None
    assert (report.by_kind["actor"]["by_itself"], report.by_kind["actor"]["first_s"]["max"]) == (0, 7.0)


def test_one_by_one_every_kind_has_its_turn_and_time_to_heal():
    first = list(islice(one_by_one(), 2 * len(TURN)))
    assert set(TURN) == set(Kind) - ALONE
    assert [one.at_s for one in first] == [APART_S * (number + 1) for number in range(len(first))]
    assert [one.kind for one in first[len(TURN) :]] == list(TURN)
    assert max(BOUNDS[kind].limit_s for kind in TURN if kind in BOUNDS) < APART_S
