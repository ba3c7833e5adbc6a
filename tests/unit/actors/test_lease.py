"""The lease of a process: renewed while its loop ticks, deadlines counted from before the renewal, replaced when it was lost."""

import threading
from collections.abc import Callable, Iterator

import pytest

from actors.ids import new_id
from actors.lease import LOOP_SILENCE_MAX_S, LeaseKeeper, LeaseReport, LeaseTimes
from store.memory import MemoryLeases, MemoryStore
from workflow.errors import StoreUnavailable
from workflow.ports import LeaseEnd, LeaseHolder, Renewal

TIMES = LeaseTimes(ttl_ms=6_000, renew_ms=10_000)


class Bench:
    """A lease keeper over memory with a clock of its own; every turn of its thread is awaited through its reports."""

    def __init__(self) -> None:
        self.now_s = 1_000.0
        self.store = MemoryStore(lambda: int(self.now_s * 1000))
        self.leases = MemoryLeases(self.store)
        self.looks = 0
        self.reports: list[LeaseReport] = []
        self.reported = threading.Condition()
        self.keeper = self.another_keeper()
        self.keeper.start()

    def another_keeper(self) -> LeaseKeeper:
        holder = LeaseHolder(id=new_id(), cluster_id="c", actor_id="a", actor_name="n", host="h", pid=1, slots=4)
        return LeaseKeeper(self.leases, holder, TIMES, new_id=new_id, report=self._take, now=self._look)

    def _look(self) -> float:
        with self.reported:
            self.looks += 1
            self.reported.notify_all()
        return self.now_s

    def until(self, truth: Callable[[], bool]) -> None:
        """Wait for what follows from a look at the clock or from a report."""
        with self.reported:
            assert self.reported.wait_for(truth, timeout=5)

    def _take(self, report: LeaseReport) -> None:
        with self.reported:
            self.reports.append(report)
            self.reported.notify_all()

    def turn(self, tick: bool = True) -> LeaseReport:
        """Let the thread renew once and return what it reported."""
        before = len(self.reports)
        if tick:
            self.keeper.tick()
        self.keeper.renew_now()
        with self.reported:
            assert self.reported.wait_for(lambda: len(self.reports) > before, timeout=5)
            return self.reports[before]


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.keeper.close()


def test_a_lease_is_valid_until_its_time_less_a_margin_has_passed(bench: Bench):
    bench.now_s += 4.9
    assert bench.keeper.valid
    bench.now_s += 0.2
    assert not bench.keeper.valid

    bench.turn()

    assert bench.keeper.valid


def test_the_time_that_a_renewal_takes_is_not_the_holders(bench: Bench):
    renew = bench.leases.renew

    def slow(*arguments: object) -> Renewal | None:
        answer = renew(*arguments)
        bench.now_s += 3
        return answer

    bench.leases.renew = slow
    bench.turn()

    bench.now_s += 1.9
    assert bench.keeper.valid
    bench.now_s += 0.2
    assert not bench.keeper.valid, "the database counts from when it was asked"


def test_the_time_that_a_registration_takes_is_not_the_holders(bench: Bench):
    register = bench.leases.register

    def slow(*arguments: object) -> None:
        register(*arguments)
        bench.now_s += 3

    bench.leases.register = slow
    other = bench.another_keeper()
    other.start()

    bench.now_s += 1.9
    assert other.valid
    bench.now_s += 0.2
    assert not other.valid, "the database counts from when it was asked"
    other.close()


def test_nothing_visible_may_start_between_the_loss_of_a_lease_and_the_next(bench: Bench):
    valid: list[bool] = []
    register = bench.leases.register

    def watched(*arguments: object) -> None:
        valid.append(bench.keeper.valid)
        register(*arguments)

    bench.leases.register = watched
    bench.leases.end(bench.keeper.id, LeaseEnd.EXPIRED)
    bench.turn()
    bench.turn()

    assert valid == [False]
    assert bench.keeper.valid


def test_a_lease_that_was_not_taken_away_is_simply_renewed_however_late(bench: Bench):
    lease_id = bench.keeper.id
    bench.now_s += 60

    report = bench.turn()

    assert not report.lost
    assert bench.keeper.id == lease_id
    assert bench.keeper.valid


def test_a_lease_that_was_ended_is_reported_lost_and_replaced(bench: Bench):
    lease_id = bench.keeper.id
    bench.leases.end(lease_id, LeaseEnd.EXPIRED)

    report = bench.turn()
    after = bench.turn()

    assert report.lost
    assert report.lease_id == lease_id
    assert not after.lost
    assert bench.keeper.id == after.lease_id != lease_id
    assert bench.keeper.valid


def test_nothing_is_renewed_while_the_event_loop_is_silent(bench: Bench):
    bench.turn()
    renewed: list[object] = []
    renew = bench.leases.renew
    bench.leases.renew = lambda *arguments: renewed.append(arguments) or renew(*arguments)
    bench.now_s += LOOP_SILENCE_MAX_S + 0.1

    looks = bench.looks
    bench.keeper.renew_now()
    bench.until(lambda: bool(renewed) or bench.looks >= looks + 2)
    assert renewed == [], "it looked twice: whether the loop is silent, and for how long, to say so"

    bench.turn()
    assert len(renewed) == 1


def test_a_database_that_is_away_is_asked_again_until_it_answers(bench: Bench):
    failures = iter([StoreUnavailable("away"), StoreUnavailable("away")])
    renew = bench.leases.renew

    def flaky(*arguments: object) -> Renewal | None:
        for failure in failures:
            raise failure
        return renew(*arguments)

    bench.leases.renew = flaky

    report = bench.turn()

    assert not report.lost


def test_draining_returns_when_it_is_durable(bench: Bench):
    bench.keeper.tick()
    bench.keeper.drain()

    assert bench.store.leases[bench.keeper.id].draining


def test_closing_ends_the_lease(bench: Bench):
    bench.keeper.close()

    assert bench.store.leases[bench.keeper.id].reason is LeaseEnd.RELEASED
