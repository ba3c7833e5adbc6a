"""Writes `docs/nodes.md` from the specs of the node types that come with Rayloom: `python -m nodes.documentation docs/nodes.md`."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from nodes.catalog import load_own
from workflow.spec import Effect, Example, NodeSpec, Placement

HEAD = """# Node types

This page is generated from the specs in `nodes/` by `make docs`; a test fails when it is stale, and another one runs every
example. The same is in `GET /api/v1/node-types`, as JSON Schemas, and in `rayloom node-types`.

Strings in a config may hold [expressions](expressions.md), except in the fields marked "as written". Every node also has the
fields `disabled`, `on_error`, `ask`, `retry`, `timeout_ms`, `resources` and `pinned`; see [the glossary](glossary.md).
"""

_EFFECTS: Mapping[Effect, str] = {
    Effect.PURE: "nothing outside sees it; may be computed again after a crash",
    Effect.EFFECT: "visible outside; starts when all that it depends on is committed; may be repeated under the same key",
    Effect.AT_MOST_ONCE: "visible outside; never started twice",
}


def page() -> str:
    """Return the page."""
    specs = [node_type.spec for node_type in load_own()]
    categories = sorted({spec.category for spec in specs}, key=lambda name: (name != "trigger", name))
    parts = [HEAD]
    for category in categories:
        chosen = [spec for spec in specs if spec.category == category]
        parts.append(f"- **{category}**: " + ", ".join(f"[`{s.type}`](#{_anchor(s.type)})" for s in chosen))
    for category in categories:
        parts += [part for spec in specs if spec.category == category for part in _section(spec)]
    return "\n".join(parts) + "\n"


def _anchor(text: str) -> str:
    return text.replace(".", "")


def _section(spec: NodeSpec) -> Iterator[str]:
    yield f"\n## {spec.type}\n"
    yield f"**{spec.title}.** {spec.description}\n"
    yield from _facts(spec)
    properties = spec.config_schema.get("properties", {})
    if properties:
        yield "\n| field | type | default | |\n|---|---|---|---|"
        required = set(spec.config_schema.get("required", ()))
        yield from _fields(properties, required, "", spec.literal)
    for example in spec.examples:
        yield from _example(example)


def _facts(spec: NodeSpec) -> Iterator[str]:
    if spec.aliases:
        yield f"- also accepted as: {', '.join(f'`{alias}`' for alias in spec.aliases)}"
    if spec.inputs:
        yield f"- inputs: {', '.join(f'`{handle}`' for handle in spec.inputs)}"
    yield f"- outputs: {', '.join(f'`{handle}`' for handle in spec.outputs)}"
    if spec.body:
        yield f"- the nodes behind `{spec.body}` are its body, and it runs again when they have settled"
    yield f"- effect: {_EFFECTS[spec.effect]}"
    where = "a Ray task" if spec.placement is Placement.TASK else "the execution's actor"
    moves = ", or a Ray task where it asks for resources or its input is large" if spec.may_move else ""
    limit = f"time limit {spec.timeout_ms // 1000} s"
    if spec.suspends:
        limit += " for what it does between waits; waiting itself has none, unless `timeout_ms` limits both together"
    yield f"- runs in {where}{moves}; {limit}"
    scope = "every item" if spec.each_item else "the first item"
    yield f"- expressions in its config are evaluated for {scope}"


def _fields(properties: Mapping[str, Any], required: set[str], above: str, literal: Iterable[str]) -> Iterator[str]:
    for name, schema in properties.items():
        path = f"{above}{name}"
        words = [schema["title"] + "." if schema.get("title") else "", schema.get("description", "")]
        if name in required:
            words.append("Required.")
        if path in literal:
            words.append("Taken as written.")
        if schema.get("x-secret"):
            words.append("Secret.")
        default = f"`{json.dumps(schema['default'])}`" if "default" in schema else ""
        text = " ".join(word for word in words if word).replace("|", "\\|").replace("\n", " ")
        yield f"| `{path}` | {_kind(schema)} | {default} | {text} |"
        inner = schema.get("items", schema) if schema.get("type") == "array" else schema
        if isinstance(inner, dict) and inner.get("properties"):
            mark = "[]." if inner is not schema else "."
            yield from _fields(inner["properties"], set(inner.get("required", ())), f"{path}{mark}", ())


def _kind(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{_plain(value)}`" for value in schema["enum"])
    kind = schema.get("type")
    if kind is None:
        options = schema.get("anyOf") or schema.get("oneOf") or ()
        kind = [option["type"] for option in options if isinstance(option.get("type"), str)] or "any"
    kinds = kind if isinstance(kind, list) else [kind]
    text = " or ".join(kinds)
    if "minimum" in schema or "maximum" in schema:
        text += f" {schema.get('minimum', '')}…{schema.get('maximum', '')}"
    return text


def _plain(value: Any) -> str:
    return value if isinstance(value, str) and value.isprintable() else json.dumps(value)


def _example(example: Example) -> Iterator[str]:
    yield f"\nExample: {example.title}\n"
    yield "```jsonc"
    yield f"// config\n{_json(example.config)}"
    for handle, items in (example.inputs or {"": example.items}).items():
        if items:
            yield f"// items{f' on `{handle}`' if handle else ''}\n" + "\n".join(_json(item) for item in items)
    for handle, items in (example.outputs or {}).items():
        yield f"// gives on `{handle}`\n" + ("\n".join(_json(item) for item in items) or "// nothing")
    if example.error:
        yield f"// fails with the code `{example.error}`"
    yield "```"


def _json(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 110 else json.dumps(value, ensure_ascii=False, indent=2)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page())
