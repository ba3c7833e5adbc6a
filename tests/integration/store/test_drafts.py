"""Pieces of drafts through PostgreSQL: in order, joined where they go on, told apart where they are alike, lost while it is away."""

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import UUID, uuid4

import pytest

from store.drafts import DRAFTS_CHANNEL, PENDING_MAX, DraftSender
from store.notifications import Listener
from workflow.drafts import Piece, Place, pieces_of, unpacked

LIMIT_S = 10.0


def place(item: int = 0) -> Place:
    return Place(node_id="ask", run_index=0, attempt=1, item_index=item)


class Heard:
    """What a listener was told."""

    def __init__(self) -> None:
        self.pieces: list[tuple[UUID, Piece]] = []
        self.ready = asyncio.Event()
        self._changed = asyncio.Event()

    async def take(self, payload: str) -> None:
        if payload:
            self.pieces.append(unpacked(payload))
        self.ready.set()
        self._changed.set()

    async def until(self, enough: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not enough():
                self._changed.clear()
                await self._changed.wait()

    def text(self, execution: UUID) -> str:
        return "".join(piece.text for identity, piece in self.pieces if identity == execution)


@pytest.fixture
async def heard(dsn: str) -> AsyncIterator[Heard]:
    found = Heard()
    listener = Listener(dsn, {DRAFTS_CHANNEL: found.take})
    listener.start()
    async with asyncio.timeout(LIMIT_S):
        await found.ready.wait()
    yield found
    await listener.close()


@pytest.fixture
async def sender(dsn: str) -> AsyncIterator[DraftSender]:
    made = DraftSender(dsn)
    yield made
    await made.close()


async def test_what_is_written_arrives_in_order_and_in_few_pieces(sender: DraftSender, heard: Heard):
    execution, words = uuid4(), [f"word{number} " for number in range(300)]
    length = 0
    for word in words:
        sender.send(execution, list(pieces_of(place(), length, word)))
        length += len(word)

    await heard.until(lambda: len(heard.text(execution)) == length)

    assert heard.text(execution) == "".join(words)
    assert len(heard.pieces) < 10


async def test_pieces_that_are_alike_and_texts_of_any_characters_arrive(sender: DraftSender, heard: Heard):
    execution, void = uuid4(), Piece(place=place(), offset=0)
    strange = "\x00\x1f'\"\\ü€𝄞\u2028" * 200
    sender.send(execution, [void, void, *pieces_of(place(1), 0, strange)])

    await heard.until(lambda: heard.text(execution) == strange)

    assert [piece.takes_back for _, piece in heard.pieces[:2]] == [True, True]


async def test_closing_sends_what_is_pending(dsn: str, heard: Heard):
    sender, execution = DraftSender(dsn), uuid4()
    sender.send(execution, list(pieces_of(place(), 0, "last words")))
    await sender.close()
    sender.send(execution, list(pieces_of(place(), 10, "and more")))
    await heard.until(lambda: heard.text(execution) == "last words")


async def test_while_the_database_is_away_pieces_are_lost_and_nobody_waits():
    sender, execution = DraftSender("postgresql://nobody@127.0.0.1:1/none"), uuid4()
    for number in range(PENDING_MAX * 3):
        sender.send(execution, [Piece(place=place(), offset=number, text="x")])
    await asyncio.wait_for(sender.close(), LIMIT_S)
