"""A small execution that went well, told by hand: what the judges of a storm see of it. Tests break one thing each."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from tests.chaos.work import chain, node
from tests.storm.evidence import Event, Result, Story
from tests.storm.invariants import Effects, Violation, story
from tests.storm.journal import Submission
from tests.storm.shape import Shape
from tests.storm.sink import Seen
from workflow.plan import Plan

WORKSPACE = UUID(int=7)
ID = UUID(int=42)
OTHER = UUID(int=43)
KEY = f"{ID}:post:0:0"

SHAPE = Shape(
    "small",
    1,
    chain("small", node("post", "action.http", url="http://sink/"), node("end", "logic.noop")),
    lambda n, t: [{"n": n, "t": t}],
    lambda given, answers: {"end": [{"n": given[0]["n"], "serial": answers["post", 0]}]},
    (("post", 0),),
)


def plan() -> Plan:
    from nodes.catalog import load_catalog
    from workflow.document import parse_document
    from workflow.plan import make_plan

    return make_plan(parse_document(SHAPE.document), load_catalog())


def completed(seq: int, node_id: str) -> Event:
    body = {"node_id": node_id, "run_index": 0, "attempt": 1, "handles": {"main": 1}, "duration_ms": 1.0}
    return Event(seq, "node.completed", 1_000 + seq, node_id, body)


def started(seq: int, node_id: str) -> Event:
    return Event(seq, "node.started", 1_000 + seq, node_id, {"node_id": node_id, "run_index": 0, "attempt": 1})


def end(seq: int, kind: str = "execution.completed") -> Event:
    return Event(seq, kind, 1_000 + seq, "", {"code": "", "message": "", "node_id": ""})


def events() -> list[Event]:
    begin = Event(1, "execution.started", 1_001, "", {"epoch": 1})
    return [begin, completed(2, "start"), started(3, "post"), completed(4, "post"), completed(5, "end"), end(6)]


def results(serial: int = 11) -> list[Result]:
    posted = {"main": [{"json": {"n": 5, "serial": serial}}]}
    return [Result("end", 0, "completed"), Result("post", 0, "completed", posted), Result("start", 0, "completed")]


def told(**changes: Any) -> Story:
    fields: dict[str, Any] = {
        "id": ID,
        "workspace_id": WORKSPACE,
        "status": "completed",
        "last_seq": 6,
        "output": {"end": [{"n": 5, "serial": 11}]},
        "key": "k",
        "events": events(),
        "results": results(),
    }
    return Story(**fields | changes)


def submitted(**changes: Any) -> Submission:
    fields: dict[str, Any] = {
        "tenant": "first",
        "key": "k",
        "shape": "small",
        "n": 5,
        "sent_s": 1.0,
        "acknowledged_s": 2.0,
        "ids": {ID},
        "ended_s": 3.0,
        "status": "completed",
        "output": {"end": [{"n": 5, "serial": 11}]},
        "seqs": [1, 2, 3, 4, 5, 6],
    }
    return Submission(**fields | changes)


REQUEST = Seen(KEY, "/small/post", "first", 5, 1.5, 11, 200)


def request(**changes: Any) -> Seen:
    return replace(REQUEST, **changes)


def judged(tale: Story, submission: Submission | None = None, seen: tuple[Seen, ...] = (REQUEST,)) -> list[Violation]:
    return list(story(tale, submission or submitted(), SHAPE, plan(), Effects(seen)))


def broken(found: list[Violation]) -> set[str]:
    """Return which invariants are complained of."""
    return {violation.invariant for violation in found}
