"""Which node an expression means by a name, and whether that node can have completed before it."""

from collections.abc import Iterator

from workflow.findings import Finding, Severity
from workflow.plan import Plan


def nodes_called(plan: Plan, name: str) -> tuple[int, ...]:
    """Return the nodes whose id or name this is; exactly one in a plan that compiled."""
    return tuple(node.index for node in plan.nodes if name in (node.id, node.name))


def reference_findings(plan: Plan) -> Iterator[Finding]:
    """Find references of expressions to nodes that are not there, are not ancestors, or could be several.

    In a loop a node is an ancestor of itself.
    """
    for node in plan.nodes:
        references = node.template.references
        above = ancestors(plan, node.index) if references else frozenset()
        for name, field in references.items():
            found = nodes_called(plan, name)
            if not found:
                code, message = "invalid_reference", f"there is no node {name!r}"
            elif len(found) > 1:
                code = "ambiguous_reference"
                message = f"{name!r} could be any of {', '.join(repr(plan.nodes[index].id) for index in found)}"
            elif found[0] not in above:
                code = "non_ancestor_reference"
                message = f"{name!r} does not come before {node.id!r}, so its data is not there"
            else:
                continue
            yield Finding(severity=Severity.ERROR, code=code, message=message, node_id=node.id, field=f"config.{field}")


def ancestors(plan: Plan, index: int) -> frozenset[int]:
    """Return the nodes from which some way leads to this one."""
    found: set[int] = set()
    pending = [index]
    while pending:
        for edge in plan.nodes[pending.pop()].inputs:
            if edge.source not in found:
                found.add(edge.source)
                pending.append(edge.source)
    return frozenset(found)
