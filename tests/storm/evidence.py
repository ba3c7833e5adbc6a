"""What the database says afterwards: every execution with its events and results, one after the other."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any
from uuid import UUID

import psycopg

from tests.storm.audit import among
from workflow.states import TERMINAL

BATCH = 2_000


@dataclass(frozen=True, slots=True)
class Event:
    """A row of `stream_events`."""

    seq: int
    kind: str
    at_ms: int
    node_id: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Result:
    """A row of `node_executions`."""

    node_id: str
    run_index: int
    status: str
    output: Any = None


@dataclass(frozen=True, slots=True)
class Asked:
    """A row of `hitl_requests`."""

    id: UUID
    node_id: str
    run_index: int
    ordinal: int
    type: str
    status: str
    response: dict[str, Any] | None = None

    @property
    def decided(self) -> bool:
        """Whether somebody's answer has closed it."""
        return self.status in ("approved", "rejected", "answered")

    @property
    def action(self) -> str:
        """What was decided; empty where there was nothing to choose."""
        return str((self.response or {}).get("action", ""))

    @property
    def who(self) -> str:
        """Whose answer is kept, by the name that every answer of a storm holds."""
        response = self.response or {}
        body = response.get("body")
        return str(body.get("who", "") if isinstance(body, dict) else response.get("comment", ""))


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of `audit_entries`."""

    request_id: str
    action_type: str
    action: str
    comment: str


@dataclass(frozen=True, slots=True)
class Kin:
    """A child; `effect` is the output of its effect, `ended_ms` (Unix) when it had ended."""

    id: UUID
    workspace_id: UUID
    node_id: str
    run_index: int
    place: int
    status: str
    ended_ms: int | None
    effect: Any = None


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
    parent_id: UUID | None = None
    place: int = 0
    events: list[Event] = field(default_factory=list)
    results: list[Result] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    children: list[Kin] = field(default_factory=list)

    @property
    def node_results(self) -> int:
        """How many results of nodes are committed."""
        return sum(event.kind in ("node.completed", "node.failed") for event in self.events)

    def decisions(self) -> dict[tuple[str, int], Asked]:
        """Return the last request of each run about which people were asked."""
        return {(asked.node_id, asked.run_index): asked for asked in sorted(self.asked, key=lambda each: each.ordinal)}


EXECUTIONS = """
SELECT e.id, e.workspace_id, e.status, e.last_seq, e.output_data, k.key, e.epoch, concat_ws(' ', e.error_code, e.error_message),
    e.parent_execution_id, e.parent_place
FROM executions e LEFT JOIN idempotency_keys k ON k.execution_id = e.id ORDER BY e.id
"""
EVENTS = """
SELECT execution_id, seq, kind, (extract(epoch FROM at) * 1000)::bigint, node_id, body FROM stream_events ORDER BY execution_id, seq
"""
RESULTS = """
SELECT execution_id, node_id, run_index, status, CASE WHEN node_type = 'action.http' THEN output_data END
FROM node_executions ORDER BY execution_id, node_id, run_index
"""
ASKED = """
SELECT execution_id, id, node_id, run_index, ordinal, request_type, status, response
FROM hitl_requests ORDER BY execution_id, node_id, run_index, ordinal
"""
ENTRIES = """
SELECT execution_id, request_details ->> 'request_id', action_type, COALESCE(response ->> 'action', ''),
    COALESCE(response ->> 'comment', '')
FROM audit_entries WHERE execution_id IS NOT NULL ORDER BY execution_id, created_at
"""
CHILDREN = """
SELECT c.parent_execution_id, c.id, c.workspace_id, c.parent_node_id, c.parent_run_index, c.parent_place, c.status,
    (extract(epoch FROM c.completed_at) * 1000)::bigint, n.output_data
FROM executions c LEFT JOIN node_executions n
    ON n.execution_id = c.id AND n.node_type = 'action.http' AND n.status = 'completed'
WHERE c.parent_execution_id IS NOT NULL ORDER BY c.parent_execution_id, c.parent_place
"""
CHILDREN_AWAY = f"""
SELECT count(*) FROM executions c JOIN executions p ON p.id = c.parent_execution_id
WHERE p.status IN ({among(TERMINAL)}) AND c.status NOT IN ({among(TERMINAL)})
"""


def stories(dsn: str) -> Iterator[Story]:
    """Return every execution there is, in the order of their ids, without holding them all."""
    with psycopg.connect(dsn) as connection:
        events = _grouped(connection, "events", EVENTS)
        results = _grouped(connection, "results", RESULTS)
        asked = _grouped(connection, "asked", ASKED)
        entries = _grouped(connection, "entries", ENTRIES)
        children = _grouped(connection, "children", CHILDREN)
        for row in _rows(connection, "executions", EXECUTIONS):
            story = Story(*row)
            story.events = [Event(*event) for event in events.of(story.id)]
            story.results = [Result(*result) for result in results.of(story.id)]
            story.asked = [Asked(*request) for request in asked.of(story.id)]
            story.entries = [Entry(*entry) for entry in entries.of(story.id)]
            story.children = [Kin(*child) for child in children.of(story.id)]
            yield story


def until_children_end(dsn: str, limit_s: float) -> None:
    """Return when no child goes on whose parent has ended, or after so many seconds: what is left then is a violation."""
    deadline_s = time.monotonic() + limit_s
    with psycopg.connect(dsn, autocommit=True) as connection:
        while connection.execute(CHILDREN_AWAY).fetchall() != [(0,)] and time.monotonic() < deadline_s:
            time.sleep(0.1)


def serial_of(output: Any) -> int:
    """Return the sink's serial number in an effect's output; -1 where there is none."""
    try:
        return int(output["main"][0]["json"]["serial"])
    except (TypeError, KeyError, IndexError, ValueError):
        return -1


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
