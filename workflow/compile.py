"""Compile = validate + plan. Validation collects findings; a document with errors has no plan.

Codes follow both seed systems where they mean the same (`duplicate_node_id`, `dag_cycle`, `orphan_node`, …).
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError

from workflow import config as configs
from workflow.document import Document
from workflow.errors import InvalidDefinition
from workflow.expression import SyntaxCheck
from workflow.findings import Finding, Severity
from workflow.graph import find_cycle, reachable
from workflow.plan import Plan, make_plan
from workflow.references import reference_findings
from workflow.spec import Catalog, NodeType

FINDINGS_MAX = 200


@dataclass(frozen=True, slots=True)
class Compiled:
    """The plan, and the warnings found on the way."""

    plan: Plan
    warnings: tuple[Finding, ...]


class Compiler:
    """Compiles documents against a catalogue; keeps one schema validator per node type.

    `syntax` judges the expressions that are more than plain paths; without it they are taken on trust.
    """

    def __init__(self, catalog: Catalog, *, nodes_max: int, syntax: SyntaxCheck | None = None) -> None:
        self._catalog = catalog
        self._nodes_max = nodes_max
        self._syntax = syntax
        self._validators = {t.spec.type: Draft202012Validator(t.spec.config_schema) for t in catalog}

    def compile(self, document: Document) -> Compiled:
        """Return the plan and the warnings. Raises `InvalidDefinition` with all findings when there is an error."""
        findings = self.validate(document)
        errors = [f for f in findings if f.severity is Severity.ERROR]
        if errors:
            first = errors[0]
            raise InvalidDefinition(
                f"the workflow has {len(errors)} error{'s' if len(errors) > 1 else ''}; the first: {first.message}",
                fields={"findings": [f.as_dict() for f in findings[:FINDINGS_MAX]]},
            )
        return Compiled(make_plan(document, self._catalog), tuple(findings))

    def validate(self, document: Document) -> list[Finding]:
        """Return everything found, errors first, each group in the order of the document."""
        if len(document.nodes) > self._nodes_max:
            return [
                _error(
                    "too_many_nodes", f"a workflow may have {self._nodes_max} nodes, this one has {len(document.nodes)}"
                )
            ]
        findings = [*self._input_schema(document), *self._nodes(document), *self._connections(document)]
        if not any(f.severity is Severity.ERROR for f in findings):
            findings += self._graph(document)
        return sorted(findings, key=lambda f: f.severity is not Severity.ERROR)

    def _input_schema(self, document: Document) -> Iterator[Finding]:
        try:
            Draft202012Validator.check_schema(document.input_schema)
        except SchemaError as error:
            place = ".".join(["input_schema", *(str(part) for part in error.absolute_path)])
            yield _error("invalid_input_schema", f"not a JSON Schema: {error.message[:300]}", "", place)

    def _nodes(self, document: Document) -> Iterator[Finding]:
        if not document.nodes:
            yield _error("empty_workflow", "the workflow has no nodes")
        for node_id, count in Counter(node.id for node in document.nodes).items():
            if count > 1:
                yield _error("duplicate_node_id", f"{count} nodes have the id {node_id!r}", node_id, "id")
        for node in document.nodes:
            node_type = self._catalog.get(node.type)
            if node_type is None:
                yield _error("invalid_node_type", f"there is no node type {node.type!r}", node.id, "type")
                continue
            if node.resources.any and not node_type.spec.may_move:
                yield _error("resources_not_supported", f"{node.type} cannot run as a Ray task", node.id, "resources")
            yield from self._config(node.id, node.config, node_type)

    def _config(self, node_id: str, config: dict[str, object], node_type: NodeType) -> Iterator[Finding]:
        spec = node_type.spec
        found = False
        for error in self._validators[spec.type].iter_errors(config):
            if _filled_in_later(error, spec.literal):
                continue
            found = True
            code = "missing_config" if error.validator == "required" else "invalid_config"
            place = ".".join(["config", *(str(part) for part in error.absolute_path)])
            yield _error(code, error.message[:300], node_id, place)
        if not found:
            for problem in (*node_type.check(config), *configs.problems(config, spec, self._syntax)):
                place = "config" if not problem.field else f"config.{problem.field}"
                yield _error(problem.code, problem.message, node_id, place)

    def _connections(self, document: Document) -> Iterator[Finding]:
        types = {node.id: self._catalog.get(node.type) for node in document.nodes}
        seen = set()
        for index, c in enumerate(document.connections):
            place = f"connections.{index}"
            for end, node_id in (("source", c.source), ("target", c.target)):
                if node_id not in types:
                    yield _error(
                        f"missing_{end}_node",
                        f"a connection names the {end} {node_id!r}, which is not there",
                        "",
                        f"{place}.{end}",
                    )
            source, target = types.get(c.source), types.get(c.target)
            if source is not None and c.sourceHandle not in source.spec.outputs:
                known = ", ".join(source.spec.outputs)
                yield _error(
                    "invalid_handle",
                    f"{c.source!r} has no output {c.sourceHandle!r}, only {known}",
                    c.source,
                    f"{place}.sourceHandle",
                )
            if target is not None and c.targetHandle not in target.spec.inputs:
                known = ", ".join(target.spec.inputs)
                yield _error(
                    "invalid_handle",
                    f"{c.target!r} has no input {c.targetHandle!r}, only {known}",
                    c.target,
                    f"{place}.targetHandle",
                )
            if target is not None and target.spec.trigger:
                yield _error(
                    "trigger_has_input", f"the trigger {c.target!r} cannot have an incoming connection", c.target, place
                )
            if c in seen:
                yield _error(
                    "duplicate_connection",
                    f"{c.source!r} and {c.target!r} are connected twice in the same way",
                    c.source,
                    place,
                )
            seen.add(c)

    def _graph(self, document: Document) -> Iterator[Finding]:
        plan = make_plan(document, self._catalog)
        cycle = find_cycle(plan)
        if cycle:
            names = " -> ".join(plan.nodes[index].id for index in (*cycle, cycle[0]))
            yield _error("dag_cycle", f"the workflow has a cycle: {names}", plan.nodes[cycle[0]].id)
            return
        if not any(node.type.spec.trigger for node in plan.nodes):
            yield _warning(
                "no_trigger", "the workflow has no trigger; it starts at the nodes without an incoming connection"
            )
        yield from reference_findings(plan)
        reached = reachable(plan)
        for node in plan.nodes:
            if node.index not in reached:
                code = "unreachable_node" if node.inputs else "orphan_node"
                yield _warning(code, f"no trigger leads to {node.id!r}; it is always skipped", node.id)


def _filled_in_later(error: ValidationError, literal: frozenset[str]) -> bool:
    """Whether the schema refuses a placeholder as such: what it stands for is checked when it is known."""
    if isinstance(error.instance, str) and "{{" in error.instance:
        path = error.absolute_path
        return not path or path[0] not in literal
    return bool(error.context) and any(_filled_in_later(each, literal) for each in error.context or ())


def _error(code: str, message: str, node_id: str = "", field: str = "") -> Finding:
    return Finding(severity=Severity.ERROR, code=code, message=message, node_id=node_id, field=field)


def _warning(code: str, message: str, node_id: str = "") -> Finding:
    return Finding(severity=Severity.WARNING, code=code, message=message, node_id=node_id)
