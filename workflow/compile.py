"""Compile = validate + plan. Validation collects findings; a document with errors has no plan.

Codes follow both seed systems where they mean the same (`duplicate_node_id`, `dag_cycle`, `orphan_node`, …).
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from workflow import config as configs
from workflow.concurrency import concurrency_findings
from workflow.document import Document, Node, OnError, parse_document
from workflow.errors import InvalidDefinition, InvalidRequest
from workflow.expression import SyntaxCheck
from workflow.findings import Finding, Severity, error
from workflow.graph import connection_findings, graph_findings, plan_or_findings
from workflow.plan import Plan
from workflow.schemas import schema_refusal
from workflow.secrets import hidden_places
from workflow.spec import ERROR, Catalog, Effect, JsonObject, NodeType

FINDINGS_MAX = 200


@dataclass(frozen=True, slots=True)
class Compiled:
    """The plan, and the warnings found on the way."""

    plan: Plan
    warnings: tuple[Finding, ...]


def refused(findings: Sequence[Finding]) -> InvalidDefinition:
    """Return the error that findings make, of which one or more are errors."""
    errors = [f for f in findings if f.severity is Severity.ERROR]
    return InvalidDefinition(
        f"the workflow has {len(errors)} error{'s' if len(errors) > 1 else ''}; the first: {errors[0].message}",
        fields={"findings": [f.as_dict() for f in findings[:FINDINGS_MAX]]},
    )


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
        findings, plan = self._judge(document)
        if plan is None or any(finding.severity is Severity.ERROR for finding in findings):
            raise refused(findings)
        return Compiled(plan, tuple(findings))

    def validate(self, document: Document) -> list[Finding]:
        """Return everything found, errors first, each group in the order of the document."""
        return self._judge(document)[0]

    def _judge(self, document: Document) -> tuple[list[Finding], Plan | None]:
        if len(document.nodes) > self._nodes_max:
            message = f"a workflow may have {self._nodes_max} nodes, this one has {len(document.nodes)}"
            return [error("too_many_nodes", message)], None
        settings = document.settings.concurrency
        findings = [*self._input_schema(document), *concurrency_findings(settings), *self._ids(document)]
        inputs: dict[str, tuple[str, ...]] = {}
        outputs: dict[str, tuple[str, ...]] = {}
        for node in document.nodes:
            found = list(self._node(node))
            findings += found
            node_type = self._catalog.get(node.type)
            if not found and node_type is not None:
                inputs[node.id] = () if node_type.spec.trigger else node_type.inputs(node.config)
                outputs[node.id] = _outputs(node, node_type)
                findings += _pinned(node, outputs[node.id])
        findings += connection_findings(document, inputs, outputs)
        plan = None
        if not any(f.severity is Severity.ERROR for f in findings):
            made = plan_or_findings(document, self._catalog)
            plan = made if isinstance(made, Plan) else None
            findings += graph_findings(document, made) if isinstance(made, Plan) else made
        return sorted(findings, key=lambda f: f.severity is not Severity.ERROR), plan

    def _input_schema(self, document: Document) -> Iterator[Finding]:
        refused = schema_refusal(document.input_schema, "input_schema")
        if refused is not None:
            yield error("invalid_input_schema", refused.message, "", refused.field)

    def _ids(self, document: Document) -> Iterator[Finding]:
        if not document.nodes:
            yield error("empty_workflow", "the workflow has no nodes")
        for node_id, count in Counter(node.id for node in document.nodes).items():
            if count > 1:
                yield error("duplicate_node_id", f"{count} nodes have the id {node_id!r}", node_id, "id")

    def _node(self, node: Node) -> Iterator[Finding]:
        node_type = self._catalog.get(node.type)
        if node_type is None:
            yield error("invalid_node_type", f"there is no node type {node.type!r}", node.id, "type")
            return
        if node.resources.any and not node_type.spec.may_move:
            yield error("resources_not_supported", f"{node.type} cannot run as a Ray task", node.id, "resources")
        if node.on_error is not OnError.STOP and node_type.spec.trigger:
            yield error("on_error_not_supported", f"the trigger {node.id!r} cannot fail", node.id, "on_error")
        if node.at_most_once and (node_type.spec.effect is Effect.PURE or node_type.spec.suspends):
            why = "waits by itself" if node_type.spec.suspends else "does nothing outside that could happen twice"
            yield error("at_most_once_not_supported", f"{node.type} {why}", node.id, "at_most_once")
        yield from self._config(node.id, node.config, node_type)

    def _config(self, node_id: str, config: dict[str, object], node_type: NodeType) -> Iterator[Finding]:
        spec = node_type.spec
        found = False
        for refused in self._validators[spec.type].iter_errors(config):
            if _filled_in_later(refused, spec.literal):
                continue
            found = True
            code = "missing_config" if refused.validator == "required" else "invalid_config"
            place = ".".join(["config", *(str(part) for part in refused.absolute_path)])
            yield error(code, refused.message[:300], node_id, place)
        if not found:
            for problem in (*node_type.check(config), *configs.problems(config, spec, self._syntax)):
                place = "config" if not problem.field else f"config.{problem.field}"
                found = True
                yield error(problem.code, problem.message, node_id, place)
        for place in hidden_places(config):
            found = True
            message = "this secret was not shown to whoever read the document: write it here, or leave the field out"
            yield error("hidden_secret", message, node_id, f"config.{place}")
        if not found and node_type.workflows_of is not None:
            for field, definition in node_type.workflows_of(config).items():
                yield from self._held(node_id, field, definition)

    def _held(self, node_id: str, field: str, definition: JsonObject) -> Iterator[Finding]:
        """Find what is wrong with a workflow that a node's config holds."""
        try:
            found = self.validate(parse_document(definition))
        except InvalidRequest as refused:
            yield error(refused.code, refused.message, node_id, f"config.{field}")
            return
        for each in found:
            if each.severity is Severity.ERROR:
                where = f"{each.node_id}: " if each.node_id else ""
                yield error(each.code, f"{where}{each.message}", node_id, f"config.{field}")


def _outputs(node: Node, node_type: NodeType) -> tuple[str, ...]:
    handles = node_type.outputs(node.config)
    return (*handles, ERROR) if node.on_error is OnError.ERROR_OUTPUT else handles


def _pinned(node: Node, outputs: tuple[str, ...]) -> Iterator[Finding]:
    for handle in node.pinned or ():
        if handle not in outputs:
            message = f"{node.id!r} has no output {handle!r}, only {', '.join(outputs)}"
            yield error("invalid_handle", message, node.id, f"pinned.{handle}")


def _filled_in_later(refused: ValidationError, literal: frozenset[str]) -> bool:
    """Whether the schema refuses a placeholder as such: what it stands for is checked when it is known."""
    if isinstance(refused.instance, str) and "{{" in refused.instance:
        path = refused.absolute_path
        return not path or path[0] not in literal
    return any(_filled_in_later(each, literal) for each in refused.context or ())
