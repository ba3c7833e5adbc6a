"""Other spellings of the document: those of the two seed documents and of their programs. One spelling is stored.

Accepted: `edges` for `connections`; `parameters`, or React Flow's `data`, for a node's `config`, and a name beside it (`label`);
`sourceNodeId`, `source_node_id`, `sourceHandle`, `source_handle` and the same for targets; a connection's own `id`; the node fields
`retryOnFail` with `maxRetries`, `continueOnFail`, `timeout` (ms); positions as `[x, y]`. Where both spellings stand, ours wins and
the other is left to be refused.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_DOCUMENT: Mapping[str, str] = MappingProxyType({"edges": "connections", "workflow_settings": "settings"})
_NODE: Mapping[str, str] = MappingProxyType({"parameters": "config", "label": "name", "timeout": "timeout_ms"})
_CONNECTION: Mapping[str, str] = MappingProxyType(
    {
        "source_node_id": "source",
        "target_node_id": "target",
        "sourceNodeId": "source",
        "targetNodeId": "target",
        "source_handle": "sourceHandle",
        "target_handle": "targetHandle",
    }
)


def respell(value: Any) -> Any:
    """Return the document in our spelling; what is not understood is left as it is, for the models to refuse."""
    if not isinstance(value, dict):
        return value
    found = _renamed(value, _DOCUMENT)
    nodes, connections = found.get("nodes"), found.get("connections")
    if isinstance(nodes, list):
        found["nodes"] = [_node(node) for node in nodes]
    if isinstance(connections, list):
        found["connections"] = [_connection(connection) for connection in connections]
    return found


def _renamed(value: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names[key] if key in names and names[key] not in value else key: part for key, part in value.items()}


def _node(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    found = _renamed(value, _NODE)
    data = found.get("data")
    if isinstance(data, dict) and "config" not in found:
        del found["data"]
        if "label" in data and "name" not in found:
            found["name"] = data["label"]
        inner = data.get("config", {key: part for key, part in data.items() if key not in ("label", "nodeType")})
        found["config"] = inner
        if isinstance(data.get("nodeType"), str):
            found["type"] = data["nodeType"]
    position = found.get("position")
    if isinstance(position, list) and len(position) == 2:
        found["position"] = {"x": position[0], "y": position[1]}
    if isinstance(found.get("continueOnFail"), bool) and "on_error" not in found:
        found["on_error"] = "continue" if found.pop("continueOnFail") else "stop"
    if isinstance(found.get("retryOnFail"), bool) and "retry" not in found:
        retries = found.pop("maxRetries", 3)
        again = found.pop("retryOnFail")
        found["retry"] = {"max_attempts": retries + 1 if isinstance(retries, int) else retries} if again else None
    return found


def _connection(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    found = _renamed(value, _CONNECTION)
    found.pop("id", None)
    for handle in ("sourceHandle", "targetHandle"):
        if found.get(handle) is None:
            found.pop(handle, None)
    return found
