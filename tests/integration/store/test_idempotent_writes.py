"""Keyed writes on PostgreSQL: one performer at a time, the same answer for a day, nothing for another request."""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from store.engine import Pool, StoreConfig, make_pool
from store.executions import PostgresExecutions
from store.idempotent_writes import FORGOTTEN_AT_ONCE, Answer, IdempotentWrites, Refused, Reserved
from store.queue_depth import QueueDepths
from tests.conftest import run_sql
from tests.contract.making import an_id, new_execution
from workflow.ports import IdempotencyKey, Isolation, Outcome

R = TypeVar("R")
RESERVED_MS = 60_000
HOUR_MS = 3_600_000
WORKSPACES = (UUID(int=1), UUID(int=2))


def key(text: str = "k", request: int = 0) -> IdempotencyKey:
    return IdempotencyKey(key=text, fingerprint=bytes([request]) * 32)


def answer(text: str = "done") -> Answer:
    return Answer(status=201, headers={"location": f"/{text}"}, body=text.encode(), body_bytes=len(text))


@dataclass(slots=True)
class Kept:
    """What the model knows of a key: whose it is, and since when."""

    request: int
    write_id: UUID
    age_ms: int = 0
    left_ms: int = RESERVED_MS
    holder: Reserved | None = None
    answer: Answer | None = None
    stale: list[Reserved] = field(default_factory=list)


class Keys(RuleBasedStateMachine):
    """Requests, crashes, late answers and time in any order. `dsn` and `tried` are set by the test that runs it."""

    dsn: ClassVar[str]
    tried: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        run_sql(self.dsn, "TRUNCATE idempotent_writes")
        self.pool = make_pool(StoreConfig(dsn=self.dsn, pool_size_min=4, pool_size_max=4))
        self.do(self.pool.open(wait=True))
        self.writes = IdempotentWrites(self.pool)
        self.keys: dict[tuple[UUID, str], Kept] = {}

    def do(self, awaitable: Awaitable[R]) -> R:
        return self.loop.run_until_complete(awaitable)

    async def all_at_once(self, workspace: UUID, text: str, requests: list[int]) -> list[Reserved | Answer | Refused]:
        return await asyncio.gather(
            *(
                self.writes.reserve(workspace, key(text, request), write_id=an_id(), holder=an_id(), ms=RESERVED_MS)
                for request in requests
            )
        )

    @rule(
        workspace=st.sampled_from(WORKSPACES),
        text=st.sampled_from("aab"),
        request=st.integers(0, 1),
        times=st.integers(1, 4),
    )
    def ask(self, workspace: UUID, text: str, request: int, times: int) -> None:
        """The same request several times at the same moment: at most one performs, and only where the model says so.

        They are all the same, or who comes first would decide about what follows, and a story would not play again.
        """
        requests = [request] * times
        known = self.keys.get((workspace, text))
        free = known is None or (known.age_ms >= 24 * HOUR_MS and (known.answer is not None or known.left_ms <= 0))
        found = self.do(self.all_at_once(workspace, text, requests))
        mine = [(request, one) for request, one in zip(requests, found, strict=True) if isinstance(one, Reserved)]
        assert len(mine) <= 1
        if known is not None and not free and known.answer is not None:
            assert not mine
            for one in found:
                assert one == (known.answer if request == known.request else Refused.OTHER_REQUEST)
            self.tried["replayed"] += 1
            return
        if known is not None and not free and (known.left_ms > 0 or known.request not in requests):
            assert not mine
            for one in found:
                assert one is (Refused.UNDER_WAY if request == known.request else Refused.OTHER_REQUEST)
            self.tried["refused"] += 1
            return
        ((_, reserved),) = mine
        assert all(one is reserved or one is Refused.UNDER_WAY for one in found)
        if known is not None and not free:
            assert (request, reserved.id) == (known.request, known.write_id), "whoever takes over makes the same ids"
            self.tried["taken over"] += 1
            known.stale += [known.holder] if known.holder is not None else []
            known.holder, known.left_ms = reserved, RESERVED_MS
        else:
            assert known is None or reserved.id != known.write_id
            self.tried["first" if known is None else "freed"] += 1
            self.keys[workspace, text] = Kept(request=request, write_id=reserved.id, holder=reserved)

    @precondition(lambda self: any(kept.holder for kept in self.keys.values()))
    @rule(pick=st.integers(0, 9), what=st.sampled_from(["answer", "answer", "renew", "give back"]))
    def perform(self, pick: int, what: str) -> None:
        held = [kept for kept in self.keys.values() if kept.holder is not None]
        kept = held[pick % len(held)]
        assert kept.holder is not None
        over = kept.answer is not None
        if what == "answer":
            said = answer(str(an_id()))
            assert self.do(self.writes.answer(kept.holder, said)) is not over
            kept.answer = kept.answer or said
        elif what == "renew":
            assert self.do(self.writes.renew(kept.holder, RESERVED_MS)) is not over
            kept.left_ms = RESERVED_MS
        else:
            assert self.do(self.writes.give_back(kept.holder)) is not over
            kept.left_ms = 0

    @precondition(lambda self: any(kept.stale for kept in self.keys.values()))
    @rule(pick=st.integers(0, 9))
    def come_back_late(self, pick: int) -> None:
        """Who was taken for dead answers after all: too late."""
        stale = [one for kept in self.keys.values() for one in kept.stale]
        late = stale[pick % len(stale)]
        assert not self.do(self.writes.answer(late, answer("late")))
        assert not self.do(self.writes.renew(late, RESERVED_MS))
        assert not self.do(self.writes.give_back(late))
        self.tried["late"] += 1

    @rule(ms=st.sampled_from([RESERVED_MS, 12 * HOUR_MS, 24 * HOUR_MS]))
    def pass_time(self, ms: int) -> None:
        run_sql(
            self.dsn,
            "UPDATE idempotent_writes SET created_at = created_at - %s * interval '1 ms', "
            "reserved_until = reserved_until - %s * interval '1 ms'",
            ms,
            ms,
        )
        for kept in self.keys.values():
            kept.age_ms += ms
            kept.left_ms -= ms

    @rule()
    def forget(self) -> None:
        old = [
            place
            for place, kept in self.keys.items()
            if kept.age_ms >= 24 * HOUR_MS and (kept.answer is not None or kept.left_ms <= 0)
        ]
        assert self.do(self.writes.forget()) == len(old)
        for place in old:
            del self.keys[place]
        self.tried["forgotten"] += len(old)

    @invariant()
    def every_key_is_there_and_no_other(self) -> None:
        rows = run_sql(self.dsn, "SELECT workspace_id, key, id FROM idempotent_writes")
        assert {(workspace, text): write for workspace, text, write in rows} == {
            place: kept.write_id for place, kept in self.keys.items()
        }

    def teardown(self) -> None:
        self.do(self.pool.close())
        self.loop.close()


