"""What the command line shows: an execution while it runs, its nodes and output, problems, and the state of an
instance.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cluster.client import Message
from cluster.doctor import Check
from cluster.record import KeeperRecord
from workflow.errors import RayloomError

COLOURS: Mapping[str, str] = {
    "completed": "green",
    "ready": "green",
    "failed": "red",
    "timeout": "red",
    "cancelled": "yellow",
    "active": "green",
    "paused": "yellow",
    "archived": "bright_black",
    "skipped": "bright_black",
    "running": "cyan",
    "starting": "cyan",
    "degraded": "yellow",
    "down": "red",
}
FEED_LINES_MAX = 15
OUTPUT_CHARS_MAX = 4000


class LiveExecution:
    """An execution as its messages come in: a growing list of nodes, the youngest at the end."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=10, transient=True)
        self._nodes: dict[str, str] = {}
        self._last = ""

    def __enter__(self) -> "LiveExecution":
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def take(self, message: Message) -> None:
        """Show one message."""
        node = message.data.get("node_id")
        if node:
            self._nodes.pop(node, None)
            self._nodes[node] = message.kind.removeprefix("node.")
        self._last = message.kind
        self._live.update(self._view())

    def _view(self) -> RenderableType:
        rows = [status_text(status, f"{node}  {status}") for node, status in self._nodes.items()]
        return Group(*rows[-FEED_LINES_MAX:], Text(self._last, style="bold"))


def status_text(status: str, text: str | None = None) -> Text:
    """Return a status in its colour."""
    return Text(status if text is None else text, style=COLOURS.get(status, ""))


def nodes_table(nodes: Iterable[Mapping[str, Any]]) -> Table:
    """Return the node executions as a table."""
    table = Table("node", "type", "status", "attempt", "ms", "where", "error", header_style="bold")
    for node in nodes:
        duration = node.get("duration_ms")
        error = node.get("error") or {}
        table.add_row(
            Text(str(node.get("node_name") or node.get("node_id"))),
            Text(str(node.get("node_type", ""))),
            status_text(str(node.get("status", ""))),
            str(node.get("attempt", "")),
            "" if duration is None else f"{float(duration):.1f}",
            Text(str(node.get("placement") or "")),
            Text(str(error.get("message", ""))),
        )
    return table


def _readable(output: Any) -> str:
    """Return an output for people: a single text of several lines, such as a report, as it is; else indented JSON."""
    values = list(output.values()) if isinstance(output, dict) else []
    if len(values) == 1 and isinstance(values[0], str) and "\n" in values[0]:
        return values[0]
    return json.dumps(output, indent=2, ensure_ascii=False)


def show_execution(console: Console, execution: Mapping[str, Any], nodes: Iterable[Mapping[str, Any]]) -> None:
    """Print an execution that is over, or still goes on."""
    console.print(nodes_table(nodes))
    status = str(execution.get("status", ""))
    duration = (execution.get("timings") or {}).get("duration_ms")
    took = "" if duration is None else f" in {float(duration):.1f} ms"
    console.print(Text.assemble("execution ", str(execution.get("id", "")), " ", status_text(status), took))
    if error := execution.get("error"):
        where = f" (node {error['node_id']})" if error.get("node_id") else ""
        console.print(Text(f"{error.get('code', '')}: {error.get('message', '')}{where}", style="red"))
    if execution.get("output") is not None:
        text = _readable(execution["output"])
        left = len(text) - OUTPUT_CHARS_MAX
        console.print(
            Text(text[:OUTPUT_CHARS_MAX] + (f"\n… {left} more characters; --json prints all" if left > 0 else ""))
        )


def show_error(console: Console, error: RayloomError) -> None:
    """Print an error: one sentence, then the findings or the log that belong to it."""
    console.print(Text.assemble((error.message, "red"), f"  [{error.code}]"), soft_wrap=True)
    for finding in error.fields.get("findings", ()):
        console.print(finding_text(finding))
    for workflow in error.fields.get("workflows", ()):
        console.print(Text(f"workflow {workflow.get('index')}:", style="bold"))
        for finding in workflow.get("findings", ()):
            console.print(finding_text(finding))
    if lines := error.fields.get("log"):
        console.print(Text(f"the last lines of {error.fields.get('log_file', 'the log')}:", style="bold"))
        for line in lines:
            console.print(Text(f"  {line}"), soft_wrap=True)


def finding_text(finding: Mapping[str, Any]) -> Text:
    """Return a finding as a line: how bad, what, where, and the sentence."""
    place = ".".join(str(part) for part in (finding.get("node_id"), finding.get("field")) if part)
    head = f"  {finding.get('severity', 'error')} {finding.get('code', '')}"
    return Text(f"{head}{' at ' + place if place else ''}: {finding.get('message', '')}")


def checks_table(checks: Iterable[Check]) -> Table:
    """Return the doctor's checks as a table."""
    table = Table("check", "", "found", header_style="bold")
    for check in checks:
        table.add_row(check.name, Text("ok", "green") if check.ok else Text("not ok", "red"), Text(check.detail))
    return table


def show_status(console: Console, record: KeeperRecord, health: Mapping[str, Any]) -> None:
    """Print what runs."""
    console.print(Text.assemble("Rayloom is ", status_text(str(record.phase)), f"  (keeper {record.pid})"))
    if record.reason:
        console.print(Text(record.reason, style="yellow"))
    table = Table("part", "phase", "pid", "restarts", "started in", header_style="bold")
    for part in record.parts:
        started = part.seconds.get(part.name)
        table.add_row(
            part.name,
            status_text(part.phase),
            str(part.pid or ""),
            str(part.restarts),
            "" if started is None else f"{started:.1f} s",
        )
    console.print(table)
    for name, value in (
        ("API", record.base_url),
        ("dashboard", record.dashboard_url),
        ("Ray", record.ray_address),
        ("proxy", record.proxy),
        ("health", json.dumps(dict(health), ensure_ascii=False)),
    ):
        if value:
            console.print(Text.assemble((f"{name:10}", "bold"), value))
