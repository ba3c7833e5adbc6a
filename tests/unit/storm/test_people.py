"""The people of a storm: two who do not agree about each request, each noted before anything is sent."""

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Any
from uuid import UUID

import pytest

from tests.storm import people
from tests.storm.people import People

ID = UUID(int=42)
GIVEN = [{"n": 5, "t": "first", "ms": 1}]


class Desk:
    """Takes the first answer to each request, as the API does, and ends when everything has been asked for twice more."""

    def __init__(self, *kinds: str) -> None:
        self.requests = [{"id": f"request-{place}", "type": kind} for place, kind in enumerate(kinds)]
        self.log: list[tuple[str, str, str]] = []
        self.sent: list[tuple[str, Mapping[str, Any], bool]] = []
        self.over = asyncio.Event()
        self.looks = 0

    async def pending(self, execution_id: UUID) -> list[dict[str, Any]]:
        assert execution_id == ID
        self.looks += 1
        if self.looks > 2:
            self.over.set()
        return list(self.requests)

    async def respond(self, request: Mapping[str, Any], body: Mapping[str, Any], *, by_link: bool) -> tuple[int, int]:
        who = body.get("who") or body["comment"]
        assert ("answering", request["id"], who) in self.log, "it is written down before it is sent"
        first = not any(each[0] == request["id"] for each in self.sent)
        self.sent.append((request["id"], body, by_link))
        await asyncio.sleep(0)
        return 200 if first else 409, 0

    async def note(self, what: str, key: str, *, request: str, who: str, **fields: Any) -> None:
        assert (key, set(fields) <= {"action", "way", "status", "lost"}) == ("k", True)
        self.log.append((what, request, who))


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "LOOK_EVERY_S", 0.001)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("kind", ["approval", "error_recovery"])
async def test_each_request_is_answered_by_two_who_do_not_agree_and_never_taken_up_again(kind: str):
    late = 0
    for seed in range(20):
        desk = Desk(kind, kind)
        await People(desk, Random(seed), desk.note).attend("k", ID, GIVEN, desk.over)
        for request in desk.requests:
            said = [body for identity, body, _ in desk.sent if identity == request["id"]]
            assert said[0]["action"] != said[1]["action"]
            assert len({body["comment"] for body in said}) == len(said) <= 3
            assert all(body["data"][0]["who"] == body["comment"] for body in said if body["action"] == "replace")
            late += len(said) - 2
    assert 0 < late < 40, "sometimes somebody comes too late"


@pytest.mark.usefixtures("hurried")
async def test_a_webhook_is_called_by_its_link_with_the_name_of_who_calls():
    desk = Desk("webhook")
    await People(desk, Random(1), desk.note).attend("k", ID, GIVEN, desk.over)
    assert len({body["who"] for _, body, _ in desk.sent}) == len(desk.sent) >= 2
    assert all(by_link for _, _, by_link in desk.sent)
    assert len([what for what, *_ in desk.log if what == "answered"]) == len(desk.sent)
