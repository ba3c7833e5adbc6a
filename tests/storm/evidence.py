"""What the database says afterwards: every execution with its events and results, one after the other."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any
from uuid import UUID

import psycopg

BATCH = 2_000


@dataclass(frozen=True, slots=True)
class Event:
    """A row of `stream_events`."""

    seq: int
    kind: str
    at_ms: int
    node_id: str
    body: dict[str, Any]

    @property
    def gives_instead(self) -> bool:
        """Whether somebody decided what a node gives that has failed: a result like another."""
        return self.kind == "node.recovered" and self.body["decision"] in ("skip", "replace")


@dataclass(frozen=True, slots=True)
class Result:
    """A row of `node_executions`."""

    node_id: str
    run_index: int
    status: str
    output: Any = None
    code: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """A row of `hitl_requests`."""

    id: UUID
    node_id: str
    ordinal: int
    kind: str
    status: str
    response: Any


@dataclass(frozen=True, slots=True)
class Noted:
    """A row of `audit_entries` about a request."""

    request_id: UUID
    response: Any


@dataclass(slots=True)
class Story:
    """An execution as it is stored."""

    id: UUID
    workspace_id: UUID
    status: str
    last_seq: int
    output: Any
    key: str | None = None
    epoch: int = 1
    error: str = ""
    parent: UUID | None = None
    place: int = 0
    """Among the children of its parent's node."""
    events: list[Event] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    noted: list[Noted] = field(default_factory=list)

    @property
    def node_results(self) -> int:
        """How many results of nodes are committed."""
        return sum(event.kind in ("node.completed", "node.failed") or event.gives_instead for event in self.events)


EXECUTIONS = """
SELECT e.id, e.workspace_id, e.status, e.last_seq, e.output_data, k.key, e.epoch, concat_ws(' ', e.error_code, e.error_message),
    e.parent_execution_id, e.parent_place
FROM executions e LEFT JOIN idempotency_keys k ON k.execution_id = e.id ORDER BY e.id
"""
EVENTS = """
SELECT execution_id, seq, kind, (extract(epoch FROM at) * 1000)::bigint, node_id, body FROM stream_events ORDER BY execution_id, seq
"""
RESULTS = """
SELECT execution_id, node_id, run_index, status, output_data, COALESCE(error_code, '')
FROM node_executions ORDER BY execution_id, node_id, run_index
"""
REQUESTS = """
SELECT execution_id, id, node_id, ordinal, request_type, status, response FROM hitl_requests
ORDER BY execution_id, node_id, run_index, ordinal
"""
NOTED = """
SELECT execution_id, (request_details ->> 'request_id')::uuid, response FROM audit_entries
WHERE execution_id IS NOT NULL AND request_details ->> 'request_id' IS NOT NULL ORDER BY execution_id, id
"""


def stories(dsn: str) -> Iterator[Story]:
    """Return every execution there is, in the order of their ids, without holding them all."""
    with psycopg.connect(dsn) as connection:
        events = _grouped(connection, "events", EVENTS)
        results = _grouped(connection, "results", RESULTS)
        requests = _grouped(connection, "requests", REQUESTS)
        noted = _grouped(connection, "noted", NOTED)
        for row in _rows(connection, "executions", EXECUTIONS):
            story = Story(*row)
            story.events = [Event(*event) for event in events.of(story.id)]
            story.results = [Result(*result) for result in results.of(story.id)]
            story.requests = [Request(*request) for request in requests.of(story.id)]
            story.noted = [Noted(*entry) for entry in noted.of(story.id)]
            yield story


def unread_signals(dsn: str) -> int:
    """Return how many signals nobody has read."""
    with psycopg.connect(dsn) as connection:
        ((count,),) = connection.execute("SELECT count(*) FROM signals WHERE read_at IS NULL").fetchall()
    return int(count)


class _Groups:
    """Rows by their first column, asked for in its order."""

    def __init__(self, rows: Iterator[tuple[Any, ...]]) -> None:
        self._groups = groupby(rows, key=lambda row: row[0])
        self._next: tuple[UUID, list[tuple[Any, ...]]] | None = None

    def of(self, identity: UUID) -> list[tuple[Any, ...]]:
        while self._next is None or self._next[0] < identity:
            found = next(self._groups, None)
            if found is None:
                return []
            self._next = found[0], [row[1:] for row in found[1]]
        return self._next[1] if self._next[0] == identity else []


def _rows(connection: psycopg.Connection[Any], name: str, statement: str) -> Iterator[tuple[Any, ...]]:
    with connection.cursor(name=f"storm_{name}") as cursor:
        cursor.itersize = BATCH
        cursor.execute(statement)
        yield from cursor


def _grouped(connection: psycopg.Connection[Any], name: str, statement: str) -> _Groups:
    return _Groups(_rows(connection, name, statement))
