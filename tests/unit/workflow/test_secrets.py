"""Who may not see secrets is shown none, wherever a node type's schema has them, and cannot write back what stands for them."""

from typing import Any

import pytest

from nodes.catalog import load_own
from nodes.sandbox.expression_syntax import expression_faults
from workflow.compile import Compiler
from workflow.diff import compare
from workflow.document import parse_document
from workflow.errors import InvalidDefinition
from workflow.portable import portable
from workflow.secrets import HIDDEN, Secrets
from workflow.spec import Catalog, Effect, NodeSpec, NodeType

CATALOG = load_own()
SECRETS = Secrets(CATALOG)
LLM = {"id": "a", "type": "ai.llm", "config": {"prompt": "hello", "api_key": "sk-own", "base_url": "https://x.example"}}
HTTP = {
    "id": "b",
    "type": "action.http",
    "config": {"url": "https://x.example", "auth": {"kind": "basic", "user": "ada", "password": "pw"}},
}
HEADER = {
    "id": "c",
    "type": "action.http",
    "config": {"url": "https://x.example", "auth": {"kind": "header", "name": "X-Shop", "value": "s3"}},
}
SIGN = {"id": "d", "type": "data.crypto", "config": {"operation": "hmac", "value": "v", "key": "Jefe"}}
AGENT = {
    "id": "e",
    "type": "ai.agent",
    "config": {
        "prompt": "work",
        "api_key": "sk-agent",
        "tools": [{"name": "t", "description": "d", "node": {"type": HTTP["type"], "config": HTTP["config"]}}],
    },
}
GONE = {"id": "f", "type": "shop.order", "config": {"token": "t", "deep": [{"key": "k"}], "count": 3}}
NODES = (LLM, HTTP, HEADER, SIGN, AGENT)


def document(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {"name": "w", "nodes": list(nodes), "connections": []}


def at(value: Any, *path: str | int) -> Any:
    for step in path:
        value = value[step]
    return value


@pytest.mark.parametrize(
    ("node", "path"),
    [
        (LLM, ("api_key",)),
        (HTTP, ("auth", "password")),
        (HEADER, ("auth", "value")),
        (SIGN, ("key",)),
        (AGENT, ("api_key",)),
        (AGENT, ("tools", 0, "node", "config", "auth", "password")),
        (GONE, ("token",)),
        (GONE, ("deep", 0, "key")),
    ],
)
def test_a_secret_is_hidden_wherever_it_stands(node, path):
    written = document(node)

    shown = SECRETS.hidden(written)["nodes"][0]["config"]

    assert at(shown, *path) == HIDDEN
    assert at(node["config"], *path) != HIDDEN, "the document itself is left alone"


def test_what_is_no_secret_is_shown():
    shown = SECRETS.hidden(document(*NODES, GONE))

    llm, http, _, _, agent, gone = (node["config"] for node in shown["nodes"])
    assert llm == {**LLM["config"], "api_key": HIDDEN}
    assert http["auth"] == {"kind": "basic", "user": "ada", "password": HIDDEN}
    assert agent["tools"][0]["node"]["config"]["url"] == "https://x.example"
    assert gone["count"] == 3
    assert {**shown, "nodes": []} == {**document(), "nodes": []}


@pytest.mark.parametrize(("key", "shown"), [("", ""), ("{{ $json.key }}", HIDDEN), ("{{ 'sk-1' + $json.x }}", HIDDEN)])
def test_nothing_is_shown_as_nothing_and_an_expression_may_hold_a_secret(key, shown):
    node = {**LLM, "config": {**LLM["config"], "api_key": key}}
    assert SECRETS.hidden_in(node)["config"]["api_key"] == shown


def test_a_secret_is_found_by_way_of_references_alternatives_and_lists():
    secret = {"type": "string", "x-secret": True}
    schema = {
        "type": "object",
        "$defs": {
            "key": secret,
            "loop": {"properties": {"next": {"$ref": "#/$defs/loop"}, "key": {"$ref": "#/$defs/key"}}},
        },
        "properties": {
            "list": {"type": "array", "items": {"oneOf": [{"type": "integer"}, {"properties": {"key": secret}}]}},
            "loop": {"$ref": "#/$defs/loop"},
        },
        "additionalProperties": {"allOf": [{"if": True, "then": {"properties": {"key": secret}}}]},
    }
    spec = NodeSpec(type="t", title="T", category="c", description="d", effect=Effect.PURE, config_schema=schema)
    secrets = Secrets(Catalog({"t": NodeType(spec, lambda *_: None)}))
    loop = {"key": "k", "next": {"key": "k", "next": {"key": "k"}}}
    config = {"list": [1, {"key": "k", "id": "i"}], "loop": loop, "other": {"key": "k", "id": "i"}}

    shown = secrets.hidden_in({"type": "t", "config": config})["config"]

    assert shown["list"] == [1, {"key": HIDDEN, "id": "i"}]
    assert shown["loop"] == {"key": HIDDEN, "next": {"key": HIDDEN, "next": {"key": HIDDEN}}}
    assert shown["other"] == {"key": HIDDEN, "id": "i"}


@pytest.mark.parametrize(
    ("node", "field"),
    [
        (LLM, "config.api_key"),
        (HTTP, "config.auth.password"),
        (SIGN, "config.key"),
        (AGENT, "config.tools.0.node.config.auth.password"),
    ],
)
def test_a_document_that_was_shown_without_its_secrets_is_not_stored(node, field):
    compiler = Compiler(CATALOG, nodes_max=10, syntax=expression_faults)
    shown = SECRETS.hidden(document({"id": "start", "type": "trigger.manual"}, node))
    shown["connections"] = [{"source": "start", "target": node["id"]}]

    with pytest.raises(InvalidDefinition) as caught:
        compiler.compile(parse_document(shown))

    found = [(each["code"], each["field"]) for each in caught.value.fields["findings"] if each["severity"] == "error"]
    assert ("hidden_secret", field) in found
    assert {code for code, _ in found} == {"hidden_secret"}


def test_that_a_secret_has_changed_is_told_without_either():
    other = {**LLM, "config": {**LLM["config"], "api_key": "sk-new"}}
    before, after = parse_document(document(LLM, HTTP)), parse_document(document(other, HEADER))

    found = compare(before, after, SECRETS.hidden_in)

    (change,) = found.nodes_changed
    assert [each.field for each in change.fields] == ["config"]
    assert (change.fields[0].before["api_key"], change.fields[0].after["api_key"]) == (HIDDEN, HIDDEN)
    assert found.nodes_removed[0]["config"]["auth"]["password"] == HIDDEN
    assert found.nodes_added[0]["config"]["auth"]["value"] == HIDDEN
    assert compare(before, after).nodes_changed[0].fields[0].after["api_key"] == "sk-new"


def test_an_export_has_no_secrets_whatever_their_names_are():
    named = {**LLM, "config": {**LLM["config"], "api_key": "{{ $json.key }}"}}

    definition, removed = portable(*SECRETS.emptied(document(HEADER, SIGN, AGENT, named)))

    header, sign, agent, llm = (node["config"] for node in definition["nodes"])
    assert (header["auth"]["value"], sign["key"], agent["api_key"]) == ("", "", "")
    assert agent["tools"][0]["node"]["config"]["auth"]["password"] == ""
    assert llm["api_key"] == "{{ $json.key }}", "an expression only names a secret"
    assert removed == [
        "nodes.c.config.auth.value",
        "nodes.d.config.key",
        "nodes.e.config.api_key",
        "nodes.e.config.tools.0.node.config.auth.password",
    ]
