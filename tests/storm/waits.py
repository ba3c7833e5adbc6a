"""Timers and pauses: nothing goes on too early, nothing begins while it is paused, and what was done is not done again. Pure."""

from collections.abc import Iterator, Mapping

from tests.storm.evidence import Event, Story
from tests.storm.shape import Shape
from tests.storm.sink import Seen

WORK = frozenset({"node.started", "node.completed", "node.failed"})
GOES_ON = frozenset({"execution.resume_requested", "execution.cancel_requested", "execution.time_over"})


def timers(told: Story, shape: Shape) -> Iterator[str]:
    """Hold every wake-up by time against the time that was set, and that against how long the node is to wait."""
    sources = {each["target"]: each["source"] for each in shape.document["connections"]}
    settled_ms: dict[str, int] = {}
    until_ms: dict[str, int] = {}
    for event in told.events:
        if event.kind == "node.completed":
            settled_ms[event.node_id] = event.at_ms
            if event.node_id in shape.waits_ms and event.at_ms < until_ms.get(event.node_id, 2**63):
                yield f"{event.node_id} went on at {event.at_ms}, before {until_ms.get(event.node_id)}"
        elif event.kind == "node.waiting" and event.body.get("until_ms"):
            until_ms[event.node_id] = event.body["until_ms"]
            begun_ms, wait_ms = settled_ms.get(sources.get(event.node_id, ""), 0), shape.waits_ms.get(event.node_id, 0)
            if event.body["until_ms"] < begun_ms + wait_ms:
                yield f"{event.node_id} is to wait {wait_ms} ms from {begun_ms} on, it waits until {event.body['until_ms']}"
        elif (
            event.kind == "node.woken"
            and event.body["cause"] == "time"
            and event.at_ms < until_ms.get(event.node_id, 0)
        ):
            yield f"{event.node_id} was woken at {event.at_ms}, before {until_ms[event.node_id]}"


def lateness_ms(told: Story) -> Iterator[int]:
    """Return how late each timer was, of those that had come while nothing was paused."""
    until_ms: dict[str, int] = {}
    for event in told.events:
        if event.kind == "execution.paused":
            return
        if event.kind == "node.waiting":
            until_ms[event.node_id] = event.body.get("until_ms", 0)
        elif event.kind == "node.woken" and event.body["cause"] == "time":
            yield event.at_ms - until_ms[event.node_id]


def pauses(told: Story, seen: Mapping[str, list[Seen]]) -> Iterator[str]:
    """Hold what happened after each pause against the pause: no work in it, and no request for what was settled before it."""
    paused: Event | None = None
    settled: set[str] = set()
    for event in told.events:
        if event.kind == "execution.paused":
            paused = event
            for key in sorted(settled):
                if late := [each for each in seen.get(key, ()) if each.at_s * 1000 > event.at_ms]:
                    yield f"{key} was settled before a pause at {event.at_ms}, and requested again at {late[0].at_s}"
        elif event.kind in GOES_ON:
            paused = None
        elif event.kind in WORK and paused is not None:
            yield f"{event.node_id} has {event.kind} while it is paused"
        if event.kind == "node.completed":
            settled.add(f"{told.id}:{event.node_id}:{event.body['run_index']}:0")
