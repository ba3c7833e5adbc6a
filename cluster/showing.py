"""What the command line shows: an execution while it runs, its nodes and output, problems, and the state of an
instance.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cluster.client import Message
from cluster.doctor import Check
from cluster.node_rows import NodeRow, node_rows, tasks_line
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
OUTPUT_CHARS_MAX = 4_000
REPORT_CHARS_MAX = 20_000


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


def nodes_table(rows: Sequence[NodeRow], *, went_on: bool) -> Table:
    """Return the nodes as a table; columns that would say nothing are left out."""
    loops = any(row.runs > 1 for row in rows)
    retries = any(row.attempts > row.runs for row in rows)
    errors = any(row.errors for row in rows)
    table = Table(header_style="bold")
    table.add_column("node", min_width=12)
    table.add_column("type", no_wrap=True)
    table.add_column("status")
    for name, there in (("runs", loops), ("attempts", retries), ("items", True), ("ms", True)):
        if there:
            table.add_column(name, justify="right", no_wrap=True)
    table.add_column("where")
    if errors:
        table.add_column("error")
    for row in rows:
        handled = went_on and row.worst == "failed"
        cells: list[RenderableType] = [Text(row.name), Text(row.type)]
        cells.append(Text(row.status(went_on=went_on), style="yellow" if handled else COLOURS.get(row.worst, "")))
        cells += [str(row.runs)] if loops else []
        cells += [str(row.attempts)] if retries else []
        cells += [str(row.items), "" if row.duration_ms is None else f"{row.duration_ms:.1f}", Text(row.where)]
        cells += [Text(row.error)] if errors else []
        table.add_row(*cells)
    return table


def _report_in(output: Any) -> str:
    """Return the report that an output is or has: its only text, or its field `report`, if that has several lines."""
    values = output if isinstance(output, dict) else {}
    report = next(iter(values.values())) if len(values) == 1 else values.get("report")
    return report if isinstance(report, str) and "\n" in report else ""


def _show_output(console: Console, output: Any) -> None:
    """Print an output for people: a report as it was written, everything else as indented JSON."""
    report = _report_in(output)
    text = report or json.dumps(output, indent=2, ensure_ascii=False)
    limit = REPORT_CHARS_MAX if report else OUTPUT_CHARS_MAX
    if len(text) > limit:
        text = f"{text[:limit]}\n… {len(text) - limit} more characters; --json prints all"
    console.print(Text(text), soft_wrap=True)
    if report and len(output) > 1:
        others = ", ".join(name for name, value in output.items() if value is not report)
        console.print(Text(f"beside the report: {others}; --json prints all", style="bright_black"))


def show_execution(console: Console, execution: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> None:
    """Print an execution that is over, or still goes on."""
    status = str(execution.get("status", ""))
    console.print(nodes_table(node_rows(nodes), went_on=status == "completed"))
    duration = (execution.get("timings") or {}).get("duration_ms")
    took = "" if duration is None else f" in {float(duration):.1f} ms"
    console.print(Text.assemble("execution ", str(execution.get("id", "")), " ", status_text(status), took))
    if tasks := tasks_line(nodes):
        console.print(Text(tasks))
    if error := execution.get("error"):
        where = f" (node {error['node_id']})" if error.get("node_id") else ""
        console.print(Text(f"{error.get('code', '')}: {error.get('message', '')}{where}", style="red"))
    if execution.get("output") is not None:
        _show_output(console, execution["output"])


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
