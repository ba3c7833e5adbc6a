"""What leaves an installation: no secrets, no ids of it; everything else as it was."""

import pytest

from nodes.catalog import load_own
from nodes.sandbox.expression_syntax import expression_faults
from workflow.compile import Compiler
from workflow.document import parse_document
from workflow.findings import Severity
from workflow.portable import portable

ID = "0190b5a8-1111-7000-8000-000000000001"


def test_everything_that_is_not_private_stays():
    document = {
        "name": "w",
        "nodes": [
            {
                "id": "a",
                "type": "t",
                "config": {"values": {"n": 1, "tokens": "7", "max_tokens": "9"}, "list": [{"x": None}]},
            }
        ],
        "connections": [{"source": "a", "target": "a"}],
        "settings": {"isolation": "pooled"},
    }

    assert portable(document) == (document, [])


def test_secrets_and_ids_are_emptied_and_named():
    document = {
        "nodes": [
            {
                "id": "a",
                "credentials": ID,
                "config": {
                    "headers": [{"name": "Authorization", "value": "Bearer abc"}, {"name": "Accept", "value": "a/b"}],
                    "api_key": "k",
                    "token": "{{ $vars.token }}",
                    "nested": {"clientSecret": "s", "password": ""},
                    "workflow_id": ID,
                },
            }
        ],
        "settings": {"error_workflow": ID, "timezone": "UTC"},
    }

    kept, removed = portable(document)

    config = kept["nodes"][0]["config"]
    assert "credentials" not in kept["nodes"][0]
    assert [header["value"] for header in config["headers"]] == ["", "a/b"]
    assert (config["api_key"], config["nested"]["clientSecret"], config["workflow_id"]) == ("", "", "")
    assert config["token"] == "{{ $vars.token }}"
    assert kept["settings"] == {"timezone": "UTC"}
    assert sorted(removed) == [
        "nodes.a.config.api_key",
        "nodes.a.config.headers.0.value",
        "nodes.a.config.nested.clientSecret",
        "nodes.a.config.workflow_id",
        "nodes.a.credentials",
        "settings.error_workflow",
    ]
    assert document["nodes"][0]["config"]["api_key"] == "k"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("postgresql://ada:pw@db.example:5432/x", "postgresql://@db.example:5432/x"),
        ("Authorization: Bearer abcdefgh.ijk-1", "Authorization: Bearer "),
        ("call('sk-proj-0123456789abcdefgh')", "call('')"),
        ("ghp_0123456789abcdefghijklmnop", ""),
        ("AKIAABCDEFGHIJKLMNOP", ""),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", ""),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w", ""),
    ],
)
def test_what_has_the_shape_of_a_secret_goes_wherever_it_stands(text: str, kept: str):
    document = {"nodes": [{"id": "a", "config": {"code": text}}], "settings": {}}

    found, removed = portable(document)

    assert found["nodes"][0]["config"]["code"] == kept
    assert removed == ["nodes.a.config.code"]


@pytest.mark.parametrize(
    "text",
    ["https://example.org/a:b@c", "Bearer {{ $vars.token }}", "basic maths", "https://{{ $vars.u }}:{{ $vars.p }}@x"],
)
def test_what_only_looks_a_little_like_a_secret_stays(text: str):
    document = {"nodes": [{"id": "a", "config": {"text": text, "max_tokens": 7}}], "settings": {}}

    assert portable(document) == (document, [])


def test_what_was_exported_can_be_imported_where_the_other_workflow_has_another_id():
    calling = {"workflow_id": "0190a3c2-0000-7000-8000-000000000001", "mode": "once"}
    nodes = [
        {"id": "start", "type": "trigger.manual"},
        {"id": "call", "type": "action.execute_workflow", "config": calling},
    ]
    made = {"name": "w", "nodes": nodes, "connections": [{"source": "start", "target": "call"}]}

    exported, removed = portable(made)

    findings = Compiler(load_own(), nodes_max=10, syntax=expression_faults).validate(parse_document(exported))
    assert removed == ["nodes.call.config.workflow_id"]
    assert [finding for finding in findings if finding.severity is Severity.ERROR] == []
