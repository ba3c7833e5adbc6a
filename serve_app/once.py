"""Writes with an Idempotency-Key are performed once: the same request with the same key is answered as it was the first time.

Two halves. `Once`, around the application, makes an attempt of each write that came with a key, lets it go on when its client has
gone, and keeps what it answers, byte for byte. `begin`, called by the check of role and workspace and so never before it, reserves
the key: from there on the request is performed, replayed, or refused. A route has nothing to do for this, apart from that of links,
which have no workspace in their path: it calls `begin_by_link` once it knows the link's request. What a route makes gets ids from
`new_ids`: they are the same should the request be performed again, because a replica died before the answer was kept.

Routes that accept executions do not begin here: their keys are kept with the execution (`PostgresExecutions.accept`).
"""

import asyncio
from collections.abc import Callable, Mapping
from contextvars import Context
from hashlib import sha256
from http import HTTPStatus
from itertools import count
from typing import Any
from uuid import UUID

import orjson
import structlog
from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.datastructures import Headers, State
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from actors.ids import new_id
from serve_app.bodies import keep_body
from serve_app.config import ApiLimits
from serve_app.uploads import ENVELOPE_BYTES, form_digest, is_multipart, read_form
from store.idempotent_writes import Answer, IdempotentWrites, Refused, Reserved
from workflow.errors import BadInput, Conflict, StoreUnavailable, Unprocessable
from workflow.ids import derived_id
from workflow.ports import IdempotencyKey

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
KEY_CHARS_MAX = 255
WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
BODY_BYTES_MAX = 256 * 1024
"""Of an answer; a larger one is kept without its body."""
KEPT_HEADERS = ("content-type", "location", "etag")
RESERVED_MS = 15_000
"""So long after a replica died a write that it had begun can be asked for again."""
RENEW_S = 5.0
RETRY_AFTER_S = 1
ATTEMPT = "rayloom.attempt"
LINK = "link"


class Replay(Exception):
    """Not an error: the answer is there already."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def key_reused(fields: Mapping[str, Any] | None = None) -> Unprocessable:
    """Return the error of a key that another request came with before."""
    return Unprocessable(
        "this Idempotency-Key was used before with another request", "idempotency_key_reused", dict(fields or {})
    )


class Attempt:
    """One request that came with a key: reserved once `begin` has returned, until `end`."""

    def __init__(self, writes: IdempotentWrites, renew_s: float = RENEW_S) -> None:
        self._writes = writes
        self._renew_s = renew_s
        self.begun = False
        """Whether the key is, or may be, reserved for this request: from then on it goes on without its client."""
        self._reserved: Reserved | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._places = count()
        self._log = structlog.get_logger("rayloom.once")

    async def begin(self, workspace_id: UUID, key: IdempotencyKey) -> None:
        """Reserve the key. Raises `Replay`, `Conflict` while another one is at it, `Unprocessable` for another request's key."""
        self.begun = True
        found = await self._writes.reserve(workspace_id, key, write_id=new_id(), holder=new_id(), ms=RESERVED_MS)
        if isinstance(found, Answer):
            raise Replay(found)
        if found is Refused.OTHER_REQUEST:
            raise key_reused()
        if found is Refused.UNDER_WAY:
            message = "a request with this Idempotency-Key is under way"
            raise Conflict(message, "idempotency_key_in_use", {"retry_after_s": RETRY_AFTER_S})
        self._reserved = found
        self._renewing = asyncio.get_running_loop().create_task(self._renew_for_ever(found))

    def new_id(self) -> UUID:
        """Return the next id of what this request makes: the same as when it was performed before."""
        if self._reserved is None:
            raise RuntimeError("ids are derived from a reservation, and there is none yet")
        return derived_id(self._reserved.id, "made", next(self._places))

    async def end(self, answer: Answer | None) -> None:
        """Keep the answer, or without one let the request be performed again. Only the first call does anything.

        When the database does not answer the reservation runs out: the request may then be performed again.
        """
        renewing, self._renewing = self._renewing, None
        if renewing is None or self._reserved is None:
            return
        renewing.cancel()
        try:
            if answer is None:
                await self._writes.give_back(self._reserved)
            elif not await self._writes.answer(self._reserved, answer):
                self._log.warning("once.overtaken", status=answer.status)
        except StoreUnavailable as error:
            self._log.warning("once.not_kept", status=answer and answer.status, error=error.message)

    async def _renew_for_ever(self, reserved: Reserved) -> None:
        while True:
            await asyncio.sleep(self._renew_s)
            try:
                await self._writes.renew(reserved, RESERVED_MS)
            except StoreUnavailable as error:
                self._log.warning("once.not_renewed", error=error.message)


