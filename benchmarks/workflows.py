"""The workflow documents that are measured."""

from typing import Any

FIBO = "def fibo(n):\n    return n if n < 2 else fibo(n - 1) + fibo(n - 2)\nreturn {'value': fibo(10)}"
BUSY = "total = 0\nfor i in range(ITERATIONS):\n    total += i % 7\nreturn {'total': total}"


def set_if_set() -> dict[str, Any]:
    """Return set -> if -> set: one node on each of the three that matter, expressions included."""
    nodes = [
        _node("first", "data.set", {"values": {"total": "{{ $json.amount }}", "kind": "order"}}),
        _node(
            "large", "logic.if", {"conditions": [{"left": "{{ $json.total }}", "operator": "greater_than", "right": 5}]}
        ),
        _node("last", "data.set", {"values": {"large": True, "total": "{{ $json.total }}"}}),
    ]
    connections = [
        {"source": "first", "target": "large"},
        {"source": "large", "target": "last", "sourceHandle": "true"},
    ]
    return {"name": "bench set-if-set", "nodes": nodes, "connections": connections}


def chain(length: int, code: str, resources: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return so many code nodes, one after the other."""
    nodes = [_node(f"n{i}", "action.code", {"code": code}, resources) for i in range(length)]
    connections = [{"source": f"n{i}", "target": f"n{i + 1}"} for i in range(length - 1)]
    return {"name": f"bench chain of {length}", "nodes": nodes, "connections": connections}


def fan_out(width: int, code: str, resources: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a start node and so many code nodes beside each other."""
    nodes = [_node("start", "data.set", {"values": {"ready": True}})]
    nodes += [_node(f"n{i}", "action.code", {"code": code}, resources) for i in range(width)]
    connections = [{"source": "start", "target": f"n{i}"} for i in range(width)]
    return {"name": f"bench fan-out of {width}", "nodes": nodes, "connections": connections}


def short_wait(seconds: float) -> dict[str, Any]:
    """Return one node that waits: it holds a slot and takes no processor."""
    return {
        "name": "bench wait",
        "nodes": [_node("w", "logic.wait", {"duration": {"amount": seconds, "unit": "seconds"}})],
    }


def long_computation(seconds: float) -> dict[str, Any]:
    """Return one code node that computes until its time is over: it holds a slot, and a process where it has its turn."""
    compute = {
        **_node("c", "action.code", {"code": "n = 0\nwhile True:\n    n += 1"}),
        "timeout_ms": int(seconds * 1000),
    }
    return {"name": "bench long", "nodes": [compute]}


def busy(iterations: int) -> str:
    """Return code that is busy for so many rounds."""
    return BUSY.replace("ITERATIONS", str(iterations))


def _node(identity: str, kind: str, config: dict[str, Any], resources: dict[str, Any] | None = None) -> dict[str, Any]:
    node = {"id": identity, "type": kind, "config": config}
    return {**node, "resources": resources} if resources else node
