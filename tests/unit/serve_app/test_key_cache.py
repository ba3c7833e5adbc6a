"""The cache of API keys: one question for many callers, a short memory, refusals are not remembered."""

import asyncio

import pytest

from actors.ids import new_id
from serve_app.auth import KEY_TTL_S, KeyCache
from store.accounts import Role
from store.api_keys import Principal
from workflow.errors import Unauthorized

PRINCIPAL = Principal(user_id=new_id(), workspace_id=new_id(), role=Role.OWNER, key_id=new_id(), scopes=frozenset())


class Keys:
    def __init__(self) -> None:
        self.asked = 0
        self.valid = True
        self.now_s = 0.0
        self.cache = KeyCache(self._authenticate, now=lambda: self.now_s)

    async def _authenticate(self, key: str) -> Principal:
        self.asked += 1
        await asyncio.sleep(0)
        if not self.valid:
            raise Unauthorized("revoked")
        return PRINCIPAL


async def test_many_callers_at_once_are_one_question():
    keys = Keys()

    found = await asyncio.gather(*(keys.cache.principal("k") for _ in range(20)))

    assert set(found) == {PRINCIPAL}
    assert keys.asked == 1


async def test_a_revoked_key_works_for_a_few_seconds_at_most():
    keys = Keys()
    await keys.cache.principal("k")
    keys.valid = False

    keys.now_s = KEY_TTL_S - 0.1
    assert await keys.cache.principal("k") == PRINCIPAL
    keys.now_s = KEY_TTL_S + 0.1
    with pytest.raises(Unauthorized):
        await keys.cache.principal("k")


async def test_a_refusal_is_not_remembered():
    keys = Keys()
    keys.valid = False
    with pytest.raises(Unauthorized):
        await keys.cache.principal("k")
    keys.valid = True

    assert await keys.cache.principal("k") == PRINCIPAL


async def test_a_caller_that_goes_away_does_not_disturb_the_others():
    keys = Keys()
    first, second = (asyncio.create_task(keys.cache.principal("k")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()

    assert await second == PRINCIPAL
