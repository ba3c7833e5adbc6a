"""The node executions of an execution as rows for people: the runs of a node in a loop are one row."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

MESSAGE_CHARS_MAX = 160
ERROR_HANDLE = "error"


@dataclass(slots=True)
class NodeRow:
    """All runs of one node."""

    name: str
    type: str
    statuses: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    attempts: int = 0
    items: int = 0
    failed_items: int = 0
    duration_ms: float | None = None
    places: dict[str, None] = field(default_factory=dict)
    """Where it ran, in order."""
    errors: list[str] = field(default_factory=list)

    def add(self, node: Mapping[str, Any]) -> None:
        """Take one run."""
        self.statuses[str(node.get("status", ""))] += 1
        self.runs += 1
        self.attempts += int(node.get("attempt") or 0)
        outputs = node.get("output") or {}
        counts = {handle: len(items) for handle, items in outputs.items() if isinstance(items, list)}
        self.items += sum(counts.values())
        if node.get("status") == "completed":
            self.failed_items += counts.get(ERROR_HANDLE, 0)
        if node.get("duration_ms") is not None:
            self.duration_ms = (self.duration_ms or 0.0) + float(node["duration_ms"])
        if place := str(node.get("placement") or ""):
            self.places[f"task {node.get('pid')}" if place == "task" else place] = None
        if message := str((node.get("error") or {}).get("message", "")):
            self.errors.append(message)

    @property
    def worst(self) -> str:
        """The status that the row has the colour of."""
        order = ("failed", "timeout", "cancelled", "running", "completed")
        return next((status for status in order if self.statuses[status]), next(iter(self.statuses), ""))

    def status(self, *, went_on: bool) -> str:
        """Return how its runs ended; `went_on` says that the execution did in spite of failures."""
        words = {name: f"{name} (handled)" if name == "failed" and went_on else name for name in self.statuses}
        counted = [f"{self.statuses[name]} {word}" if len(words) > 1 else word for name, word in words.items()]
        text = ", ".join(counted)
        if self.failed_items:
            text += f", {self.failed_items} of {self.items} items failed"
        return text

    @property
    def where(self) -> str:
        """The processes that it ran in."""
        return ", ".join(self.places)

    @property
    def error(self) -> str:
        """The first error, and how many more there are."""
        if not self.errors:
            return ""
        first = " ".join(self.errors[0].split())
        if len(first) > MESSAGE_CHARS_MAX:
            first = first[: MESSAGE_CHARS_MAX - 1] + "…"
        more = len(self.errors) - 1
        return f"{first} (and {more} more)" if more else first


def node_rows(nodes: Iterable[Mapping[str, Any]]) -> list[NodeRow]:
    """Return a row for each node, in the order in which the nodes first ended."""
    rows: dict[str, NodeRow] = {}
    for node in nodes:
        key = str(node.get("node_id"))
        if key not in rows:
            rows[key] = NodeRow(str(node.get("node_name") or key), str(node.get("node_type", "")))
        rows[key].add(node)
    return list(rows.values())


def tasks_line(nodes: Iterable[Mapping[str, Any]]) -> str:
    """Return a sentence about the Ray tasks, if there were several."""
    tasks = [(node.get("host"), node.get("pid")) for node in nodes if node.get("placement") == "task"]
    if len(tasks) < 2:
        return ""
    hosts = len({host for host, _ in tasks})
    place = f" on {hosts} hosts" if hosts > 1 else ""
    processes = len(set(tasks))
    return f"{len(tasks)} Ray tasks in {processes} {'process' if processes == 1 else 'processes'}{place}"
