"""Pure parts of the store: months, slugs, passwords, payloads, the faults of the memory twin, who may use a path."""

import re
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from store import statements
from store.columns import flush_columns
from store.memory import MemoryStore
from store.memory_executions import MemoryExecutions
from store.notifications import PAYLOAD_BYTES_MAX, ids_in, payloads
from store.outages import is_outage, outages
from store.partitions import first_id, month_start_ms
from store.passwords import hash_password, matches
from store.server_place import Account, may_use
from store.slugs import slug_of
from tests.contract.making import an_id, flush, new_execution
from workflow.errors import StoreUnavailable
from workflow.ids import uuid7
from workflow.ports import Verdict


def ms(*date: int) -> int:
    return int(datetime(*date, tzinfo=UTC).timestamp() * 1000)


def test_months_pass_over_the_year() -> None:
    december = ms(2026, 12, 31, 23, 59)

    assert [month_start_ms(december, later) for later in (-1, 0, 1, 2)] == [
        ms(2026, 11, 1),
        ms(2026, 12, 1),
        ms(2027, 1, 1),
        ms(2027, 2, 1),
    ]


def test_the_bound_of_a_month_lies_between_the_ids_around_it() -> None:
    start = ms(2027, 1, 1)

    assert uuid7(start - 1, b"\xff" * 10) < first_id(start) <= uuid7(start, bytes(10))


def test_slugs_are_plain_and_end_in_chance() -> None:
    identity = UUID(int=0xABCD1234)

    assert slug_of("  Été & Orders (v2)! ", identity) == "ete-orders-v2-abcd1234"
    assert slug_of("日本", identity) == "unnamed-abcd1234"
    assert len(slug_of("x" * 500, identity)) <= 100


def test_passwords_longer_than_bcrypt_takes_are_told_apart() -> None:
    stored = hash_password("a" * 100, cost=4)

    assert matches("a" * 100, stored)
    assert not matches("a" * 99 + "b", stored)
    assert not matches("a" * 100, None)


def test_payloads_fit_and_come_back() -> None:
    ids = {an_id() for _ in range(450)}
    pieces = payloads(ids)

    assert all(len(piece) <= PAYLOAD_BYTES_MAX for piece in pieces)
    assert sorted(identity for piece in pieces for identity in ids_in(piece)) == sorted(ids)
    assert (payloads(set()), ids_in("")) == ([""], [])


@pytest.mark.parametrize(
    ("error", "outage"),
    [
        (psycopg.OperationalError("gone"), True),
        (psycopg.errors.AdminShutdown(), True),
        (psycopg.errors.DeadlockDetected(), True),
        (psycopg.InterfaceError("closed"), True),
        (psycopg.errors.StatementTooComplex(), False),
        (psycopg.errors.ProgramLimitExceeded(), False),
        (psycopg.errors.UniqueViolation(), False),
        (psycopg.errors.InvalidTextRepresentation(), False),
        (ValueError(), False),
    ],
)
def test_outages_are_told_from_faults(error: Exception, outage: bool) -> None:
    assert is_outage(error) is outage
    with pytest.raises(StoreUnavailable if outage else type(error)), outages():
        raise error


def test_a_path_needs_every_folder_above_it(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    (closed / "file").write_text("")
    stranger = Account(uid=54321, gid=54321, switch=True)
    me = Account(uid=closed.stat().st_uid, gid=closed.stat().st_gid, switch=False)

    assert may_use(me, closed / "file", 0o4)
    assert not may_use(stranger, closed / "file", 0o4)
    assert may_use(stranger, Path("/"), 0o5)


async def test_memory_breaks_a_flush_before_or_after_its_commit() -> None:
    store = MemoryStore(lambda: 0)
    executions = MemoryExecutions(store)
    new = new_execution(an_id())
    await executions.accept([new])
    store.executions[new.id].status = store.executions[new.id].status.RUNNING
    store.executions[new.id].epoch = 1
    store.fail_next_flush(after_commit=False)
    store.fail_next_flush(after_commit=True)
    part = flush(new.id)
    with pytest.raises(StoreUnavailable):
        await executions.flush([part])
    assert store.executions[new.id].last_seq == 0
    with pytest.raises(StoreUnavailable):
        await executions.flush([part])
    assert store.executions[new.id].last_seq == 1

    assert await executions.flush([part]) == [Verdict.COMMITTED]


async def test_memory_is_away_when_told() -> None:
    store = MemoryStore(lambda: 0)
    store.available = False

    with pytest.raises(StoreUnavailable):
        await MemoryExecutions(store).claim(an_id(), 1, 0)


def test_the_flush_is_short_enough_for_psycopg_to_keep_its_translation() -> None:
    names = set(re.findall(r"%\((\w+)\)s", statements.FLUSH))

    assert len(statements.FLUSH) < 4_096
    assert len(names) <= 50
    assert names == set(flush_columns([flush(an_id())]))


def test_a_tight_statement_says_the_same() -> None:
    assert statements.tight("SELECT a, b\n  FROM f (x) AS t (a, b)\n WHERE a = 'b'") == (
        "SELECT a,b FROM f(x) AS t(a,b) WHERE a='b'"
    )