class Once:
    """The half around the application. Plain ASGI: it sees the bytes that are sent, whatever made them."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on; with a key, in a task of its own that its client's end does not cancel once it has begun."""
        if scope["type"] != "http" or scope["method"] not in WRITES or HEADER not in Headers(scope=scope):
            await self._app(scope, receive, send)
            return
        attempt = scope[ATTEMPT] = Attempt(self._state.services.writes)
        performing = self._perform(attempt, scope, receive, send)
        task = asyncio.get_running_loop().create_task(performing, context=Context())
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may be left to be told
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if not attempt.begun:
                task.cancel()
            raise

    async def _perform(self, attempt: Attempt, scope: Scope, receive: Receive, send: Send) -> None:
        start: Message | None = None

        async def keeping(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                start = message  # held back until the answer is kept
                return
            if start is not None:
                await attempt.end(_kept(start, message))
                await send(start)
                start = None
            await send(message)

        try:
            await self._app(scope, receive, keeping)
        finally:
            await attempt.end(None)


async def begin(request: Request, workspace_id: UUID, caller_id: UUID) -> None:
    """Reserve the request's Idempotency-Key, if it is a write that came with one.

    Raises `Replay`, `Conflict`, `Unprocessable`, `TooLarge`, `StoreUnavailable`.
    """
    attempt: Attempt | None = request.scope.get(ATTEMPT)
    if attempt is None:
        return
    await _reserve(attempt, request, workspace_id, str(caller_id), presented_key(request))


async def begin_by_link(request: Request, workspace_id: UUID, token_hash: bytes) -> None:
    """Reserve the key of a write that came by a link. It belongs to the link: whoever has that cannot meet the keys of the workspace.

    Raises what `begin` raises.
    """
    attempt: Attempt | None = request.scope.get(ATTEMPT)
    if attempt is None:
        return
    own = sha256(token_hash + presented_key(request).encode()).hexdigest()
    await _reserve(attempt, request, workspace_id, "", f"{LINK} {own}")  # no key that is presented holds a space


async def _reserve(attempt: Attempt, request: Request, workspace_id: UUID, caller: str, key: str) -> None:
    said = await _said(request, request.app.state.services.config.limits)
    asked = (
        request.method,
        request.url.path,
        request.url.query,
        request.headers.get("if-match", ""),
        caller,
    )
    parts = [part.encode("utf-8", "surrogateescape") for part in asked]
    fingerprint = sha256(b"".join(sha256(part).digest() for part in (*parts, said))).digest()
    await attempt.begin(workspace_id, IdempotencyKey(key=key, fingerprint=fingerprint))


async def _said(request: Request, limits: ApiLimits) -> bytes:
    """Return what a body says: of a form what its parts hold, for a client draws another boundary each time. Raises `TooLarge`."""
    if not is_multipart(request):
        return await keep_body(request, limits.body_bytes_max)
    body = await keep_body(request, limits.upload_bytes_max + ENVELOPE_BYTES)
    try:
        return form_digest(await read_form(request, limits.upload_bytes_max))
    except BadInput:  # the route says so, too
        return body


def new_ids(request: Request) -> Callable[[], UUID] | None:
    """Return where the ids of what the request makes come from; None where any new ones will do."""
    attempt: Attempt | None = request.scope.get(ATTEMPT)
    return attempt.new_id if attempt is not None and attempt.begun else None


def execution_key(request: Request, body: bytes) -> IdempotencyKey | None:
    """Return the key of a request for an execution, with its fingerprint: how long it waits makes it no other one.

    Raises `Unprocessable`.
    """
    if HEADER not in request.headers:
        return None
    asked = b"\n".join((request.method.encode(), request.url.path.encode(), body))
    return IdempotencyKey(key=presented_key(request), fingerprint=sha256(asked).digest())


def presented_key(request: Request) -> str:
    """Return the key that came with a request. Raises `Unprocessable` unless it is one line of visible ASCII."""
    keys = request.headers.getlist(HEADER)
    key = keys[0] if len(keys) == 1 else ""
    if not 1 <= len(key) <= KEY_CHARS_MAX or not all("!" <= character <= "~" for character in key):
        message = f"an {HEADER} is one header of 1 to {KEY_CHARS_MAX} visible ASCII characters"
        raise Unprocessable(message, "idempotency_key_invalid")
    return key


def answer_replays(app: FastAPI) -> None:
    """Let the application answer what was answered before."""

    async def replayed(_request: Request, replay: Exception) -> Response:
        if not isinstance(replay, Replay):
            raise replay
        answer = replay.answer
        headers = {**answer.headers, REPLAYED: "true"}
        if answer.body is not None:
            return Response(answer.body, answer.status, headers)
        return Response(_stand_in(answer), answer.status, {**headers, "content-type": "application/json"})

    app.add_exception_handler(Replay, replayed)


def _stand_in(answer: Answer) -> bytes:
    said: Mapping[str, Any] = {
        "body_omitted": True,
        "body_bytes": answer.body_bytes,
        "detail": "this was done before; the body of its answer was not kept. Ask for what was made or changed instead.",
    }
    return orjson.dumps(said)


def _kept(start: Message, first: Message) -> Answer | None:
    """Return what is kept of an answer: None of one that says to try again, no body of a stream, a large one or a secret."""
    status = int(start["status"])
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        return None
    headers = Headers(raw=start["headers"])
    kept = {name: headers[name] for name in KEPT_HEADERS if name in headers}
    if first.get("more_body"):
        return Answer(status=status, headers=kept, body=None, body_bytes=None)
    body: bytes = first.get("body", b"")
    secret = "no-store" in headers.get("cache-control", "")
    omitted = secret or len(body) > BODY_BYTES_MAX
    return Answer(status=status, headers=kept, body=None if omitted else body, body_bytes=len(body))
