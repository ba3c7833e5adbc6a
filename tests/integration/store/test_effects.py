"""What expensive effects gave: the first result counts, whoever keeps it and however many at once; it goes with its execution."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from store.effects import PostgresEffects
from store.engine import Pool, StoreConfig, make_pool
from tests.contract.making import an_id


@pytest.fixture
async def pool(dsn: str) -> AsyncIterator[Pool]:
    made = make_pool(StoreConfig(dsn=dsn))
    await made.open(wait=True)
    yield made
    await made.close()


async def test_the_first_result_counts(pool: Pool) -> None:
    effects, workspace, execution = PostgresEffects(pool), an_id(), an_id()

    assert await effects.recall(workspace, execution, "k") is None
    assert await effects.keep(workspace, execution, "k", b'{"n": 1, "m": 2}') == b'{"n": 1, "m": 2}'
    assert await effects.keep(workspace, execution, "k", b"2") == b'{"n": 1, "m": 2}'
    assert await effects.recall(workspace, execution, "k") == b'{"n": 1, "m": 2}'


async def test_keys_executions_and_workspaces_are_apart(pool: Pool) -> None:
    effects, workspace, execution = PostgresEffects(pool), an_id(), an_id()
    await effects.keep(workspace, execution, "k", b"1")

    assert await effects.recall(workspace, execution, "other") is None
    assert await effects.recall(workspace, an_id(), "k") is None
    assert await effects.recall(an_id(), execution, "k") is None


async def test_of_many_at_once_all_get_the_same(pool: Pool) -> None:
    effects, workspace, execution = PostgresEffects(pool), an_id(), an_id()

    kept = await asyncio.gather(*(effects.keep(workspace, execution, "k", str(n).encode()) for n in range(20)))

    assert len(set(kept)) == 1
    assert await effects.recall(workspace, execution, "k") == kept[0]
