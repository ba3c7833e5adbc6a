"""The lease of one actor process: renewed by a thread of its own, so that a busy loop or pool cannot cause a false steal.

The thread renews only while the event loop still ticks: a loop that hangs must lose its executions to others. The holder's own
deadline is counted on its monotonic clock from before the renewal was sent, less a margin: past it nothing visible starts. It
goes on when PostgreSQL answers again and the lease is still there; else everything is dropped and a new lease begins.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic
from uuid import UUID

import structlog

from workflow.errors import StoreUnavailable
from workflow.ports import LeaseEnd, LeaseHolder, Leases, Renewal

MARGIN_MS = 1_000
LOOP_SILENCE_MAX_S = 2.0


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """How long a lease lasts and how often it is renewed."""

    ttl_ms: int
    renew_ms: int


@dataclass(frozen=True, slots=True)
class LeaseReport:
    """A renewal with the monotonic time at which it was asked for; `lost` says that the former lease is over."""

    lease_id: UUID
    asked_at: float
    renewal: Renewal
    lost: bool


class LeaseKeeper:
    """Holds the lease of this process. `report` is called from the thread after each renewal, and after each loss."""

    def __init__(
        self,
        leases: Leases,
        holder: LeaseHolder,
        times: LeaseTimes,
        *,
        new_id: Callable[[], UUID],
        report: Callable[[LeaseReport], None],
        now: Callable[[], float] = monotonic,
    ) -> None:
        self._leases = leases
        self._holder = holder
        self._times = times
        self._new_id = new_id
        self._report = report
        self._now = now
        self._deadline = 0.0
        self._ticked_at = now()
        self._stop = threading.Event()
        self._hurry = threading.Event()
        self._drain_wanted = False
        self._drained = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)
        self._log = structlog.get_logger("rayloom.lease")

    @property
    def id(self) -> UUID:
        """The present lease."""
        return self._holder.id

    @property
    def valid(self) -> bool:
        """Whether something visible may start now: the lease cannot have been taken away yet."""
        return self._now() < self._deadline

    def tick(self) -> None:
        """Say that the event loop is alive; called by the loop several times a second."""
        self._ticked_at = self._now()

    def start(self) -> None:
        """Begin the lease and the thread that renews it. Raises `StoreUnavailable`."""
        self._register()
        self._thread.start()

    def renew_now(self) -> None:
        """Renew and read back without waiting for the next turn."""
        self._hurry.set()

    def drain(self) -> None:
        """Take no new executions; returns when that is durable."""
        self._drain_wanted = True
        self._hurry.set()
        self._drained.wait()

    def close(self) -> None:
        """Stop renewing and end the lease."""
        self._stop.set()
        self._hurry.set()
        self._drained.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        try:
            self._leases.end(self.id, LeaseEnd.RELEASED)
            self._leases.close()
        except StoreUnavailable:
            self._log.warning("lease.not_released", lease_id=str(self.id))

    def _register(self) -> None:
        asked_at = self._now()
        self._leases.register(self._holder, self._times.ttl_ms)
        self._deadline = asked_at + (self._times.ttl_ms - MARGIN_MS) / 1000

    def _run(self) -> None:
        while not self._stop.is_set():
            self._hurry.wait(self._times.renew_ms / 1000)
            self._hurry.clear()
            if self._stop.is_set():
                return
            if self._now() - self._ticked_at > LOOP_SILENCE_MAX_S:
                self._log.warning("lease.loop_silent", seconds=round(self._now() - self._ticked_at, 1))
                continue
            try:
                self._renew()
                if self._drain_wanted and not self._drained.is_set():
                    self._leases.drain(self.id)
                    self._drained.set()
            except StoreUnavailable as error:
                self._log.warning("lease.store_unavailable", error=error.message)
                self._stop.wait(0.2)
                self._hurry.set()

    def _renew(self) -> None:
        asked_at = self._now()
        renewal = self._leases.renew(self.id, self._times.ttl_ms)
        if renewal is not None:
            self._deadline = asked_at + (self._times.ttl_ms - MARGIN_MS) / 1000
            self._report(LeaseReport(self.id, asked_at, renewal, lost=False))
            return
        self._deadline = 0.0
        self._log.warning("lease.lost", lease_id=str(self.id))
        self._report(LeaseReport(self.id, asked_at, Renewal(owned=()), lost=True))
        self._holder = replace(self._holder, id=self._new_id())
        self._drained.clear()
        self._register()
