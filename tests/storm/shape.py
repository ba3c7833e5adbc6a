"""What a kind of workflow of the load is, what is known of an execution of it from outside, and how its document is drawn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

from tests.chaos.work import node

Given = list[dict[str, Any]]
Output = dict[str, Any]
Run = tuple[str, int]
"""A node and the index of its run."""


class Answers(Protocol):
    """The serial number in the committed output of each run of each effect."""

    def __getitem__(self, run: Run, /) -> int: ...


@dataclass(frozen=True, slots=True)
class Facts:
    """What an output may rest on: what the sink answered, what people decided (by node), what became of children, by place."""

    answers: Mapping[Run, int]
    decisions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    children: Sequence["Facts"] = ()

    def __getitem__(self, run: Run) -> int:
        return self.answers[run]


@dataclass(frozen=True)
class Shape:
    """One kind of workflow. `runs` names its effects by node and run index; `refused` those that the sink refuses.

    `perhaps` are effects that may end without an answer: somebody decided otherwise, or nobody knows. `waits_ms` says how long
    nodes wait at least, `asks` how many requests are answered, `child` the shape whose workflow it executes. What has no
    weight is executed by others only.
    """

    name: str
    weight: int
    document: dict[str, Any]
    given: Callable[[int, str], Given]
    expected: Callable[[Given, Any], Output]
    runs: tuple[Run, ...]
    refused: frozenset[str] = frozenset()
    perhaps: frozenset[str] = frozenset()
    waits_ms: Mapping[str, int] = field(default_factory=dict)
    asks: frozenset[str] = frozenset()
    once: frozenset[str] = frozenset()
    """Effects that are started at most once."""
    child: str = ""


def one(n: int, tenant: str) -> Given:
    """Return an input of one item."""
    return [{"n": n, "t": tenant}]


def post(
    port: int, shape: str, node_id: str, mood: str = "", kind: str = "action.http", **fields: Any
) -> dict[str, Any]:
    """Return a node that has an effect at the sink."""
    query = "?n={{ $json.n }}&t={{ $json.t }}&ms={{ $json.ms }}" + (f"&mood={mood}" if mood else "")
    url = f"http://127.0.0.1:{port}/{shape}/{node_id}{query}"
    return {**node(node_id, kind, method="POST", url=url), **fields}


def setting(node_id: str, **values: Any) -> dict[str, Any]:
    """Return a node that sets fields."""
    return node(node_id, "data.set", values=values)


def python(node_id: str, code: str, **resources: Any) -> dict[str, Any]:
    """Return a node that runs Python."""
    return node(node_id, "action.code", resources, code=code, language="python")


def javascript(node_id: str, code: str) -> dict[str, Any]:
    """Return a node that runs JavaScript."""
    return node(node_id, "action.code", code=code, language="javascript")


def drawn(name: str, nodes: list[dict[str, Any]], drawing: str) -> dict[str, Any]:
    """Return a workflow drawn as `a -> b:handle -> c; …`, behind a trigger called start."""
    connections = []
    for line in drawing.split(";"):
        ends = [end.strip().partition(":") for end in line.split("->")]
        for (source, _, handle), (target, _, _) in pairwise(ends):
            connections.append({"source": source, "sourceHandle": handle or "main", "target": target})
    return {"name": name, "nodes": [node("start", "trigger.manual"), *nodes], "connections": connections}


def js_number(number: float) -> int | float:
    """Return a number as JSON of JavaScript shows it: without a fraction where there is none."""
    return int(number) if number == int(number) else number
