"""The stream of an execution's events as server-sent events: numbered ones from the store, drafts as they are heard between them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson
from fastapi.responses import StreamingResponse
from fastapi.sse import format_sse_event

from serve_app import views
from serve_app.following import Following, pause
from serve_app.services import Services
from workflow.drafts import Piece
from workflow.events import TERMINAL_KINDS

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
HEARTBEAT_S = 15.0
POLL_S = 0.5
PAGE = 500
COMPLETED = "node.completed"
"""After it no draft of that run is of use; after a failure another attempt may write."""


def stream_response(stream: AsyncIterator[bytes], headers: Mapping[str, str] | None = None) -> StreamingResponse:
    """Return a response that is a stream of server-sent events."""
    return StreamingResponse(stream, headers={**HEADERS, **(headers or {})}, media_type=MEDIA_TYPE)


async def event_stream(
    services: Services,
    workspace_id: UUID,
    execution_id: UUID,
    seen: int,
    before_end: Callable[[], Awaitable[bytes]] | None = None,
) -> AsyncIterator[bytes]:
    """Yield the events after `seen` until the terminal one, and what models are writing meanwhile.

    `before_end` gives an event of its own to put before the terminal one.
    """
    with services.follower.following(execution_id) as following:
        async for told in _followed(services, workspace_id, execution_id, seen, following, before_end):
            yield told


async def _followed(
    services: Services,
    workspace_id: UUID,
    execution_id: UUID,
    seen: int,
    following: Following,
    before_end: Callable[[], Awaitable[bytes]] | None,
) -> AsyncIterator[bytes]:
    silent_s = 0.0
    completed: set[tuple[str, int]] = set()
    while True:
        # What was heard before the events are read belongs behind those of them that it follows from, and before its node's end.
        pieces = following.heard()
        rows = await services.executions.events(workspace_id, execution_id, seen, PAGE)
        for row in rows:
            if row.kind == COMPLETED:
                body = orjson.loads(row.body)
                run = (body["node_id"], body["run_index"])
                for piece in _of(run, pieces) if run not in completed else ():
                    yield draft_event(piece)
                completed.add(run)
            if row.kind in TERMINAL_KINDS and before_end is not None:
                yield await before_end()
            yield format_sse_event(data_str=views.event(row).decode(), event=row.kind, id=str(row.seq))
            seen = row.seq
            silent_s = 0.0
            if row.kind in TERMINAL_KINDS:
                return
        for piece in pieces:
            if (piece.place.node_id, piece.place.run_index) not in completed:
                yield draft_event(piece)
                silent_s = 0.0
        if len(rows) == PAGE:
            continue
        if not await pause(following.changed, POLL_S):
            silent_s += POLL_S
        if silent_s >= HEARTBEAT_S:
            yield b": still there\n\n"
            silent_s = 0.0


def _of(run: tuple[str, int], pieces: Sequence[Piece]) -> list[Piece]:
    return [piece for piece in pieces if (piece.place.node_id, piece.place.run_index) == run]


def unnumbered(kind: str, data: Mapping[str, Any]) -> bytes:
    """Return an event without a number: whoever reconnects asks for what comes after the last number."""
    return format_sse_event(data_str=orjson.dumps(data).decode(), event=kind)


def draft_event(piece: Piece) -> bytes:
    """Return a piece of a draft as an event."""
    return unnumbered("rollback" if piece.takes_back else "token", piece.as_json())
