"""The items of one execution: what each node gave, what the next one gets, and the rows that keep it."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from actors.dispatch import Outcome
from workflow.errors import NodeError
from workflow.graph import ends
from workflow.plan import Plan, PlanNode
from workflow.ports import NodeRow
from workflow.spec import Item, Items, Outputs
from workflow.states import NodeStatus
from workflow.values import encode

TEXT_CHARS_MAX = 65_536


class Results:
    """Items by node. Lists are shared between consumers; node types do not change what they are given."""

    def __init__(self, plan: Plan, input_json: bytes) -> None:
        self._plan = plan
        self._input = input_items(orjson.loads(input_json))
        self._input_bytes = len(input_json)
        self._outputs: dict[int, Outputs] = {}
        self._bytes: dict[int, int] = {}

    @property
    def completed_count(self) -> int:
        """How many nodes have completed."""
        return len(self._outputs)

    def inputs(self, node: PlanNode) -> tuple[Items, int]:
        """Return the items that a node starts with, in the order of its connections, and their size in bytes of JSON."""
        if node.start:
            return self._input, self._input_bytes
        live = [e for e in node.inputs if self._outputs.get(e.source, {}).get(e.source_handle)]
        size = sum(self._bytes[e.source] for e in live)
        if len(live) == 1:
            return self._outputs[live[0].source][live[0].source_handle], size
        return [item for e in live for item in self._outputs[e.source][e.source_handle]], size

    def accept(self, index: int, outputs: Mapping[str, Items], bytes_max: int) -> tuple[dict[str, int], bytes]:
        """Take a node's outputs: return the items by handle and the JSON. Raises `NodeError` or `BadInput` for what cannot be kept."""
        node = self._plan.nodes[index]
        check_outputs(node, outputs)
        data = encode(outputs)
        if len(data) > bytes_max:
            message = (
                f"the output of {node.id!r} is {len(data)} bytes of JSON, more than the {bytes_max} that are allowed"
            )
            raise NodeError(message, "output_too_large")
        self._outputs[index] = dict(outputs)
        self._bytes[index] = len(data)
        return {handle: len(items) for handle, items in outputs.items()}, data

    def restore(self, rows: Iterable[NodeRow]) -> None:
        """Take up what former owners have written."""
        for row in rows:
            if row.status is NodeStatus.COMPLETED and row.output is not None:
                index = self._plan.by_id[row.node_id]
                self._outputs[index] = orjson.loads(row.output)
                self._bytes[index] = len(row.output)

    def output(self, bytes_max: int) -> bytes:
        """Return the execution's output: what the first node that responds gave, else the items of each end by node id."""
        for index, outputs in sorted(self._outputs.items()):
            if self._plan.nodes[index].type.spec.responds:
                return orjson.dumps(outputs["main"][0]["json"]["body"])
        last = [index for index in ends(self._plan) if index in self._outputs]
        size = sum(self._bytes[index] for index in last)
        if size > bytes_max:
            message = f"the output of the execution is {size} bytes of JSON, more than the {bytes_max} that are allowed"
            raise NodeError(message, "output_too_large")
        found = {
            self._plan.nodes[i].id: [item["json"] for items in self._outputs[i].values() for item in items]
            for i in last
        }
        return orjson.dumps(found)

    def started(self, index: int, attempt: int, now_ms: int) -> NodeRow:
        """Return the row of an attempt under way."""
        return self._row(index, NodeStatus.RUNNING, attempt, now_ms, None)

    def completed(
        self, index: int, attempt: int, outcome: Outcome, data: bytes, times_ms: tuple[int, int], duration_ms: float
    ) -> NodeRow:
        """Return the row of a result; `times_ms` are start and end."""
        return self._row(
            index,
            NodeStatus.COMPLETED,
            attempt,
            *times_ms,
            duration_ms=duration_ms,
            output=data,
            logs=readable(outcome.logs),
            placement=outcome.placement.value,
            pid=outcome.pid,
            host=outcome.host,
        )

    def failed(
        self, index: int, attempt: int, error: NodeError, times_ms: tuple[int, int], duration_ms: float
    ) -> NodeRow:
        """Return the row of a failure; `times_ms` are start and end."""
        return self._row(
            index,
            NodeStatus.FAILED,
            attempt,
            *times_ms,
            duration_ms=duration_ms,
            error_code=error.code,
            error_message=readable(error.message),
            logs=readable(str(error.fields.get("logs", ""))),
        )

    def cancelled(self, index: int, attempt: int, now_ms: int) -> NodeRow:
        """Return the row of an attempt that was aborted."""
        return self._row(index, NodeStatus.CANCELLED, attempt, None, now_ms)

    def skipped(self, index: int) -> NodeRow:
        """Return the row of a node that nothing can reach."""
        return self._row(index, NodeStatus.SKIPPED, 0, None, None)

    def _row(
        self,
        index: int,
        status: NodeStatus,
        attempt: int,
        started_ms: int | None,
        completed_ms: int | None,
        **rest: Any,
    ) -> NodeRow:
        node = self._plan.nodes[index]
        return NodeRow(
            node_id=node.id,
            run_index=0,
            node_type=node.type.spec.type,
            node_name=node.name,
            status=status,
            attempt=attempt,
            started_ms=started_ms,
            completed_ms=completed_ms,
            **rest,
        )


def input_items(value: Any) -> Items:
    """Return an execution's input as items: an object is one, a list of objects that many, null is one empty object."""
    if isinstance(value, list):
        return [Item(json=entry) for entry in value]
    return [Item(json=value if value is not None else {})]


def check_outputs(node: PlanNode, outputs: Any) -> None:
    """Raise `NodeError` unless these are items on handles that the node has."""
    known = node.type.spec.outputs
    fine = isinstance(outputs, dict) and all(
        handle in known
        and isinstance(items, list)
        and all(isinstance(i, dict) and isinstance(i.get("json"), dict) for i in items)
        for handle, items in outputs.items()
    )
    if not fine:
        raise NodeError(
            f"{node.id!r} did not return lists of items on its handles {', '.join(known)}", "outputs_invalid"
        )


def readable(text: str) -> str:
    """Return the text as PostgreSQL can keep it: no NUL, no lone surrogates, not endless."""
    clean = text.encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")
    return clean if len(clean) <= TEXT_CHARS_MAX else clean[:TEXT_CHARS_MAX] + " … (cut)"
