"""What is wrong, or odd, with the graph of a document: its connections, its cycles, what no start leads to."""

from collections import Counter
from collections.abc import Iterator, Mapping

from workflow.asking import AutoAction
from workflow.document import Cycles, Document, OnError
from workflow.errors import BadInput
from workflow.findings import Finding, error, warning
from workflow.plan import Plan, make_plan
from workflow.references import reference_findings
from workflow.regions import ReturnsFromOutside, TwoEntries
from workflow.spec import ERROR, Catalog, Effect


def connection_findings(
    document: Document, inputs: Mapping[str, tuple[str, ...]], outputs: Mapping[str, tuple[str, ...]]
) -> Iterator[Finding]:
    """Find what is wrong with connections one by one; `inputs` and `outputs` are the handles of the nodes that have no error."""
    nodes = {node.id for node in document.nodes}
    seen = set()
    for index, c in enumerate(document.connections):
        place = f"connections.{index}"
        for end, node_id in (("source", c.source), ("target", c.target)):
            if node_id not in nodes:
                message = f"a connection names the {end} {node_id!r}, which is not there"
                yield error(f"missing_{end}_node", message, "", f"{place}.{end}")
        if c.source == c.target and c.source in nodes:
            yield error("self_loop", f"{c.source!r} is connected to itself", c.source, place)
        if c.sourceHandle not in outputs.get(c.source, (c.sourceHandle,)):
            message = f"{c.source!r} has no output {c.sourceHandle!r}, only {', '.join(outputs[c.source])}"
            yield error("invalid_handle", message, c.source, f"{place}.sourceHandle")
        if c.target in inputs and not inputs[c.target]:
            message = f"the trigger {c.target!r} cannot have an incoming connection"
            yield error("trigger_has_input", message, c.target, place)
        elif c.targetHandle not in inputs.get(c.target, (c.targetHandle,)):
            message = f"{c.target!r} has no input {c.targetHandle!r}, only {', '.join(inputs[c.target])}"
            yield error("invalid_handle", message, c.target, f"{place}.targetHandle")
        if c in seen:
            message = f"{c.source!r} and {c.target!r} are connected twice in the same way"
            yield error("duplicate_connection", message, c.source, place)
        seen.add(c)


def plan_or_findings(document: Document, catalog: Catalog) -> Plan | list[Finding]:
    """Return the plan, or why there can be none; the document's nodes and connections have no errors of their own."""
    ids = [node.id for node in document.nodes]
    try:
        return make_plan(document, catalog)
    except TwoEntries as found:
        names = " -> ".join(ids[index] for index in (*found.cycle, found.cycle[0]))
        message = f"the workflow has a cycle that can be entered in more than one place: {names}"
        return [error("cycle_with_two_entries", message, ids[found.cycle[0]])]
    except ReturnsFromOutside as found:
        c = document.connections[found.link]
        message = f"{c.source!r} leads back to {c.target!r}, but is not in its body"
        return [error("return_from_outside_body", message, c.source, f"connections.{found.link}")]
    except BadInput as refused:  # an expression; each is a finding of its node already
        return [error(refused.code, refused.message)]


def graph_findings(document: Document, plan: Plan) -> Iterator[Finding]:
    """Find what is wrong or odd with the graph as a whole."""
    yield from _cycles(document, plan)
    yield from _starts(plan)
    yield from _odd_nodes(document, plan)
    yield from reference_findings(plan)


def _cycles(document: Document, plan: Plan) -> Iterator[Finding]:
    if document.settings.cycles is Cycles.ALLOW:
        return
    for region in plan.regions.regions[1:]:
        header = plan.nodes[region.header]
        if region.returns and not (header.type.spec.body and not header.idle):
            names = ", ".join(sorted({repr(plan.nodes[plan.edges[p].source].id) for p in region.returns}))
            message = (
                f"the workflow has a cycle: {names} leads back to {header.id!r}, which is not a node that loops; "
                "settings.cycles: allow permits that"
            )
            yield error("dag_cycle", message, header.id, f"connections.{region.returns[0]}")


def _starts(plan: Plan) -> Iterator[Finding]:
    triggers = [node for node in plan.nodes if node.type.spec.trigger]
    if not any(node.start for node in plan.nodes):
        yield error("no_start", "nothing starts this workflow: no trigger is enabled, or every node waits for another")
        return
    if not triggers:
        message = "the workflow has no trigger; it starts at the nodes without an incoming connection"
        yield warning("no_trigger", message)
    if len(triggers) > 1:
        names = ", ".join(repr(node.id) for node in triggers)
        yield warning("multiple_trigger_nodes", f"every execution starts at all of its triggers: {names}")
    entered = {edge.target for edge in plan.edges}
    for node in plan.nodes:
        if plan.regions.region_of[node.index] < 0:
            code = "unreachable_node" if node.index in entered else "orphan_node"
            yield warning(code, f"nothing that starts leads to {node.id!r}; it is always skipped", node.id)


def _odd_nodes(document: Document, plan: Plan) -> Iterator[Finding]:
    names = Counter(node.name for node in document.nodes if node.name)
    for node, written in zip(plan.nodes, document.nodes, strict=True):
        if names[written.name] > 1:
            message = f"{names[written.name]} nodes are called {written.name!r}; an expression can mean them by their ids only"
            yield warning("duplicate_node_name", message, node.id, "name")
        if node.idle == "pinned":
            yield warning("pinned_data", f"{node.id!r} gives its pinned data and does no work", node.id, "pinned")
        used = {edge.source_handle for edge in node.outputs}
        if node.on_error is OnError.ERROR_OUTPUT and ERROR not in used:
            message = f"nothing is connected to the output `error` of {node.id!r}; its failed items go nowhere"
            yield warning("error_output_unused", message, node.id, "on_error")
        if node.retry is not None and node.effect is Effect.AT_MOST_ONCE:
            message = f"{node.id!r} is started at most once; its retry policy is not used"
            yield warning("retry_not_used", message, node.id, "retry")
        if written.ask is not None and node.on_error is not OnError.ASK:
            message = f"nobody is asked about the failure of {node.id!r}: its `on_error` is `{node.on_error.value}`"
            yield warning("ask_not_used", message, node.id, "ask")
        if node.ask.auto_action is AutoAction.RETRY and node.effect is Effect.AT_MOST_ONCE:
            message = f"{node.id!r} is started at most once: only somebody who is asked can have it tried again"
            yield error("invalid_auto_action", message, node.id, "ask.auto_action")
        body = node.type.spec.body
        if body and not node.idle and body not in used:
            yield warning("empty_body", f"nothing is connected to the output `{body}` of {node.id!r}", node.id)
