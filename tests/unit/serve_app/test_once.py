"""Keyed writes around any route: what is kept of which answer, and what is performed again."""

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from uuid import UUID

import httpx2
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import Response, StreamingResponse

from actors.ids import new_id
from serve_app.bodies import read_body
from serve_app.config import ApiLimits
from serve_app.once import BODY_BYTES_MAX, Attempt, Once, answer_replays, begin, new_ids
from serve_app.problems import answer_errors
from store.idempotent_writes import Answer, Refused, Reserved
from workflow.errors import Conflict, Overloaded, StoreUnavailable
from workflow.ids import derived_id, uuid7_ms
from workflow.ports import IdempotencyKey

SPACE, CALLER = new_id(), new_id()


class Writes:
    """What `IdempotentWrites` does, for one process that never dies."""

    def __init__(self) -> None:
        self.known: dict[str, tuple[IdempotencyKey, Reserved, Answer | None]] = {}
        self.given_back: list[str] = []
        self.broken = False

    async def reserve(self, space: UUID, key: IdempotencyKey, *, write_id: UUID, holder: UUID, ms: int) -> object:
        if key.key not in self.known:
            mine = Reserved(workspace_id=space, key=key.key, holder=holder, id=write_id)
            self.known[key.key] = (key, mine, None)
            return mine
        before, mine, answer = self.known[key.key]
        if before != key:
            return Refused.OTHER_REQUEST
        if answer is None and key.key in self.given_back:
            self.given_back.remove(key.key)
            return mine
        return answer or Refused.UNDER_WAY

    async def renew(self, reserved: Reserved, ms: int) -> bool:
        return True

    async def give_back(self, reserved: Reserved) -> bool:
        self.given_back.append(reserved.key)
        return True

    async def answer(self, reserved: Reserved, answer: Answer) -> bool:
        if self.broken:
            raise StoreUnavailable("gone")
        before, mine, _ = self.known[reserved.key]
        self.known[reserved.key] = (before, mine, answer)
        return True


class Stage:
    """An application with one route that does whatever the test wants, and counts."""

    def __init__(self) -> None:
        self.writes = Writes()
        self.done = 0
        self.ids: list[UUID] = []
        self.bodies: list[bytes] = []
        self.app = app = FastAPI()
        app.state.services = SimpleNamespace(writes=self.writes, config=SimpleNamespace(limits=ApiLimits()))
        answer_errors(app)
        answer_replays(app)
        app.add_middleware(Once, state=app.state)
        self.answer = lambda: Response(b"done", 201, {"Location": "/x", "ETag": '"1"', "X-Other": "1"}, "text/plain")

        @app.api_route("/write", methods=["POST", "PATCH"])
        async def write(request: Request) -> Response:
            await begin(request, SPACE, CALLER)
            self.done += 1
            ids = new_ids(request)
            self.ids += [] if ids is None else [ids(), ids()]
            self.bodies.append(await read_body(request, 100))
            return self.answer()

    async def ask(self, key: str | None = "k", method: str = "POST", body: bytes = b"body") -> httpx2.Response:
        transport = httpx2.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            headers = {} if key is None else {"Idempotency-Key": key}
            return await client.request(method, "/write", content=body, headers=headers)


async def test_an_answer_is_kept_with_the_headers_that_say_what_was_made():
    stage = Stage()
    first, again = await stage.ask(), await stage.ask()

    assert (again.status_code, again.content, stage.done) == (201, b"done", 1)
    assert {name: again.headers[name] for name in ("location", "etag", "content-type", "content-length")} == {
        name: first.headers[name] for name in ("location", "etag", "content-type", "content-length")
    }
    assert again.headers["idempotent-replayed"] == "true"
    assert "x-other" not in again.headers
    assert stage.bodies == [b"body"], "the body can be read after it was looked at"


async def test_without_a_key_nothing_is_kept():
    stage = Stage()
    assert [(await stage.ask(None)).status_code for _ in range(2)] == [201, 201]
    assert (stage.done, stage.writes.known, stage.ids) == (2, {}, [])


