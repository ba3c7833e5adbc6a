"""What the workflows of the load are drawn with, and what is known of each kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests.chaos.work import node

Given = list[dict[str, Any]]
Answers = Mapping[tuple[str, int], Any]
"""What the world outside has given to each run, by node and run index: for an effect the serial number in its committed output,
for what was asked the `Decision`, for children the serial numbers in their effects' outputs, by place."""
Output = dict[str, Any]

CHILD_ID = "00000000-0000-7000-8000-000000000000"
"""Stands in a document for the id of the workflow that its children execute, until that is stored."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided, and by whom of those who answered."""

    action: str
    who: str


@dataclass(frozen=True, slots=True)
class Timer:
    """A node that waits between two effects: how long at least, by the input."""

    node: str
    after: str
    before: str
    wait_ms: Callable[[Given], int]


@dataclass(frozen=True)
class Shape:
    """One kind of workflow.

    `runs` names its effects by node and run index, `refused` those that the sink refuses, `asked` the runs that must be decided,
    `recovered` the nodes about whose failure people may be asked, `child` what it executes for every item, `calls` by which node.
    """

    name: str
    weight: int
    document: dict[str, Any]
    given: Callable[[int, str], Given]
    expected: Callable[[Given, Answers], Output]
    runs: tuple[tuple[str, int], ...]
    refused: frozenset[str] = frozenset()
    asked: tuple[tuple[str, int], ...] = ()
    recovered: frozenset[str] = frozenset()
    timers: tuple[Timer, ...] = ()
    child: "Shape | None" = None
    calls: str = ""

    @property
    def asks(self) -> bool:
        """Whether somebody must answer."""
        return bool(self.asked or self.recovered)


def ms_of(n: int, about: int) -> int:
    """Return a delay between half and one and a half of the usual one, always the same for an n."""
    return about // 2 + n * 7919 % max(about, 1)


def one(n: int, tenant: str) -> Given:
    """Return one item."""
    return [{"n": n, "t": tenant}]


def post(port: int, shape: str, node_id: str, mood: str = "", **fields: Any) -> dict[str, Any]:
    """Return an effect: a POST to the sink."""
    query = "?n={{ $json.n }}&t={{ $json.t }}&ms={{ $json.ms }}" + (f"&mood={mood}" if mood else "")
    url = f"http://127.0.0.1:{port}/{shape}/{node_id}{query}"
    return {**node(node_id, "action.http", method="POST", url=url), **fields}


def put(node_id: str, **values: Any) -> dict[str, Any]:
    """Return a node that sets fields."""
    return node(node_id, "data.set", values=values)


def python(node_id: str, code: str, **resources: Any) -> dict[str, Any]:
    """Return a code node."""
    return node(node_id, "action.code", resources, code=code, language="python")


def javascript(node_id: str, code: str) -> dict[str, Any]:
    """Return a code node."""
    return node(node_id, "action.code", code=code, language="javascript")


def drawn(name: str, nodes: list[dict[str, Any]], drawing: str) -> dict[str, Any]:
    """Return a workflow drawn as `a -> b:handle -> c; …`, behind a trigger called start."""
    connections = []
    for line in drawing.split(";"):
        ends = [end.strip().partition(":") for end in line.split("->")]
        for (source, _, handle), (target, _, _) in pairwise(ends):
            connections.append({"source": source, "sourceHandle": handle or "main", "target": target})
    return {"name": name, "nodes": [node("start", "trigger.manual"), *nodes], "connections": connections}
