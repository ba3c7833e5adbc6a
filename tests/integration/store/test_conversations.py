"""Conversations: added to once under a key, whoever asks at once; numbered without gaps; nothing seen from another workspace."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from store.conversations import Speaker, StoredConversations
from store.engine import Pool, StoreConfig, make_pool
from tests.conftest import run_sql
from tests.contract.making import an_id
from workflow.conversations import CONTENT_CHARS_MAX, Saying
from workflow.errors import BadInput, NotFound, Unprocessable
from workflow.models import Role


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    made = make_pool(StoreConfig(dsn=dsn, pool_size_max=8))
    await made.open(wait=True)
    yield made
    await made.close()


def speaker(workspace: UUID) -> Speaker:
    return Speaker(workspace_id=workspace, execution_id=an_id(), workflow_id=an_id(), user_id=an_id())


def says(*contents: str) -> list[Saying]:
    return [Saying(role=Role.USER, content=content) for content in contents]


async def test_what_was_said_is_read_as_it_was_added(pool: Pool, dsn: str) -> None:
    stored, workspace = StoredConversations(pool), an_id()
    first, other = speaker(workspace), speaker(workspace)
    longest = "\N{SNOWMAN}" * CONTENT_CHARS_MAX
    await stored.add(first, "a", [Saying(role=Role.SYSTEM, content=longest, metadata={"z": [1, 2.5], "a": None})], "k")
    await stored.add(other, "a", [*says("x\x00y"), Saying(role=Role.ASSISTANT, content="z")], "k")
    await stored.add(other, "b", says("elsewhere"), "l")

    read = await stored.last(workspace, "a", 10)

    assert [(said.number, said.role, said.content) for said in read] == [
        (1, Role.SYSTEM, longest),
        (2, Role.USER, "x\N{REPLACEMENT CHARACTER}y"),
        (3, Role.ASSISTANT, "z"),
    ]
    assert list(read[0].metadata) == ["z", "a"]
    assert read == sorted(read, key=lambda said: (said.at_ms, said.number))
    assert await stored.last(workspace, "a", 2) == read[1:]
    assert await stored.last(workspace, "c", 2) == []
    rows = run_sql(dsn, "SELECT DISTINCT user_id, workflow_id, execution_id FROM conversation_messages")
    assert set(rows) == {(each.user_id, each.workflow_id, each.execution_id) for each in (first, other)}


async def test_what_is_asked_for_again_under_a_key_happened_once_even_when_it_was_cleared(pool: Pool) -> None:
    stored, workspace = StoredConversations(pool), an_id()
    one = speaker(workspace)

    added = await asyncio.gather(*(stored.add(one, "a", says("x", "y"), "k") for _ in range(6)))
    assert added == [2] * 6
    assert len(await stored.last(workspace, "a", 10)) == 2

    assert await stored.clear(one, "a", "c") == 2
    assert await stored.add(one, "a", says("x", "y"), "k") == 2
    assert await stored.last(workspace, "a", 10) == []
    await stored.add(speaker(workspace), "a", says("later"), "k")
    assert await stored.clear(one, "a", "c") == 2
    assert [said.content for said in await stored.last(workspace, "a", 10)] == ["later"]


async def test_those_who_add_at_once_leave_no_gap_and_stay_together(pool: Pool) -> None:
    stored, workspace = StoredConversations(pool), an_id()

    await asyncio.gather(*(stored.add(speaker(workspace), "a", says(f"{n}", f"{n}"), "k") for n in range(20)))

    read = await stored.last(workspace, "a", 100)
    assert [said.number for said in read] == list(range(1, 41))
    assert [said.at_ms for said in read] == sorted(said.at_ms for said in read)
    contents = [said.content for said in read]
    assert contents[::2] == contents[1::2]
    (page,) = (await stored.page(workspace)).items
    assert page.message_count == 40


async def test_an_add_that_fails_leaves_nothing_and_may_be_made_again(pool: Pool, dsn: str) -> None:
    stored, workspace = StoredConversations(pool), an_id()
    one = speaker(workspace)
    with pytest.raises(BadInput):
        await stored.add(one, "a", [Saying(role=Role.USER, content="x", metadata={"a": "\x00"})], "k")
    with pytest.raises(Exception, match="conversation_messages_role_check"):
        await stored.add(one, "a", [Saying(role=Role.TOOL, content="x")], "k")

    assert run_sql(dsn, "SELECT count(*) FROM conversations") == [(0,)]
    assert await stored.add(one, "a", says("x"), "k") == 1
    assert len(await stored.last(workspace, "a", 10)) == 1


async def test_pages_of_messages_and_of_conversations(pool: Pool) -> None:
    stored, workspace = StoredConversations(pool), an_id()
    for number in range(5):
        await stored.add(speaker(workspace), f"c{number}", says(*"abcde"), "k")
    await stored.add(speaker(workspace), "c1", says("f"), "k")

    names, cursor = [], None
    while True:
        page = await stored.page(workspace, cursor=cursor, limit=2)
        names += [(one.conversation_id, one.message_count) for one in page.items]
        if (cursor := page.next_cursor) is None:
            break
    assert names == [("c1", 6), ("c4", 5), ("c3", 5), ("c2", 5), ("c0", 5)]

    first = await stored.messages(workspace, "c1", limit=4)
    rest = await stored.messages(workspace, "c1", after=int(first.next_cursor or 0), limit=4)
    assert [said.content for said in (*first.items, *rest.items)] == list("abcdef")
    assert rest.next_cursor is None
    assert (await stored.messages(workspace, "c1", after=6)).items == []
    with pytest.raises(Unprocessable):
        await stored.page(workspace, cursor="WyJuYW1lIiwiYSIsMV0")


async def test_nothing_is_seen_or_changed_from_another_workspace(pool: Pool, dsn: str) -> None:
    stored, workspace, elsewhere = StoredConversations(pool), an_id(), an_id()
    await stored.add(speaker(workspace), "a", says("mine"), "k")

    assert await stored.last(elsewhere, "a", 10) == []
    assert (await stored.page(elsewhere)).items == []
    with pytest.raises(NotFound):
        await stored.messages(elsewhere, "a")
    with pytest.raises(NotFound):
        await stored.delete(elsewhere, "a")
    assert await stored.clear(speaker(elsewhere), "a", "k") == 0
    await stored.add(speaker(elsewhere), "a", says("theirs"), "k")

    assert [said.content for said in await stored.last(workspace, "a", 10)] == ["mine"]
    await stored.delete(workspace, "a")
    assert [said.content for said in await stored.last(elsewhere, "a", 10)] == ["theirs"]
    assert run_sql(dsn, "SELECT count(*) FROM conversation_messages") == [(1,)]
