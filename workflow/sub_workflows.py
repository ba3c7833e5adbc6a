"""Which workflows a workflow executes, and whether it may: never itself, by no way, and none too deep below it.

Judged is what a document says in so many words. What an expression chooses, and what two changes at the same time make of two
workflows, is judged when the execution is to begin.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from workflow.document import Document
from workflow.findings import Finding, error, warning
from workflow.lifecycle import EXECUTABLE, WorkflowStatus
from workflow.spec import Catalog

EXECUTES = "action.execute_workflow"
"""The node type that executes other workflows."""
CHOOSES = "ai.agent"
"""The node type whose tools may be workflows."""
VERSION_MAX = 999_999_999
_CHAIN_SHOWN_MAX = 6


@dataclass(frozen=True, slots=True)
class Target:
    """A workflow, in one version or, without one, in whichever is current."""

    workflow_id: UUID
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a target: its workflow's name and state, and what it executes itself."""

    name: str
    status: WorkflowStatus
    executes: Sequence[Target] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """What executes a workflow: a node, a tool of one, or a bad end; `target` is None where what is named is the id of nothing."""

    node_id: str
    named: str
    target: Target | None
    field: str = "config.workflow_id"
    reports: bool = False
    """Whether it is the error workflow, which nobody waits for and which is not below what has failed."""


@dataclass(frozen=True, slots=True)
class Callers:
    """The names by which documents mean the node types that execute workflows: as a node, and as the tools of one."""

    nodes: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()


def callers_of(catalog: Catalog) -> Callers:
    """Return the names of what executes workflows; none where there is no such type."""
    return Callers(nodes=_names(catalog, EXECUTES), tools=_names(catalog, CHOOSES))


def calls_of(document: Document, callers: Callers) -> list[Call]:
    """Return what executes a workflow which the document names: not nodes that are disabled, or give pinned data."""
    found: list[Call] = []
    if (named := document.settings.error_workflow) is not None:
        found.append(Call("", str(named), Target(named), "settings.error_workflow", reports=True))
    for node in document.nodes:
        if node.disabled or node.pinned is not None:
            continue
        if node.type in callers.nodes:
            found += _call(node.id, node.config, "config.workflow_id")
        elif node.type in callers.tools:
            for number, tool in enumerate(_tools(node.config)):
                found += _call(node.id, tool, f"config.tools.{number}.workflow_id")
    return found


def targets_of(calls: Iterable[Call]) -> list[Target]:
    """Return what the calls mean, each once."""
    return list(dict.fromkeys(call.target for call in calls if call.target is not None))


def call_findings(
    calls: Sequence[Call], below: Mapping[Target, Known | None], own: UUID | None, depth_max: int
) -> Iterator[Finding]:
    """Find calls that cannot succeed, by what is known of all that they lead to; None there is a target that does not exist.

    `own` is the workflow that the calls are of, None for one that is not stored yet. A target that is not in the mapping was
    not looked at and is taken on trust. `depth_max` is how many executions may be below the first one.
    """
    ways = _Ways(below, own)
    for call in calls:
        known, field = None if call.target is None else below.get(call.target), call.field
        if call.reports:
            yield from _error_workflow(call, below, own)
        elif call.target is not None and (circle := ways.circle(call.target)):
            message = f"a workflow cannot execute itself, not by way of others either: {ways.shown(circle)}"
            yield error("circular_sub_workflow", message, call.node_id, field)
        elif call.target is not None and len(chain := ways.longest(call.target)) > depth_max:
            message = f"no more than {depth_max} executions may be below one another: {ways.shown(chain)}"
            yield error("sub_workflow_too_deep", message, call.node_id, field)
        elif call.target is None or (call.target in below and known is None):
            version = "" if call.target is None or call.target.version is None else f", version {call.target.version}"
            message = f"there is no workflow {call.named!r}{version} in this workspace yet"
            if not call.named:
                message = "the node names no workflow yet"
            yield warning("sub_workflow_not_found", message, call.node_id, field)
        elif known is not None and known.status not in EXECUTABLE:
            message = f"the workflow {known.name!r} is {known.status.value}, so it is not executed"
            yield warning(f"sub_workflow_{known.status.value}", message, call.node_id, field)