@pytest.mark.timeout(300)
def test_of_requests_with_one_key_exactly_one_is_performed_whatever_happens(dsn: str) -> None:
    tried: Counter[str] = Counter()
    machine = type("KeysHere", (Keys,), {"dsn": dsn, "tried": tried})
    bounds = settings(
        max_examples=40,
        stateful_step_count=40,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        derandomize=True,
    )
    run_state_machine_as_test(machine, settings=bounds)

    kinds = ("first", "replayed", "refused", "taken over", "freed", "late", "forgotten")
    assert min(tried[kind] for kind in kinds) >= 5, tried


async def test_many_that_ask_at_once_are_one_that_performs(pool: Pool) -> None:
    writes = IdempotentWrites(pool)
    workspace = an_id()
    asked = [writes.reserve(workspace, key(), write_id=an_id(), holder=an_id(), ms=RESERVED_MS) for _ in range(32)]

    found = Counter(type(one).__name__ for one in await asyncio.gather(*asked))

    assert found == {"Reserved": 1, "Refused": 31}


async def test_what_was_answered_comes_back_as_it_was(pool: Pool) -> None:
    writes = IdempotentWrites(pool)
    workspace = an_id()
    said = Answer(
        status=422,
        headers={"content-type": "application/problem+json", "etag": '"é"'},
        body=bytes(range(256)) * 1_024,
        body_bytes=262_144,
    )
    reserved = await writes.reserve(workspace, key(), write_id=an_id(), holder=an_id(), ms=RESERVED_MS)
    assert isinstance(reserved, Reserved)
    assert await writes.answer(reserved, said)

    again = await writes.reserve(workspace, key(), write_id=an_id(), holder=an_id(), ms=RESERVED_MS)
    elsewhere = await writes.reserve(an_id(), key(), write_id=an_id(), holder=an_id(), ms=RESERVED_MS)

    assert again == said
    assert isinstance(elsewhere, Reserved)


async def test_the_keys_of_executions_are_free_after_a_day(pool: Pool, pg_store: PostgresExecutions, dsn: str) -> None:
    writes, depths = IdempotentWrites(pool), QueueDepths(pool)
    workspace = an_id()
    news = [new_execution(workspace, idempotency=key(text)) for text in "ab"]
    await pg_store.accept(news)
    run_sql(dsn, "UPDATE idempotency_keys SET created_at = now() - interval '24 hours' WHERE key = 'a'")

    assert await writes.forget() == 1

    again = await pg_store.accept([new_execution(workspace, idempotency=key(text)) for text in "ab"])
    assert [one.outcome for one in again] == [Outcome.CREATED, Outcome.REPLAYED]
    assert await depths.keyed(workspace, "a")
    assert not await depths.keyed(workspace, "c")
    assert not await depths.keyed(an_id(), "a")


async def test_however_many_keys_are_old_all_of_them_go(pool: Pool, dsn: str) -> None:
    count = 2 * FORGOTTEN_AT_ONCE + 1
    run_sql(
        dsn,
        "INSERT INTO idempotency_keys (workspace_id, key, fingerprint, execution_id, created_at) "
        "SELECT gen_random_uuid(), n::text, '', gen_random_uuid(), now() - interval '2 days' "
        "FROM generate_series(1, %s) n",
        count,
    )

    assert await IdempotentWrites(pool).forget() == count
    assert run_sql(dsn, "SELECT count(*) FROM idempotency_keys") == [(0,)]


async def test_a_queue_is_counted_by_kind_and_no_further_than_asked(
    pool: Pool, pg_store: PostgresExecutions, dsn: str
) -> None:
    depths = QueueDepths(pool)
    workspace, other = an_id(), an_id()
    await pg_store.accept([new_execution(workspace) for _ in range(5)])
    await pg_store.accept([new_execution(workspace, isolation=Isolation.DEDICATED) for _ in range(2)])
    await pg_store.accept([new_execution(other) for _ in range(3)])
    held = new_execution(workspace)
    await pg_store.accept([held])
    run_sql(dsn, "UPDATE executions SET held = true WHERE id = %s", held.id)

    assert await depths.count(workspace, 100) == {Isolation.POOLED: 5, Isolation.DEDICATED: 3}
    assert await depths.count(workspace, 2) == {Isolation.POOLED: 2, Isolation.DEDICATED: 2}
    assert await depths.count(an_id(), 2) == {Isolation.POOLED: 0, Isolation.DEDICATED: 0}
