"""What the command line shows of workflows, executions and node types: tables, and a difference as people read one."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cluster.showing import finding_text, status_text

Answer = Mapping[str, Any]
BAR_CHARS_MAX = 40


def workflows_table(found: Iterable[Answer]) -> Table:
    """Return workflows as a table."""
    table = _table("id", "name", "state", "version", "tags", "changed")
    for one in found:
        table.add_row(
            Text(one["id"]),
            Text(one["name"]),
            status_text(one["status"]),
            str(one["version"]),
            Text(", ".join(one["tags"])),
            _moment(one["updated_at"]),
        )
    return table


def workflow_view(found: Answer) -> RenderableType:
    """Return a workflow with its nodes."""
    nodes = _table("node", "name", "type", "leads to")
    definition = found["definition"]
    for node in definition["nodes"]:
        targets = [c["target"] for c in definition["connections"] if c["source"] == node["id"]]
        nodes.add_row(*map(Text, (node["id"], node.get("name", ""), node["type"], ", ".join(targets))))
    about = Text.assemble(
        (found["name"], "bold"), f"  version {found['version']}  ", status_text(found["status"]), f"  {found['id']}"
    )
    warnings = [finding_text(warning) for warning in found.get("warnings", ())]
    return Group(about, Text(found["description"]), nodes, *warnings)


def versions_table(found: Iterable[Answer]) -> Table:
    """Return versions as a table."""
    table = _table("version", "made", "name", "change")
    for one in found:
        table.add_row(str(one["version"]), _moment(one["created_at"]), Text(one["name"]), Text(one["change_message"]))
    return table


def findings_view(found: Answer) -> RenderableType:
    """Return what validating found."""
    verdict = Text("valid", style="green") if found["valid"] else Text("not valid", style="red")
    return Group(verdict, *(finding_text(finding) for finding in found["findings"]))


def diff_view(found: Answer) -> RenderableType:
    """Return a difference: what was added, removed and changed, one to a line."""
    lines = [Text(f"version {found['before']} → version {found['after']}", style="bold")]
    for sign, colour, name in (("+", "green", "added"), ("-", "red", "removed")):
        lines += [Text(f"{sign} node {node['id']} ({node['type']})", colour) for node in found[f"nodes_{name}"]]
        for c in found[f"connections_{name}"]:
            ends = f"{c['source']}.{c['sourceHandle']} → {c['target']}.{c['targetHandle']}"
            lines.append(Text(f"{sign} connection {ends}", colour))
    for node in found["nodes_changed"]:
        lines += [_change(f"node {node['node_id']}: {change['field']}", change) for change in node["fields"]]
    lines += [_change(change["field"], change) for change in found["fields_changed"]]
    if found["order_changed"]:
        lines.append(Text("~ the order of nodes or connections", "yellow"))
    if len(lines) == 1:
        lines.append(Text("nothing changed"))
    else:
        lines.append(Text("what it does changed" if found["functional"] else "only its looks changed", "bold"))
    return Group(*lines)


def executions_table(found: Iterable[Answer]) -> Table:
    """Return executions as a table."""
    table = _table("id", "state", "made", "ms", "nodes", "trigger", "error")
    for one in found:
        timings, error = one["timings"], one.get("error") or {}
        duration = timings.get("duration_ms")
        table.add_row(
            Text(one["id"]),
            status_text(one["status"]),
            _moment(timings["queued_at"]),
            "" if duration is None else str(duration),
            f"{one['nodes_completed']}/{one['nodes_total']}",
            Text(one["trigger_type"]),
            Text(error.get("message", "")),
        )
    return table


def logs_view(nodes: Iterable[Answer]) -> RenderableType:
    """Return what nodes printed, under the name of each."""
    printed = [node for node in nodes if node["logs"]]
    parts: list[RenderableType] = []
    for node in printed:
        run = f" run {node['run_index']}" if node["run_index"] else ""
        parts += [Text(f"{node['node_id']}{run}:", style="bold"), Text(node["logs"])]
    return Group(*parts) if parts else Text("nothing was printed")


def stats_view(found: Answer) -> RenderableType:
    """Return statistics: the states, how long it took, and a bar for each bucket in which something happened."""
    states = _table("state", "executions")
    for status, count in found["counts"].items():
        states.add_row(status_text(status), str(count))
    durations, rate = found["durations"], found["success_rate"]
    took = ", ".join(
        f"{name} {durations[key]:.1f} ms"
        for name, key in (("average", "average_ms"), ("p50", "p50_ms"), ("p95", "p95_ms"))
        if durations[key] is not None
    )
    head = Text(f"{found['total']} executions in {found['window']}", style="bold")
    success = Text("" if rate is None else f"{rate:.1%} of those that ended completed")
    most = max((bucket["total"] for bucket in found["buckets"]), default=0)
    bars = [
        Text(f"{_moment(bucket['start'])}  {'█' * -(-bucket['total'] * BAR_CHARS_MAX // most)} {bucket['total']}")
        for bucket in found["buckets"]
        if bucket["total"]
    ]
    return Group(head, success, Text(took), states, *bars)


def model_calls_view(calls: Iterable[Answer], total: Answer) -> RenderableType:
    """Return the calls of models that an execution made, and what they used."""
    table = _table("at", "node", "kind", "model", "device", "batches", "read", "written", "US dollars", "ms")
    for one in calls:
        about = "~" if one["estimated"] else ""
        table.add_row(
            _moment(one["at"]),
            Text(f"{one['node_id']} run {one['run_index']}" if one["run_index"] else one["node_id"]),
            Text(one["kind"]),
            Text(f"{one['provider']}/{one['model']}"),
            Text(" ".join([one["device"], *(f"gpu {gpu}" for gpu in one["gpu_ids"])])),
            _batches(one["batch_sizes"]),
            f"{about}{one['prompt_tokens']}",
            f"{about}{one['completion_tokens']}",
            one["cost_usd"] or "?",
            f"{one['duration_ms']:.0f}",
        )
    return Group(table, _total(total))


def models_asked_view(calls: Iterable[Answer], total: Answer) -> RenderableType:
    """Return what the nodes of an execution asked of models, a line for each node and model."""
    groups: dict[tuple[str, str, str], list[Answer]] = {}
    for one in calls:
        device = " ".join([one["device"], *(f"gpu {gpu}" for gpu in one["gpu_ids"])])
        groups.setdefault((one["node_id"], one["model"], device), []).append(one)
    table = _table("node", "model", "device", "batches", "tokens", "ms")
    for (node, model, device), some in groups.items():
        read, written = (sum(one[name] for one in some) for name in ("prompt_tokens", "completion_tokens"))
        table.add_row(
            Text(node),
            Text(model),
            Text(device),
            _batches([size for one in some for size in one["batch_sizes"]]),
            f"{read} + {written}" if written else f"{read}",
            f"{sum(one['duration_ms'] for one in some):.0f}",
        )
    return Group(table, _total(total))


def _batches(sizes: list[int]) -> str:
    """Return how large the batches were that a call was computed in: 64, or 12 x 16-64."""
    if len(sizes) < 2:
        return "".join(map(str, sizes))
    low, high = min(sizes), max(sizes)
    return f"{len(sizes)} x {low}" if low == high else f"{len(sizes)} x {low}-{high}"


def usage_view(found: Answer) -> RenderableType:
    """Return what models were asked for, summed up."""
    table = _table(found["by"], "calls", "read", "written", "US dollars", "of unknown cost", "estimated")
    for one in found["items"]:
        counts = ("calls", "prompt_tokens", "completion_tokens", "cost_usd", "costs_unknown", "estimates")
        table.add_row(Text(one["name"] or one["key"] or "none"), *(str(one[name]) for name in counts))
    head = Text(f"from {found['since']} to {found['until']}, days in UTC", style="bold")
    more = [Text("there are others, which only the sum counts", style="yellow")] if found["more"] else []
    return Group(head, table, *more, _total(found["total"]))


def requests_table(found: Iterable[Answer]) -> Table:
    """Return requests to people as a table."""
    table = _table("id", "kind", "title", "state", "until")
    for one in found:
        table.add_row(
            Text(one["id"]),
            Text(one["type"]),
            Text(one["title"]),
            status_text(one["status"]),
            _moment(one["expires_at"]) if one["expires_at"] else "",
        )
    return table


def request_view(found: Answer) -> RenderableType:
    """Return a request to people with its answers."""
    about = Text.assemble((found["title"], "bold"), "  ", status_text(found["status"]), f"  {found['id']}")
    lines = [
        Text(found["message"]),
        Text(f"execution {found['execution_id']}, node {found['node_id']}"),
        Text(f"actions: {', '.join(found['actions']) or 'none: only data are asked for'}"),
    ]
    if found["form_schema"]:
        lines.append(Text(f"form: {json.dumps(found['form_schema'], ensure_ascii=False)}"))
    lines += [
        Text(f"{given['by'] or 'by the link'}: {given['action']} {given['comment']}") for given in found["answers"]
    ]
    if found["link"]:
        lines.append(Text(f"link: {found['link']}"))
    return Group(about, *lines)


def node_types_table(found: Iterable[Answer]) -> Table:
    """Return node types as a table."""
    table = _table("type", "title", "category", "outputs", "description")
    for one in found:
        outputs = ", ".join(one["outputs"])
        table.add_row(*map(Text, (one["type"], one["title"], one["category"], outputs, one["description"])))
    return table


def node_type_view(found: Answer) -> RenderableType:
    """Return a node type with the schema of its config."""
    lines = [
        Text.assemble((found["type"], "bold"), f"  {found['title']}  ({found['category']})"),
        Text(found["description"]),
        Text(f"inputs: {', '.join(found['inputs']) or 'none'}   outputs: {', '.join(found['outputs'])}"),
        Text(f"runs in the {found['placement']}, effect: {found['effect']}, timeout: {found['timeout_ms']} ms"),
        Text(json.dumps(found["config_schema"], indent=2, ensure_ascii=False)),
    ]
    for example in found["examples"]:
        lines += [Text(example["title"], "bold"), Text(json.dumps(example["config"], indent=2, ensure_ascii=False))]
    return Group(*lines)


def _table(*columns: str) -> Table:
    table = Table(header_style="bold")
    for name in columns:
        table.add_column(name, no_wrap=name == "id", overflow="fold")
    return table


def _total(total: Answer) -> Text:
    unknown = f", and {total['costs_unknown']} calls of unknown cost" if total["costs_unknown"] else ""
    return Text(f"{total['calls']} calls, {total['total_tokens']} tokens, {total['cost_usd']} US dollars{unknown}")


def _change(place: str, change: Answer) -> Text:
    before, after = (json.dumps(change[when], ensure_ascii=False) for when in ("before", "after"))
    return Text(f"~ {place}: {before} → {after}", "yellow")


def _moment(text: str) -> str:
    return text[:19].replace("T", " ")