def _error_workflow(call: Call, below: Mapping[Target, Known | None], own: UUID | None) -> Iterator[Finding]:
    """Find why an error workflow will not be begun. It may execute what has failed, which begins no other then."""
    if call.target is None or call.target not in below:
        return
    known = below[call.target]
    if call.target.workflow_id == own:
        message = "no workflow is its own error workflow: when it fails, nothing is begun"
        yield warning("error_workflow_circular", message, "", call.field)
    elif known is None:
        message = f"there is no workflow {call.named!r} in this workspace yet, so a failure begins none"
        yield warning("error_workflow_not_found", message, "", call.field)
    elif known.status not in EXECUTABLE:
        message = f"the workflow {known.name!r} is {known.status.value}, so a failure does not begin it"
        yield warning(f"error_workflow_{known.status.value}", message, "", call.field)


def _names(catalog: Catalog, node_type: str) -> tuple[str, ...]:
    found = catalog.get(node_type)
    return () if found is None else (found.spec.type, *found.spec.aliases)


def _tools(config: Mapping[str, Any]) -> list[Any]:
    tools = config.get("tools")
    return tools if isinstance(tools, list) else []


def _call(node_id: str, says: Any, field: str) -> Iterator[Call]:
    """Give the call that a config, or a tool in one, describes, if it says in so many words of what."""
    if not isinstance(says, dict):
        return
    named, version = says.get("workflow_id"), says.get("version")
    whole = isinstance(version, int | float) and 1 <= version <= VERSION_MAX and version == int(version)
    if isinstance(named, str) and "{{" not in named and (version is None or whole):
        yield Call(node_id, named, _target(named, None if version is None else int(version)), field)


def _target(named: str, version: int | None) -> Target | None:
    try:
        return Target(UUID(named), version)
    except ValueError:
        return None


class _Ways:
    """Where targets lead to, each looked at once."""

    def __init__(self, below: Mapping[Target, Known | None], own: UUID | None) -> None:
        self._below = below
        self._own = own
        self._circles: dict[Target, tuple[Target, ...]] = {}
        self._leads: dict[Target, dict[UUID, tuple[Target, ...]]] = {}
        self._longest: dict[Target, tuple[Target, ...]] = {}

    def circle(self, target: Target, above: frozenset[Target] = frozenset()) -> tuple[Target, ...]:
        """Return a way from the target to a workflow that is on it already, or to the own one; empty where there is none.

        `above` are the targets that led here: whatever leads back to one of them is in a circle with it.
        """
        if target not in self._circles:
            leads: dict[UUID, tuple[Target, ...]] = {}
            found: list[tuple[Target, ...]] = [(target,)] if target.workflow_id == self._own else []
            for one in () if found else self._executes(target):
                back = one == target or one in above
                circle = (one,) if back else self.circle(one, above | {target})
                if circle:
                    found.append((target, *circle))
                    break
                leads.setdefault(one.workflow_id, (one,))
                for workflow_id, way in self._leads[one].items():
                    leads.setdefault(workflow_id, (one, *way))
            if not found and target.workflow_id in leads:  # another version of it, which leads nowhere
                found = [(target, *leads[target.workflow_id])]
            self._circles[target] = found[0] if found else ()
            self._leads[target] = leads
        return self._circles[target]

    def longest(self, target: Target) -> tuple[Target, ...]:
        """Return the longest way down that begins with the target, which leads to no circle."""
        if target not in self._longest:
            ways = [self.longest(one) for one in self._executes(target) if self._below.get(one, True) is not None]
            self._longest[target] = (target, *max(ways, key=len, default=()))
        return self._longest[target]

    def shown(self, way: Sequence[Target]) -> str:
        """Return the way as a person reads it."""
        names = [self._name(target) for target in way[:_CHAIN_SHOWN_MAX]]
        return " → ".join(["this workflow", *names, *["…"] * (len(way) > _CHAIN_SHOWN_MAX)])

    def _name(self, target: Target) -> str:
        if target.workflow_id == self._own:
            return "this workflow"
        known = self._below.get(target)
        return str(target.workflow_id) if known is None else repr(known.name)

    def _executes(self, target: Target) -> Sequence[Target]:
        known = self._below.get(target)
        return () if known is None else known.executes
