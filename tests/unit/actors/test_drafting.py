"""Drafts of a process: told to those who follow, whole to those who come late, to nobody else."""

from uuid import UUID, uuid4

import pytest

from actors.drafting import FOLLOWED_MS, KEPT_CHARS_MAX, AttemptDrafts, Drafting
from workflow.drafts import Piece

EXECUTION = uuid4()


class Heard:
    """What was told, and a clock."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.pieces: list[Piece] = []

    def tell(self, execution_id: UUID, pieces) -> None:
        assert execution_id == EXECUTION
        self.pieces += pieces

    @property
    def texts(self) -> list[tuple[int, str]]:
        return [(piece.offset, piece.text) for piece in self.pieces]


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def drafting(heard: Heard) -> Drafting:
    return Drafting(heard.tell, lambda: heard.now_ms)


def attempt(drafting: Drafting, number: int = 1) -> AttemptDrafts:
    return AttemptDrafts(drafting, EXECUTION, "ask", 0, number)


async def test_nothing_is_told_while_nobody_follows(drafting, heard):
    with attempt(drafting).begin(0) as draft:
        await draft.add("hello")
    assert heard.pieces == []


async def test_who_follows_hears_each_piece_at_its_offset(drafting, heard):
    await drafting.on_following(str(EXECUTION))
    with attempt(drafting).begin(0) as draft:
        await draft.add("Hel")
        await draft.add("lo")
    assert heard.texts == [(0, "Hel"), (3, "lo")]


async def test_who_comes_late_hears_all_that_is_written_so_far_and_then_the_rest(drafting, heard):
    with attempt(drafting).begin(0) as draft:
        await draft.add("Hel")
        await drafting.on_follow(str(EXECUTION))
        await draft.add("lo")
    await drafting.on_follow(str(EXECUTION))
    assert heard.texts == [(0, "Hel"), (3, "lo")], "what is written to its end is no draft any more"


async def test_who_does_not_say_so_again_follows_no_longer(drafting, heard):
    await drafting.on_follow(str(EXECUTION))
    with attempt(drafting).begin(0) as draft:
        heard.now_ms += FOLLOWED_MS - 1
        await draft.add("a")
        await drafting.on_following(str(EXECUTION))
        heard.now_ms += FOLLOWED_MS - 1
        await draft.add("b")
        heard.now_ms += 1
        await draft.add("c")
    assert heard.texts == [(0, "a"), (1, "b")]


async def test_another_attempt_takes_back_what_the_one_before_has_written(drafting, heard):
    await drafting.on_follow(str(EXECUTION))
    with attempt(drafting).begin(0) as draft:
        await draft.add("first")
    with attempt(drafting, 2).begin(0) as draft:
        await draft.add("second")
    assert heard.texts == [(0, "first"), (0, ""), (0, "second")]
    assert heard.pieces[1].takes_back
    assert heard.pieces[1].place.attempt == 2


async def test_a_second_answer_of_an_attempt_takes_back_the_first_for_that_item_alone(drafting, heard):
    await drafting.on_follow(str(EXECUTION))
    drafts = attempt(drafting)
    for item in (0, 1, 0):
        with drafts.begin(item) as draft:
            await draft.add("x")
    assert [piece.takes_back for piece in heard.pieces] == [False, False, True, False]
    assert [piece.place.item_index for piece in heard.pieces] == [0, 1, 0, 0]


async def test_what_is_kept_for_those_who_come_late_has_an_end(drafting, heard):
    with attempt(drafting).begin(0) as draft:
        await draft.add("a" * KEPT_CHARS_MAX)
        await draft.add("b")
        await drafting.on_follow(str(EXECUTION))
        await draft.add("c")
    assert sum(len(text) for _, text in heard.texts) == KEPT_CHARS_MAX + 1
    assert heard.texts[-1] == (KEPT_CHARS_MAX + 1, "c"), "the gap shows in the offset"
