"""Checking a document without an instance: against the node types that are installed here."""

from typing import Any

from cluster.instance import load_settings
from nodes.catalog import load_catalog
from nodes.sandbox.expression_syntax import expression_faults
from workflow.compile import FINDINGS_MAX, Compiler
from workflow.document import parse_document
from workflow.errors import InvalidDefinition
from workflow.findings import Severity
from workflow.values import decode, encode


def validate_here(document: Any) -> dict[str, Any]:
    """Return what the API's validation would: whether it is valid, and the findings. Raises `BadInput` for what is no JSON."""
    checked = decode(encode(document))
    try:
        nodes_max = load_settings().limits.nodes_max
        findings = Compiler(load_catalog(), nodes_max=nodes_max, syntax=expression_faults).validate(
            parse_document(checked)
        )
    except InvalidDefinition as error:
        return {"valid": False, "findings": error.fields["findings"]}
    valid = all(finding.severity is not Severity.ERROR for finding in findings)
    return {"valid": valid, "findings": [finding.as_dict() for finding in findings[:FINDINGS_MAX]]}