async def test_two_keys_in_one_request_are_none():
    stage = Stage()
    transport = httpx2.ASGITransport(stage.app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        keys = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
        answer = await client.post("/write", headers=keys)

    assert (answer.status_code, answer.json()["code"], stage.done) == (422, "idempotency_key_invalid", 0)


@pytest.mark.parametrize("error", [Overloaded("full"), StoreUnavailable("gone"), RuntimeError("a fault of ours")])
async def test_what_says_try_again_is_performed_again_with_the_same_ids(error: Exception):
    stage = Stage()
    honest = stage.answer

    def failing() -> Response:
        raise error

    stage.answer = failing
    failed = await stage.ask()
    stage.answer = honest
    again = await stage.ask()

    assert failed.status_code in (429, 500, 503)
    assert (again.status_code, "idempotent-replayed" in again.headers, stage.done) == (201, False, 2)
    assert stage.ids[:2] == stage.ids[2:]
    assert stage.ids[0] != stage.ids[1]


async def test_an_error_that_says_what_is_wrong_is_an_answer():
    stage = Stage()

    def failing() -> Response:
        raise Conflict("it has ended", fields={"state": "failed"})

    stage.answer = failing
    first, again = await stage.ask(), await stage.ask()

    assert (first.status_code, again.status_code, stage.done) == (409, 409, 1)
    assert (again.content, again.headers["content-type"]) == (first.content, "application/problem+json")


def streamed() -> Response:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    return StreamingResponse(parts(), 200, media_type="text/event-stream")


def secret() -> Response:
    return Response(b'{"key":"rl_secret"}', 201, {"Cache-Control": "no-store", "Location": "/x"}, "application/json")


@pytest.mark.parametrize(
    ("answer", "size"),
    [
        (lambda: Response(b"x" * (BODY_BYTES_MAX + 1), 200), BODY_BYTES_MAX + 1),
        (streamed, None),
        (secret, 19),
    ],
)
async def test_of_large_streamed_and_secret_answers_the_body_is_not_kept(answer, size: int | None):
    stage = Stage()
    stage.answer = answer
    first, again = await stage.ask(), await stage.ask()

    assert first.content == b"onetwo" if size is None else len(first.content) == size
    assert (again.status_code, stage.done) == (first.status_code, 1)
    assert (again.json()["body_omitted"], again.json()["body_bytes"]) == (True, size)
    assert again.headers["content-type"] == "application/json"
    assert again.headers.get("location") == first.headers.get("location")
    assert b"rl_secret" not in again.content


async def test_the_largest_body_that_is_kept_comes_back_whole():
    stage = Stage()
    stage.answer = lambda: Response(b"x" * BODY_BYTES_MAX, 200)
    await stage.ask()

    assert (await stage.ask()).content == b"x" * BODY_BYTES_MAX


async def test_an_answer_without_a_body_comes_back_without_one():
    stage = Stage()
    stage.answer = lambda: Response(status_code=204)
    await stage.ask(method="PATCH")
    again = await stage.ask(method="PATCH")

    assert (again.status_code, again.content, again.headers["idempotent-replayed"]) == (204, b"", "true")


async def test_what_was_done_is_answered_even_if_the_answer_cannot_be_kept():
    stage = Stage()
    stage.writes.broken = True

    assert (await stage.ask()).status_code == 201


async def test_a_fault_before_anything_was_reserved_leaves_the_key_alone():
    stage = Stage()

    async def gone(*_: object, **__: object) -> object:
        raise StoreUnavailable("gone")

    stage.writes.reserve = gone
    answer = await stage.ask()

    assert (answer.status_code, stage.done, stage.writes.given_back) == (503, 0, [])


async def test_a_reservation_is_renewed_until_the_end():
    renewed = asyncio.Event()
    writes = Writes()

    async def renew(_reserved: Reserved, _ms: int) -> bool:
        if not renewed.is_set():
            renewed.set()
            raise StoreUnavailable("once")
        again.set()
        return True

    again = asyncio.Event()
    writes.renew = renew
    attempt = Attempt(writes, renew_s=0.001)
    await attempt.begin(SPACE, IdempotencyKey(key="k", fingerprint=b""))
    async with asyncio.timeout(5):
        await renewed.wait()
        await again.wait()
    renewing = attempt._renewing
    await attempt.end(None)
    await attempt.end(Answer(status=200, headers={}, body=b"", body_bytes=0))

    assert writes.given_back == ["k"], "only the first end counts"
    assert renewing is not None
    async with asyncio.timeout(5):
        await asyncio.wait({renewing})


def test_derived_ids_are_the_same_every_time_and_of_the_same_millisecond():
    seed = new_id()
    made = [derived_id(seed, place) for place in range(100)]

    assert made == [derived_id(seed, place) for place in range(100)]
    assert len({seed, *made}) == 101
    assert {uuid7_ms(one) for one in made} == {uuid7_ms(seed)}
    assert {one.version for one in made} == {7}
    assert made[0] != derived_id(new_id(), 0)
