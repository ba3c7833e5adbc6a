"""`workflow.ports.Leases` over PostgreSQL: a synchronous connection of its own, which no busy loop delays.

All times are the database's. A lease that has expired but was not ended may still be renewed: nothing was taken from
its holder yet. Who ends it (the supervisor that saw the process die, or the reaper) opens its executions to others.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import psycopg
from psycopg.rows import TupleRow

from store import reading
from store.outages import outages
from workflow.ports import LeaseEnd, LeaseHolder, Renewal

REGISTER = """
INSERT INTO leases (id, cluster_id, actor_id, actor_name, host, pid, slots, dedicated_to, started_at, expires_at)
VALUES (%(id)s, %(cluster)s, %(actor_id)s, %(actor_name)s, %(host)s, %(pid)s, %(slots)s, %(dedicated_to)s,
    clock_timestamp(), clock_timestamp() + %(ttl_ms)s * interval '1 millisecond')
ON CONFLICT (id) DO NOTHING
"""

RENEW = """
UPDATE leases SET expires_at = clock_timestamp() + %(ttl_ms)s * interval '1 millisecond'
WHERE id = %(id)s AND ended_at IS NULL
"""

OWNED = """
SELECT id, epoch, GREATEST(0, extract(epoch FROM clock_timestamp() - claimed_at) * 1000)::bigint
FROM executions WHERE status = 'running' AND owner = %(id)s ORDER BY id
"""

OWNED_SIGNALS = f"""
{reading.SIGNAL_COLUMNS}
FROM executions e JOIN signals s ON s.execution_id = e.id AND s.read_at IS NULL
WHERE e.status = 'running' AND e.owner = %(id)s ORDER BY s.id
"""

END = """
UPDATE leases SET ended_at = clock_timestamp(), end_reason = %(reason)s WHERE id = %(id)s AND ended_at IS NULL
"""

END_CLUSTER = """
UPDATE leases SET ended_at = clock_timestamp(), end_reason = 'supervisor'
WHERE cluster_id = %(cluster)s AND ended_at IS NULL
"""

REAP = """
UPDATE leases SET ended_at = clock_timestamp(), end_reason = 'expired'
WHERE ended_at IS NULL AND expires_at < clock_timestamp()
    AND clock_timestamp() > pg_postmaster_start_time() + %(ttl_ms)s * interval '1 millisecond'
RETURNING id
"""

FORGET = """
DELETE FROM leases l WHERE l.ended_at < clock_timestamp() - interval '1 day'
    AND NOT EXISTS (SELECT FROM executions e WHERE e.status = 'running' AND e.owner = l.id)
"""


class PostgresLeases:
    """Leases in PostgreSQL. For one thread; connects when first used and again after the connection broke.

    Every method raises `StoreUnavailable` when the database does not answer within `timeout_ms`.
    """

    def __init__(self, dsn: str, *, application_name: str = "rayloom-leases", timeout_ms: int = 3_000) -> None:
        self._dsn = dsn
        self._application_name = application_name
        self._timeout_ms = timeout_ms
        self._connection: psycopg.Connection[TupleRow] | None = None

    def register(self, holder: LeaseHolder, ttl_ms: int) -> None:
        """Begin a lease; doing it again after an outage is harmless."""
        with self._connected() as connection:
            connection.execute(
                REGISTER,
                {
                    "id": holder.id,
                    "cluster": holder.cluster_id,
                    "actor_id": holder.actor_id,
                    "actor_name": holder.actor_name,
                    "host": holder.host,
                    "pid": holder.pid,
                    "slots": holder.slots,
                    "dedicated_to": holder.dedicated_to,
                    "ttl_ms": ttl_ms,
                },
            )

    def renew(self, lease_id: UUID, ttl_ms: int) -> Renewal | None:
        """Prolong the lease and read back what it owns; None when the lease is over."""
        with self._connected() as connection:
            if connection.execute(RENEW, {"id": lease_id, "ttl_ms": ttl_ms}).rowcount == 0:
                return None
            owned = connection.execute(OWNED, {"id": lease_id}).fetchall()
            signals = connection.execute(OWNED_SIGNALS, {"id": lease_id}).fetchall() if owned else []
            return Renewal(
                owned=[(row[0], row[1], row[2]) for row in owned],
                signals=[reading.signal_from(row) for row in signals],
            )

    def drain(self, lease_id: UUID) -> None:
        """Take no new executions from now on."""
        with self._connected() as connection:
            connection.execute("UPDATE leases SET draining = true WHERE id = %s", (lease_id,))

    def end(self, lease_id: UUID, reason: LeaseEnd) -> bool:
        """End the lease at once; whether it had not been ended before."""
        with self._connected() as connection:
            return connection.execute(END, {"id": lease_id, "reason": reason.value}).rowcount == 1

    def end_cluster(self, cluster_id: str) -> int:
        """End every lease of a cluster; how many there were."""
        with self._connected() as connection:
            return connection.execute(END_CLUSTER, {"cluster": cluster_id}).rowcount

    def reap(self, ttl_ms: int) -> list[UUID]:
        """End the leases that have expired, and forget those that ended a day ago and are named by nothing that runs.

        For one TTL after a start of the database nothing is ended: nobody could renew while it was away.
        """
        with self._connected() as connection:
            ended = [row[0] for row in connection.execute(REAP, {"ttl_ms": ttl_ms}).fetchall()]
            connection.execute(FORGET)
            return ended

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection[TupleRow]]:
        with outages():
            try:
                if self._connection is None:
                    self._connection = self._connect()
                yield self._connection
            except psycopg.Error:
                # The next call begins with a fresh connection, whatever state this one is in.
                self.close()
                raise

    def _connect(self) -> psycopg.Connection[TupleRow]:
        return psycopg.connect(
            self._dsn,
            autocommit=True,
            application_name=self._application_name,
            connect_timeout=max(2, self._timeout_ms // 1000),
            options=f"-c statement_timeout={self._timeout_ms}",
            tcp_user_timeout=self._timeout_ms,
        )
