"""What a model has written while it still writes: told to whoever follows the execution just then, kept nowhere.

A draft is no result: the numbered event of the node's end carries that. Text stands at an offset, so who missed a piece, or
came late, knows what is missing; what an attempt wrote that is made again is taken back by name.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self
from uuid import UUID

import orjson

PIECE_CHARS_MAX = 1_000
"""A piece of this length fits a notification of PostgreSQL (8,000 bytes), whatever its characters are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which draft: of which run and item of a node, by which attempt."""

    node_id: str
    run_index: int
    attempt: int
    item_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A piece of a draft: `text` stands at `offset` (characters). Without text it takes back what was written at that place."""

    place: Place
    offset: int
    text: str = ""

    @property
    def takes_back(self) -> bool:
        """Whether it says that what was written before is void."""
        return not self.text

    def followed_by(self, other: "Piece") -> bool:
        """Whether another piece goes on where this one ends, so that they may be told as one."""
        return bool(
            self.text
            and other.text
            and self.place == other.place
            and self.offset + len(self.text) == other.offset
            and len(self.text) + len(other.text) <= PIECE_CHARS_MAX
        )

    def as_json(self) -> dict[str, Any]:
        """Return it as those who follow see it."""
        told = {
            "node_id": self.place.node_id,
            "run_index": self.place.run_index,
            "attempt": self.place.attempt,
            "item_index": self.place.item_index,
        }
        return told if self.takes_back else {**told, "offset": self.offset, "text": self.text}

    @classmethod
    def of(cls, told: dict[str, Any]) -> Self:
        """Return the piece that `as_json` gave."""
        place = {name: told[name] for name in ("node_id", "run_index", "attempt", "item_index")}
        return cls(place=Place(**place), offset=told.get("offset", 0), text=told.get("text", ""))


def pieces_of(place: Place, offset: int, text: str) -> Iterator[Piece]:
    """Yield a text in pieces that are not too long."""
    for at in range(0, len(text), PIECE_CHARS_MAX):
        yield Piece(place=place, offset=offset + at, text=text[at : at + PIECE_CHARS_MAX])


def joined(pieces: Sequence[Piece]) -> list[Piece]:
    """Return the pieces with those that go on where the one before ends as one."""
    told: list[Piece] = []
    for piece in pieces:
        if told and told[-1].followed_by(piece):
            told[-1] = replace(told[-1], text=told[-1].text + piece.text)
        else:
            told.append(piece)
    return told


def packed(execution_id: UUID, number: int, piece: Piece) -> str:
    """Return a piece as a notification; `number` keeps two that are alike apart."""
    return orjson.dumps({"execution_id": str(execution_id), "number": number, **piece.as_json()}).decode()


def unpacked(payload: str) -> tuple[UUID, Piece]:
    """Return what a notification tells."""
    told = orjson.loads(payload)
    return UUID(told["execution_id"]), Piece.of(told)


class Draft(Protocol):
    """What is being written."""

    async def add(self, text: str) -> None:
        """Write on. Never waits."""
        ...


class Drafts(Protocol):
    """The drafts of one attempt of a node."""

    def begin(self, item_index: int, *, again: bool = False) -> AbstractContextManager[Draft]:
        """Begin to write for an item: what was written for it before is taken back.

        That is known of what this attempt or one before it has written; `again` says it where the attempt has waited meanwhile.
        """
        ...


class NoDraft:
    """Goes nowhere."""

    async def add(self, text: str) -> None:
        """Drop it."""


class NoDrafts:
    """Stands where nobody follows."""

    @contextmanager
    def begin(self, item_index: int, *, again: bool = False) -> Iterator[Draft]:  # noqa: ARG002 - the port
        """Begin one that goes nowhere."""
        yield NoDraft()
