"""Wake-ups: coalesced, and heard again after the connection broke."""

import asyncio

from store.notifications import EVENTS_CHANNEL, QUEUE_CHANNEL, Listener, Notifier, ids_in
from tests.conftest import run_sql
from tests.contract.making import an_id

LISTENERS = "FROM pg_stat_activity WHERE application_name = 'rayloom-listener' AND datname = current_database()"


async def test_notifications_are_coalesced_and_heard(dsn: str) -> None:
    heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    async def on_queue(payload: str) -> None:
        await heard.put((QUEUE_CHANNEL, payload))

    async def on_events(payload: str) -> None:
        await heard.put((EVENTS_CHANNEL, payload))

    listener = Listener(dsn, {QUEUE_CHANNEL: on_queue, EVENTS_CHANNEL: on_events})
    listener.start()
    beginnings = [await heard.get(), await heard.get()]
    notifier = Notifier(dsn)
    ids = [an_id() for _ in range(300)]
    for identity in ids:
        notifier.notify(EVENTS_CHANNEL, identity)
        notifier.notify(QUEUE_CHANNEL)
    await notifier.close()
    messages = [await heard.get() for _ in range(3)]
    await listener.close()

    assert beginnings == [(QUEUE_CHANNEL, ""), (EVENTS_CHANNEL, "")]
    named = [identity for channel, payload in messages if channel == EVENTS_CHANNEL for identity in ids_in(payload)]
    assert sorted(named) == sorted(ids)
    assert [payload for channel, payload in messages if channel == QUEUE_CHANNEL] == [""]


async def test_a_listener_comes_back_and_asks_to_look_again(dsn: str) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    listener = Listener(dsn, {QUEUE_CHANNEL: heard.put})
    listener.start()
    assert await heard.get() == ""
    await asyncio.to_thread(run_sql, dsn, f"SELECT pg_terminate_backend(pid) {LISTENERS}")

    assert await heard.get() == "", "after a reconnection something may have been missed"
    assert listener.last_error is not None
    await listener.close()


async def test_a_notifier_without_a_database_neither_waits_nor_fails(dsn: str) -> None:
    notifier = Notifier(dsn.rpartition("@")[0] + "@127.0.0.1:1/x")
    notifier.notify(QUEUE_CHANNEL)
    await notifier.close()

    run_sql(dsn, "SELECT 1")
