"""Errors survive pickling, events survive their JSON, ids are UUIDv7, and the generated page is fresh."""

import pickle
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow import errors
from workflow.events import (
    MESSAGE_CHARS_MAX,
    CancelRequested,
    ExecutionFinished,
    ExecutionResumed,
    ExecutionStarted,
    NodeCompleted,
    NodeFailed,
    NodeStarted,
    from_body,
    to_body,
)
from workflow.ids import uuid7, uuid7_ms
from workflow.states import EXECUTION_TRANSITIONS, NODE_TRANSITIONS, SETTLED, TERMINAL, ExecutionStatus
from workflow.states_page import page


def tree(root: type) -> list[type]:
    return [root, *(below for child in root.__subclasses__() for below in tree(child))]


@pytest.mark.parametrize("kind", tree(errors.RayloomError))
def test_every_error_survives_pickling(kind: type[errors.RayloomError]):
    error = kind("what happened", "a_code", {"n": 1, "list": ["x"]})

    copy = pickle.loads(pickle.dumps(error))

    assert copy == error
    assert (copy.code, copy.fields, str(copy)) == ("a_code", {"n": 1, "list": ["x"]}, "what happened")


def test_codes_are_stable_and_unique():
    codes = [kind.default_code for kind in tree(errors.RayloomError)]

    assert len(codes) == len(set(codes))


@pytest.mark.parametrize(
    "event",
    [
        ExecutionStarted(at_ms=1, epoch=1),
        ExecutionResumed(at_ms=2, epoch=3),
        NodeStarted(at_ms=3, node_id="a", run_index=0, attempt=1),
        NodeCompleted(at_ms=4, node_id="a", run_index=0, attempt=2, handles={"main": 3}, duration_ms=1.5),
        NodeFailed(at_ms=5, node_id="a", run_index=0, attempt=1, code="boom", message="it broke", duration_ms=0),
        CancelRequested(at_ms=6, by="me"),
        ExecutionFinished(at_ms=7, status=ExecutionStatus.FAILED, code="boom", message="it broke", node_id="a"),
        ExecutionFinished(at_ms=8, status=ExecutionStatus.COMPLETED),
    ],
)
def test_an_event_survives_its_json(event):
    body = orjson.loads(orjson.dumps(to_body(event)))

    assert from_body(event.kind, event.at_ms, body) == event


def test_a_long_message_is_cut_so_that_a_body_stays_small():
    event = NodeFailed(
        at_ms=1, node_id="a" * 100, run_index=0, attempt=1, code="boom", message="x" * 10_000, duration_ms=1
    )

    assert len(to_body(event)["message"]) == MESSAGE_CHARS_MAX
    assert len(orjson.dumps(to_body(event))) <= 1024


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_an_id_carries_its_time_and_its_version(at_ms: int, chance: bytes):
    made = uuid7(at_ms, chance)

    assert uuid7_ms(made) == at_ms
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"


def test_nothing_leaves_a_terminal_status():
    assert not {source for source, _ in EXECUTION_TRANSITIONS} & TERMINAL
    assert not {source for source, _ in NODE_TRANSITIONS} & SETTLED


def test_the_states_page_is_fresh():
    assert Path("docs/states.md").read_text() == page(), "run `make docs`"
