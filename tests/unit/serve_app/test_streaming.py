"""The stream of an execution: drafts come behind the events that they follow from, and before the end of their node."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

import orjson

from actors.ids import new_id
from serve_app.following import Follower
from serve_app.streaming import event_stream
from workflow.drafts import Piece, Place
from workflow.ports import EventRow

EXECUTION, WORKSPACE = new_id(), uuid4()


def row(seq: int, kind: str, node_id: str = "") -> EventRow:
    body = orjson.dumps({"node_id": node_id, "run_index": 0} if node_id else {})
    return EventRow(seq=seq, kind=kind, at_ms=1, body=body, node_id=node_id)


def piece(node_id: str, text: str) -> Piece:
    return Piece(place=Place(node_id=node_id, run_index=0, attempt=1, item_index=0), offset=0, text=text)


class Committing:
    """Executions whose events are committed page by page, each while drafts are heard that were sent just before."""

    def __init__(self, pages: Sequence[tuple[list[Piece], list[EventRow]]]) -> None:
        self.pages = list(pages)
        self.follower = Follower(self, lambda _channel, _identity: None)  # type: ignore[arg-type]

    async def events(self, _workspace: UUID, _execution: UUID, _seen: int, _most: int) -> list[EventRow]:
        pieces, rows = self.pages.pop(0)
        for each in pieces:
            for following in self.follower._following[EXECUTION]:
                following.hear(each)
        return rows


async def told(*pages: tuple[list[Piece], list[EventRow]]) -> list[str]:
    """Return what the stream says: the kinds of events, the texts of drafts."""
    committing = Committing(pages)
    services: Any = SimpleNamespace(executions=committing, follower=committing.follower)
    found = []
    async for each in event_stream(services, WORKSPACE, EXECUTION, 0):
        fields = dict(line.split(": ", 1) for line in each.decode().splitlines() if ": " in line)
        found.append(orjson.loads(fields["data"])["text"] if fields["event"] == "token" else fields["event"])
    return found


async def test_a_draft_that_is_heard_before_its_cause_is_read_comes_behind_it():
    said = await told(
        ([piece("a", "one")], []),
        ([piece("a", "two")], [row(1, "execution.started"), row(2, "node.started", "a")]),
        ([], [row(3, "node.completed", "a"), row(4, "execution.completed")]),
    )
    assert said == ["execution.started", "node.started", "one", "two", "node.completed", "execution.completed"]


async def test_what_is_heard_after_the_end_of_its_node_is_not_said():
    said = await told(
        ([piece("a", "late"), piece("b", "b")], [row(1, "execution.started"), row(2, "node.completed", "a")]),
        ([], [row(3, "node.started", "b")]),
        ([], [row(4, "node.completed", "b"), row(5, "execution.completed")]),
    )
    assert said == [
        "execution.started",
        "node.completed",
        "node.started",
        "b",
        "node.completed",
        "execution.completed",
    ]
