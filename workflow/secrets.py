"""The secrets in a document: the fields that a node type's schema marks with `x-secret`, hidden from whoever may not see them.

A node's config may hold other nodes (the tools of an agent): theirs are hidden, too. Of a node whose type there is no longer nobody knows
which fields are secret, so none of its texts is shown.
"""

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from workflow.expression.constraints import below, followed
from workflow.spec import Catalog, JsonObject, NodeType

HIDDEN = "<secret: hidden from your role>"
"""Stands for a secret that is not shown. No config that holds it is ever stored."""
MARK = "x-secret"

_Act: TypeAlias = Callable[[Any, tuple[str | int, ...]], Any]
"""Given a secret and its place in the config, what stands there instead."""


class Secrets:
    """The secrets of documents whose node types are in a catalogue."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def hidden(self, definition: JsonObject) -> JsonObject:
        """Return a document as it is shown to whoever may not see secrets. What is empty stays so; expressions are hidden like others."""
        return {**definition, "nodes": [self.hidden_in(node) for node in definition.get("nodes", ())]}

    def hidden_in(self, node: JsonObject) -> JsonObject:
        """Return a node as it is shown to whoever may not see secrets."""
        return self._with(node, lambda value, _: _hidden(value))

    def emptied(self, definition: JsonObject) -> tuple[JsonObject, list[str]]:
        """Return a document without its secrets, and their places. Expressions stay: they only name one."""
        removed: list[str] = []
        nodes = []
        for node in definition.get("nodes", ()):
            at = f"nodes.{node.get('id', '')}.config"

            def empty(value: Any, place: tuple[str | int, ...], at: str = at) -> Any:
                if not value or (isinstance(value, str) and "{{" in value):
                    return value
                removed.append(".".join((at, *map(str, place))))
                return ""

            nodes.append(self._with(node, empty))
        return {**definition, "nodes": nodes}, removed

    def _with(self, node: JsonObject, act: _Act) -> JsonObject:
        config = node.get("config")
        if not isinstance(config, dict):
            return node
        return {**node, "config": self._config(str(node.get("type", "")), config, (), act)}

    def _config(self, type_name: str, config: JsonObject, place: tuple[str | int, ...], act: _Act) -> Any:
        node_type = self._catalog.get(type_name)
        if node_type is None:
            return _every_text(config, place, act)
        return self._replaced(node_type, config, place, act)

    def _replaced(self, node_type: NodeType, config: JsonObject, place: tuple[str | int, ...], act: _Act) -> Any:
        schema = node_type.spec.config_schema
        held = node_type.workflows_of is not None

        def walk(value: Any, schemas: list[JsonObject], at: tuple[str | int, ...]) -> Any:
            if any(each.get(MARK) for each in schemas):
                return act(value, at)
            if held and at != place and _is_node(value):
                return {**value, "config": self._config(value["type"], value["config"], (*at, "config"), act)}
            if not isinstance(value, dict | list) or not (schemas or held):
                return value
            steps = value.items() if isinstance(value, dict) else enumerate(value)
            under = {step: walk(one, _under(schema, schemas, step), (*at, step)) for step, one in steps}
            return under if isinstance(value, dict) else list(under.values())

        return walk(config, list(_alternatives(schema, schema)), place)


def hidden_places(config: JsonObject) -> list[str]:
    """Return where a config holds the stand-in for a secret: it was shown to somebody who may not see that."""
    found: list[str] = []

    def look(value: Any, place: tuple[str | int, ...]) -> Any:
        if HIDDEN in value:
            found.append(".".join(map(str, place)))
        return value

    _every_text(config, (), look)
    return found


def _is_node(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("type"), str) and isinstance(value.get("config"), dict)


def _hidden(value: Any) -> Any:
    return HIDDEN if value or isinstance(value, int | float) else value


def _every_text(value: Any, place: tuple[str | int, ...], act: _Act) -> Any:
    if isinstance(value, str):
        return act(value, place)
    if isinstance(value, dict):
        return {name: _every_text(one, (*place, name), act) for name, one in value.items()}
    if isinstance(value, list):
        return [_every_text(one, (*place, index), act) for index, one in enumerate(value)]
    return value


def _under(root: JsonObject, schemas: list[JsonObject], step: str | int) -> list[JsonObject]:
    """Return what the schemas of a value say of one of its fields or elements."""
    return [each for schema in schemas for one in below(schema, step) for each in _alternatives(root, one)]


def _alternatives(root: JsonObject, schema: Any) -> Iterator[JsonObject]:
    """Yield a schema and all that it is made of: a field that is secret in one of them is secret."""
    schema = followed(root, schema)
    if not isinstance(schema, dict):
        return
    yield schema
    parts = [part for word in ("allOf", "anyOf", "oneOf") for part in schema.get(word, ())]
    parts += [schema[word] for word in ("if", "then", "else") if word in schema]
    for part in parts:
        yield from _alternatives(root, part)
