"""`workflow.ports.Executions` over PostgreSQL: every write is one statement, so it happens whole or not at all.

Nothing is retried here: after an outage the outcome is unknown, and only the caller knows whether to ask again. Asking
again is safe: a repeated flush is recognised by its `last_seq`, a repeated accept by its id.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias
from uuid import UUID

from store import reading, statements
from store.arrays import bigints, doubles, ints, texts, uuids
from store.columns import accept_columns, flush_columns, last_seq_after
from store.concurrency import Arrival, keys_that_hold, lock_keys, place_arrivals, release_held
from store.engine import Pool
from store.outages import connection_of, outages
from workflow.errors import Bug, Conflict, StoreUnavailable
from workflow.ports import (
    Accepted,
    Claimed,
    EventRow,
    ExecutionView,
    Flush,
    History,
    NewExecution,
    NodeRow,
    Outcome,
    Share,
    Signal,
    SignalKind,
    Verdict,
)
from workflow.states import ExecutionStatus

WORKSPACES_PER_CLAIM = 32
"""A claim looks at this many workspaces after the point where the last one stopped, and as many from the start."""
STARVED_WINDOW = 256
NOBODY = UUID(int=0)

_Fetch: TypeAlias = Callable[[str, Mapping[str, Any]], Awaitable[list[tuple[Any, ...]]]]


class PostgresExecutions:
    """Executions in PostgreSQL. The pool must have been opened in the running loop."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._claimed_last = NOBODY
        self._looked_last = (NOBODY, "")

    async def accept(self, batch: Sequence[NewExecution]) -> list[Accepted]:
        """Make the executions durable; one answer each, in order. Those without a concurrency key are one statement.

        A workflow that is not there, or is in no state to be executed, is `NO_WORKFLOW`, one with another current version than the
        expected one `OUTDATED`; what was accepted under the same key before it came into that state is told all the same.
        """
        if all(new.concurrency is None for new in batch):
            return (await self._accept_known(batch, self._fetch))[0]
        answers: dict[int, Accepted] = {}
        for limited in (False, True):
            places = [place for place, new in enumerate(batch) if (new.concurrency is not None) == limited]
            part = [batch[place] for place in places]
            found = await self._accept_limited(part) if limited else (await self._accept_known(part, self._fetch))[0]
            answers.update(zip(places, found, strict=True))
        return [answers[place] for place in range(len(batch))]

    async def _accept_limited(self, batch: Sequence[NewExecution]) -> list[Accepted]:
        """Accept executions that have concurrency keys: their keys are locked first, so that nobody else counts meanwhile."""
        async with connection_of(self._pool) as connection, connection.transaction():

            async def fetch(statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
                return await (await connection.execute(statement, parameters)).fetchall()

            await lock_keys(connection, [(new.workspace_id, new.concurrency.key) for new in batch if new.concurrency])
            answers, created = await self._accept_known([replace(new, owner=None) for new in batch], fetch)
            arrivals = [
                Arrival(id=new.id, workspace_id=new.workspace_id, concurrency=new.concurrency)
                for spot, new in enumerate(batch)
                if spot in created and new.concurrency is not None
            ]
            placing = await place_arrivals(connection, arrivals)
        return [
            Accepted(outcome=Outcome.LIMITED, id=new.id)
            if answer.id in placing.refused
            else replace(answer, superseded=placing.superseded.get(answer.id, ()), held=answer.id in placing.held)
            for new, answer in zip(batch, answers, strict=True)
        ]

    async def _accept_known(self, batch: Sequence[NewExecution], fetch: _Fetch) -> tuple[list[Accepted], set[int]]:
        """Accept a batch; return the answers, and the places of those that were inserted now."""
        answers, created = await self._accept(batch, fetch)
        # What had the key was deleted between insert and look-up: the key is free now.
        deleted = [place for place, answer in enumerate(answers) if answer is None and batch[place].idempotency]
        if deleted:
            again, created_then = await self._accept([batch[place] for place in deleted], fetch)
            created |= {deleted[place] for place in created_then}
            answers = [again.pop(0) if place in deleted else answer for place, answer in enumerate(answers)]
        known = [answer for answer in answers if answer is not None]
        if len(known) < len(batch):
            raise Bug("an execution's id or key is taken, but not by an execution", fields={"batch": len(batch)})
        return known, created

    async def _accept(self, batch: Sequence[NewExecution], fetch: _Fetch) -> tuple[list[Accepted | None], set[int]]:
        if not batch:
            return [], set()
        rows = await fetch(statements.ACCEPT, accept_columns(batch))
        answers: list[Accepted | None] = []
        for new, (_, found, inserted, status, owner, version, outdated) in zip(batch, rows, strict=True):
            if inserted:
                stands = ExecutionStatus(status)
                answers.append(
                    Accepted(outcome=Outcome.CREATED, id=new.id, status=stands, owner=owner, workflow_version=version)
                )
            elif outdated:
                answers.append(Accepted(outcome=Outcome.OUTDATED, id=new.id))
            else:
                answers.append(None if found else Accepted(outcome=Outcome.NO_WORKFLOW, id=new.id))
        left = [place for place, answer in enumerate(answers) if _may_be_there(answer, batch[place])]
        before = await self._accepted_before(batch, left, fetch) if left else {}
        created = {place for place, row in enumerate(rows) if row[2]}
        return [before.get(place, answer) for place, answer in enumerate(answers)], created

    async def release_held(self, workspace_id: UUID, concurrency_key: str) -> int:
        """Let executions go that the key holds, by priority and age, as many as there is room for; how many these were."""
        return await release_held(self._pool, workspace_id, concurrency_key)

    async def release_all_held(self, keys_max: int) -> int:
        """Do the same for keys that have room, looking at the next `keys_max` keys that hold any; how many were let go."""
        found = await keys_that_hold(self._pool, self._looked_last, keys_max)
        self._looked_last = found[-1][:2] if len(found) == keys_max else (NOBODY, "")
        return sum([await self.release_held(workspace, key) for workspace, key, roomy in found if roomy])

    async def claim(self, owner: UUID, limit: int, orphan_grace_ms: int, shares: Sequence[Share] = ()) -> list[Claimed]:
        """Take up to `limit` pooled executions: orphans, those with unread signals, then in turns between workspaces."""
        if limit < 1:
            return []
        rows = await self._fetch(
            statements.CLAIM,
            {
                "owner": owner,
                "limit": limit,
                "window": 4 * limit + 64,
                "grace_ms": orphan_grace_ms,
                "after": self._claimed_last,
                "spaces": WORKSPACES_PER_CLAIM,
                "share_spaces": uuids(share.workspace_id for share in shares),
                "share_held": ints(share.held for share in shares),
                "share_ahead_ms": doubles(share.ahead_ms for share in shares),
                "share_cost_ms": doubles(share.cost_ms for share in shares),
            },
        )
        taken = [reading.claimed_from(row) for row in rows]
        if taken:
            self._claimed_last = taken[-1].workspace_id
        return taken

    async def mark_alone(self, execution_id: UUID, epoch: int, *, alone: bool) -> None:
        """Note that the execution is (no longer) the only one on its actor."""
        async with connection_of(self._pool) as connection:
            await connection.execute(
                "UPDATE executions SET alone = %s WHERE id = %s AND epoch = %s AND status = 'running'",
                (alone, execution_id, epoch),
            )

    async def claim_one(self, owner: UUID, execution_id: UUID) -> Claimed | None:
        """Take this execution, pooled or dedicated, if it may be claimed."""
        rows = await self._fetch(statements.CLAIM_ONE, {"owner": owner, "id": execution_id})
        return reading.claimed_from(rows[0]) if rows else None

    async def read_owned(self, owner: UUID, execution_id: UUID) -> Claimed | None:
        """Return an execution that is running under this owner, without raising the epoch."""
        rows = await self._fetch(statements.READ_OWNED, {"owner": owner, "id": execution_id})
        return reading.claimed_from(rows[0]) if rows else None

    async def claimable_dedicated(self, limit: int) -> list[UUID]:
        """Return executions that want an actor of their own and may be claimed: orphans first, then by priority."""
        return [row[0] for row in await self._read(statements.CLAIMABLE_DEDICATED, {"limit": limit})]

    async def ending_at_rest(self, limit: int) -> list[UUID]:
        """Return pooled executions that nobody owns and that somebody wants to stop or that have no time left, up to `limit` of each."""
        return [row[0] for row in await self._read(statements.ENDING_AT_REST, {"limit": limit})]

    async def starved(self, busy: Sequence[UUID], limit: int) -> list[UUID]:
        """Return pooled executions that may be claimed, one each of workspaces other than the busy ones, the oldest first."""
        parameters = {
            "busy": uuids(busy),
            "spaces": WORKSPACES_PER_CLAIM + len(busy),
            "window": STARVED_WINDOW,
            "limit": limit,
        }
        return [row[0] for row in await self._read(statements.STARVED, parameters)]

    async def release(self, owner: UUID, execution_id: UUID, epoch: int) -> bool:
        """Give back an execution that the owner has not begun: it is queued again."""
        async with connection_of(self._pool) as connection:
            done = await connection.execute(
                "UPDATE executions SET status = 'queued', owner = NULL, alone = false "
                "WHERE id = %s AND owner = %s AND epoch = %s AND status = 'running'",
                (execution_id, owner, epoch),
            )
            return done.rowcount == 1

    async def history(self, execution_id: UUID) -> History:
        """Return what recovery needs."""
        async with connection_of(self._pool) as connection:
            events = await connection.execute(reading.EVENTS, {"id": execution_id, "after": 0, "limit": None})
            nodes = await connection.execute(reading.NODES, {"id": execution_id})
            signals = await connection.execute(reading.UNREAD_SIGNALS, {"ids": uuids([execution_id])})
            return History(
                events=[reading.event_from(row) for row in await events.fetchall()],
                nodes=[reading.node_from(row) for row in await nodes.fetchall()],
                signals=[reading.signal_from(row) for row in await signals.fetchall()],
            )

    async def flush(self, batch: Sequence[Flush]) -> list[Verdict]:
        """Write each part or refuse it as a whole, in one statement; what was committed before is committed."""
        if not batch:
            return []
        await self._note_deadlines(batch)
        written = {row[0] for row in await self._fetch(statements.FLUSH, flush_columns(batch))}
        doubtful = sorted(part.execution_id for part in batch if part.execution_id not in written)
        standing: dict[UUID, tuple[int, int]] = {}
        if doubtful:
            rows = await self._fetch(statements.STANDING, {"ids": uuids(doubtful)})
            standing = {identity: (epoch, last_seq) for identity, epoch, last_seq in rows}
        return [
            Verdict.COMMITTED if part.execution_id in written else _verdict(part, standing.get(part.execution_id))
            for part in batch
        ]

    async def _note_deadlines(self, batch: Sequence[Flush]) -> None:
        rests = [(part.execution_id, part.epoch, part.rest.deadline_ms) for part in batch if part.rest is not None]
        noted = sorted((identity, epoch, at_ms) for identity, epoch, at_ms in rests if at_ms is not None)
        if noted:
            columns = {
                "ids": uuids(identity for identity, _, _ in noted),
                "epochs": bigints(epoch for _, epoch, _ in noted),
                "deadlines_ms": bigints(at_ms for _, _, at_ms in noted),
            }
            async with connection_of(self._pool) as connection:
                await connection.execute(statements.NOTE_DEADLINES, columns)

    async def signal(
        self, workspace_id: UUID, execution_id: UUID, signal_id: UUID, kind: SignalKind, body: bytes
    ) -> ExecutionView:
        """Leave a signal, unless one of that kind is unread already. Raises `NotFound`, or `Conflict` where it does not apply."""
        rows = await self._fetch(
            reading.SIGNAL,
            {
                "id": execution_id,
                "workspace": workspace_id,
                "signal": signal_id,
                "kind": kind.value,
                "body": body.decode(),
            },
        )
        if rows and not rows[0][1]:
            raise misplaced(kind, ExecutionStatus(rows[0][0]))
        return await self.get(workspace_id, execution_id)

    async def unread_signals(self, execution_ids: Sequence[UUID]) -> list[Signal]:
        """Return the unread signals of these executions, oldest first."""
        rows = await self._read(reading.UNREAD_SIGNALS, {"ids": uuids(sorted(set(execution_ids)))})
        return [reading.signal_from(row) for row in rows]

    async def ping(self) -> None:
        """Return when the database has answered. Raises `StoreUnavailable`."""
        await self._read("SELECT 1", {})

    async def get(self, workspace_id: UUID, execution_id: UUID) -> ExecutionView:
        """Return an execution. Raises `NotFound`."""
        rows = await self._read(reading.GET, {"id": execution_id, "workspace": workspace_id})
        if not rows:
            raise reading.absent(execution_id)
        return reading.view_from(rows[0])

    async def nodes(self, workspace_id: UUID, execution_id: UUID) -> list[NodeRow]:
        """Return its node executions in order of completion. Raises `NotFound`."""
        rows = await self._fetch_of(workspace_id, execution_id, reading.NODES, {"id": execution_id})
        return [reading.node_from(row) for row in rows]

    async def events(self, workspace_id: UUID, execution_id: UUID, after_seq: int, limit: int) -> list[EventRow]:
        """Return up to `limit` events numbered above `after_seq`. Raises `NotFound`."""
        page = {"id": execution_id, "after": after_seq, "limit": limit}
        rows = await self._fetch_of(workspace_id, execution_id, reading.EVENTS, page)
        return [reading.event_from(row) for row in rows]

    async def _accepted_before(
        self, batch: Sequence[NewExecution], places: Sequence[int], fetch: _Fetch
    ) -> dict[int, Accepted]:
        keys = {place: batch[place].idempotency for place in places}
        rows = await fetch(
            statements.ACCEPTED_BEFORE,
            {
                "places": ints(places),
                "ids": uuids(batch[place].id for place in places),
                "workspaces": uuids(batch[place].workspace_id for place in places),
                "keys": texts(key.key if key else None for key in keys.values()),
            },
        )
        answers = {row[0]: reading.accepted_from(row, keys[row[0]], batch[row[0]].id) for row in rows}
        return {place: answer for place, answer in answers.items() if answer is not None}

    async def _read(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Fetch what changes nothing, so that it may be asked again: a restart breaks every connection of the pool at once."""
        try:
            return await self._fetch(statement, parameters)
        except StoreUnavailable:
            with outages():
                await self._pool.check()
            return await self._fetch(statement, parameters)

    async def _fetch(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        async with connection_of(self._pool) as connection:
            done = await connection.execute(statement, parameters)
            return await done.fetchall()

    async def _fetch_of(
        self, workspace_id: UUID, execution_id: UUID, statement: str, parameters: Mapping[str, Any]
    ) -> list[tuple[Any, ...]]:
        if not await self._read(reading.EXISTS, {"id": execution_id, "workspace": workspace_id}):
            raise reading.absent(execution_id)
        return await self._read(statement, parameters)


def _may_be_there(answer: Accepted | None, new: NewExecution) -> bool:
    """Whether what was not inserted now may have been accepted before."""
    if answer is None or answer.outcome is Outcome.OUTDATED:
        return True
    return answer.outcome is Outcome.NO_WORKFLOW and new.idempotency is not None


def _verdict(part: Flush, standing: tuple[int, int] | None) -> Verdict:
    """Judge a part that was not written now: same epoch and all its events there means written before."""
    if standing is None or standing[0] != part.epoch or standing[1] < last_seq_after(part):
        return Verdict.FENCED
    return Verdict.COMMITTED


def misplaced(kind: SignalKind, status: ExecutionStatus) -> Conflict:
    """Return what to say of a signal that does not apply in this state."""
    if status.terminal:
        message = f"the execution is {status.value} already"
    elif kind is SignalKind.PAUSE:
        message = "the execution is paused already"
    else:
        message = f"the execution is {status.value} and nobody has asked for it to pause"
    return Conflict(message, fields={"state": status.value})
