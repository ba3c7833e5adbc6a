"""What a task's worker gives back: outputs with their JSON, already checked, or the failure as a value."""

import orjson
import pytest

from actors.ids import new_id
from actors.process import TaskHost
from actors.results import Results
from actors.wire import COPIED_BYTES_MAX, carried, pack, unpack
from actors.work import Outcome, SandboxElsewhere, TaskCall
from tests.graphs import graph
from workflow.errors import NodeError
from workflow.spec import Config, NodeContext


def call(values: dict) -> TaskCall:
    context = NodeContext(
        execution_id=new_id(),
        workflow_id=None,
        workflow_name="w",
        node_id="a",
        run_index=0,
        attempt=1,
        timeout_ms=5_000,
        sandbox=SandboxElsewhere(),
    )
    items = [{"json": {"n": 1}}]
    return TaskCall(
        node_type="data.set", context=context, config=Config({"values": values}), items=items, cpu=1, memory_bytes=0
    )


def test_the_outputs_come_with_their_json():
    done = TaskHost(host="here", pid=1).run(call({"x": 2}))

    assert isinstance(done, Outcome)
    assert orjson.loads(done.data) == done.outputs
    assert done.outputs["main"][0]["json"] == {"n": 1, "x": 2}


@pytest.mark.parametrize(("value", "code"), [(float("nan"), "nan_not_allowed"), ("a\x00b", "nul_not_allowed")])
def test_what_cannot_be_kept_is_refused_where_it_was_made(value: object, code: str):
    refused = TaskHost(host="here", pid=1).run(call({"x": value}))

    assert isinstance(refused, NodeError)
    assert (refused.code, refused.retryable) == (code, False)


def test_json_from_elsewhere_is_kept_as_it_came():
    results = Results(graph("a -> b"), b"{}")
    outputs = {"main": [{"json": {"n": 1.0}}]}

    assert results.accept(0, 0, outputs, 10_000, b'{"main": [{"json": {"n": 1.0}}]}') == (
        {"main": 1},
        b'{"main": [{"json": {"n": 1.0}}]}',
    )
    with pytest.raises(NodeError, match="more than"):
        results.accept(0, 0, outputs, 10, b'{"main": [{"json": {"n": 1.0}}]}')


def test_small_calls_travel_as_bytes_and_large_ones_as_a_buffer():
    small, large = pack("x"), pack("x" * COPIED_BYTES_MAX)

    assert carried(small) is small
    assert unpack(memoryview(carried(large))) == "x" * COPIED_BYTES_MAX
