"""Wake-ups through LISTEN and NOTIFY: hints, never truth. Every receiver also polls, so a lost one costs time only.

A notifying commit takes a lock of the whole database, so notifications never ride in a hot transaction: a `Notifier`
gathers them on a connection of its own and sends each channel's at most once per 10 ms, and less often when many come.
"""

import asyncio
import contextlib
import contextvars
from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.rows import TupleRow

QUEUE_CHANNEL = "rayloom_queue"
"""Something was queued or became claimable; the payload names nothing."""
EVENTS_CHANNEL = "rayloom_events"
"""Executions have new events; the payload is their ids, comma-separated."""
FOLLOW_CHANNEL = "rayloom_follow"
"""Somebody begins to follow executions; the payload is their ids."""
FOLLOWING_CHANNEL = "rayloom_following"
"""Somebody goes on to follow executions; the payload is their ids."""

NOTIFY = "SELECT pg_notify(channel, payload) FROM unnest(%s::text[], %s::text[]) AS notice (channel, payload)"
INTERVAL_MS = 10
CROWD = 16
"""With more hints than this in one sending, the next one waits `CROWDED_TIMES` as long: then nobody is the first to ask."""
CROWDED_TIMES = 10
PAYLOAD_BYTES_MAX = 7_500
PENDING_IDS_MAX = 20_000
RECONNECT_MS = 500
CONNECT_TIMEOUT_S = 5


class Sending:
    """Sends what a subclass has pending on a connection of its own, again and again; while the database is away it is lost."""

    def __init__(self, dsn: str, *, application_name: str) -> None:
        self._dsn = dsn
        self._application_name = application_name
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def _taken(self) -> tuple[list[tuple[str, str]], float]:
        """Take what is pending: (channel, payload) of each notification, and how many milliseconds the next sending waits."""
        raise NotImplementedError

    def _is_pending(self) -> bool:
        raise NotImplementedError

    def _begin(self) -> None:
        """Have what has become pending sent soon."""
        self._arrived.set()
        if self._task is None and not self._closing:
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name=self._application_name, context=contextvars.Context()
            )

    async def close(self) -> None:
        """Send what is pending, then end."""
        self._closing = True
        self._arrived.set()
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _run(self) -> None:
        connection: AsyncConnection[TupleRow] | None = None
        while self._is_pending() or not self._closing:
            self._arrived.clear()
            if not self._is_pending():
                await self._arrived.wait()
                continue
            notices, pause_ms = self._taken()
            try:
                connection = connection or await connect(self._dsn, self._application_name)
                channels, texts = zip(*notices, strict=True)
                await connection.execute(NOTIFY, (list(channels), list(texts)))
            except (psycopg.Error, OSError):
                if connection is not None:
                    await connection.close()
                connection = None
                pause_ms = RECONNECT_MS
            if not self._closing:
                await asyncio.sleep(pause_ms / 1000)
        if connection is not None:
            await connection.close()


class Notifier(Sending):
    """Sends coalesced notifications. `notify` never waits nor fails; while the database is away, hints are lost."""

    def __init__(self, dsn: str, *, application_name: str = "rayloom-notifier", interval_ms: int = INTERVAL_MS) -> None:
        super().__init__(dsn, application_name=application_name)
        self._interval_ms = interval_ms
        self._pending: dict[str, set[UUID]] = {}
        self._hints = 0

    def notify(self, channel: str, identity: UUID | None = None) -> None:
        """Have the channel's listeners woken soon, with this id in the payload where one is given."""
        ids = self._pending.setdefault(channel, set())
        if identity is not None and len(ids) < PENDING_IDS_MAX:
            ids.add(identity)
        self._hints += 1
        self._begin()

    def _is_pending(self) -> bool:
        return bool(self._pending)

    def _taken(self) -> tuple[list[tuple[str, str]], float]:
        batch, self._pending = self._pending, {}
        crowded, self._hints = self._hints > CROWD, 0
        notices = [(channel, payload) for channel, ids in batch.items() for payload in payloads(ids)]
        return notices, self._interval_ms * (CROWDED_TIMES if crowded else 1)


async def connect(dsn: str, application_name: str) -> AsyncConnection[TupleRow]:
    """Return a connection that sends notifications. Raises `psycopg.Error`."""
    return await AsyncConnection.connect(
        dsn,
        autocommit=True,
        application_name=application_name,
        connect_timeout=CONNECT_TIMEOUT_S,
        options="-c synchronous_commit=off -c statement_timeout=5000",
    )


class Listener:
    """Calls back for every notification on its channels; `start` begins, `close` ends. It reconnects for ever.

    After each (re)connection every callback is called once with an empty payload: something may have been missed.
    """

    def __init__(
        self,
        dsn: str,
        callbacks: Mapping[str, Callable[[str], Awaitable[None]]],
        *,
        application_name: str = "rayloom-listener",
    ) -> None:
        self._dsn = dsn
        self._callbacks = dict(callbacks)
        self._application_name = application_name
        self._task: asyncio.Task[None] | None = None
        self._last_error: Exception | None = None

    @property
    def last_error(self) -> Exception | None:
        """What ended the last connection, if anything did."""
        return self._last_error

    def start(self) -> None:
        """Begin to listen, in a task of its own."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(
                self._run(), name="listener", context=contextvars.Context()
            )

    async def close(self) -> None:
        """Stop listening."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        while True:
            try:
                await self._listen()
            except Exception as error:  # noqa: BLE001 (neither an outage nor a callback's fault may end the listening)
                self._last_error = error
            await asyncio.sleep(RECONNECT_MS / 1000)

    async def _listen(self) -> None:
        connection = await AsyncConnection.connect(
            self._dsn,
            autocommit=True,
            application_name=self._application_name,
            connect_timeout=CONNECT_TIMEOUT_S,
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
        )
        async with connection:
            for channel in self._callbacks:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            for callback in self._callbacks.values():
                await callback("")
            async for notification in connection.notifies():
                await self._callbacks[notification.channel](notification.payload)


def payloads(ids: set[UUID]) -> list[str]:
    """Return comma-separated ids in pieces that fit a notification; one empty piece when there are none."""
    per_piece = PAYLOAD_BYTES_MAX // 37
    ordered = sorted(ids)
    pieces = [ordered[start : start + per_piece] for start in range(0, len(ordered), per_piece)]
    return [",".join(map(str, piece)) for piece in pieces] or [""]


def ids_in(payload: str) -> list[UUID]:
    """Return the ids that a payload names."""
    return [UUID(part) for part in payload.split(",") if part]
