"""The config of a node as a template: what is fixed, and the placeholders that are filled in before each attempt."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from workflow import expression
from workflow.errors import NodeError
from workflow.expression import Frame, NeedsEngine, NodeView, Placeholder, Scope, Stuck, SyntaxCheck
from workflow.expression.constraints import Check, check_for
from workflow.scripts import ExpressionLimits, Script, Scripts, ScriptTask
from workflow.spec import Config, Item, Items, JsonObject, NodeSpec, Problem

__all__ = ["ConfigTemplate", "Frame", "NodeView", "problems"]

_SOURCE_CHARS_MAX = 200


class ConfigTemplate:
    """A config that was parsed once. Raises `BadInput` where a placeholder does not parse."""

    __slots__ = ("_checks", "_compiled", "_config", "_each_item", "_literal", "_scripted", "static")

    def __init__(self, config: JsonObject, spec: NodeSpec) -> None:
        self._config = config
        self._literal = {key: value for key, value in config.items() if key in spec.literal}
        open_part = {key: value for key, value in config.items() if key not in spec.literal}
        self._compiled = expression.compile_value(open_part)
        self._each_item = spec.each_item
        self._checks = _checks(spec.config_schema, self._compiled.placeholders)
        self._scripted = frozenset(each.number for each in self._compiled.placeholders if each.path is None)
        self.static = not self._compiled.placeholders
        """Whether there are no placeholders."""

    @property
    def scripted(self) -> bool:
        """Whether filling it in takes the engine, which is worth waiting for beside others."""
        return bool(self._scripted)

    @property
    def references(self) -> Mapping[str, str]:
        """The other nodes that it refers to, by the names or ids that it uses, each with the field where it does."""
        return {name: each.field for each in reversed(self._compiled.placeholders) for name in each.uses.nodes}

    async def resolve(self, frame: Frame, scripts: Scripts, limits: ExpressionLimits | None = None) -> Config:
        """Fill in the placeholders. What cannot be evaluated for an item is kept as the error of that item.

        Raises the `NodeError`s of `Scripts.evaluate`: they are the node's.
        """
        if self.static:
            return Config(self._config)
        each_item = self._each_item and bool(frame.items)
        filling = _Filling(self._compiled.placeholders, frame, len(frame.items) if each_item else 1)
        wanted = set(self._scripted)
        while True:
            if wanted:
                await filling.run(wanted, scripts, limits or ExpressionLimits())
                wanted = set()
            each = self._each(filling, wanted)
            if not wanted:
                return Config(each[0], each if each_item else None)

    def _each(self, filling: "_Filling", wanted: set[int]) -> list[JsonObject | NodeError]:
        """Return the config for every item; add to `wanted` what only the engine can answer."""
        scope = Scope(filling.frame, 0, filling.columns)
        each = [filling.failed.get(0) or self._for_item(scope, wanted)]
        for index in range(1, filling.count):
            scope.move(index)
            each.append(filling.failed.get(index) or self._for_item(scope, wanted))
        return each

    def _for_item(self, scope: Scope, wanted: set[int]) -> JsonObject | NodeError:
        try:
            filled: JsonObject = self._compiled.evaluate(scope)
        except Stuck as stuck:
            if isinstance(stuck.cause, NeedsEngine):
                wanted.add(stuck.placeholder.number)
                return {}
            return _failed(stuck.placeholder, scope.index, str(stuck.cause))
        if self._literal:
            filled = {**filled, **self._literal}
        for placeholder, check in self._checks:
            problem = check(_at(filled, placeholder))
            if problem is not None:
                fields = {"item_index": scope.index, "expression": _shown(placeholder), "field": placeholder.field}
                return NodeError(f"{placeholder.field}: {problem}", "config_value_invalid", fields)
        return filled


class _Filling:
    """One attempt: what it sees, and what the engine has given so far."""

    def __init__(self, placeholders: Sequence[Placeholder], frame: Frame, count: int) -> None:
        self.count = count
        self.columns: dict[int, Sequence[Any]] = {}
        self.failed: dict[int, NodeError] = {}
        self._placeholders = placeholders
        self.frame = frame

    async def run(self, numbers: Iterable[int], scripts: Scripts, limits: ExpressionLimits) -> None:
        """Have the engine evaluate these placeholders for every item."""
        chosen = [self._placeholders[number] for number in sorted(numbers)]
        items = self.frame.items
        task = ScriptTask(
            scripts=[
                Script(each.source, each.mixed, None if each.uses.fields is None else tuple(sorted(each.uses.fields)))
                for each in chosen
            ],
            rows=[item["json"] for item in items[: self.count]] if items else [{}],
            scope=self._scope(chosen),
            zones=frozenset({self.frame.timezone}.union(*(each.uses.zones for each in chosen))),
        )
        results = await scripts.evaluate(task, limits)
        for placeholder, values in zip(chosen, results.values, strict=True):
            self.columns[placeholder.number] = values
        for error in results.errors:
            if error.item not in self.failed:
                placeholder = chosen[error.script]
                self.failed[error.item] = _failed(placeholder, error.item, error.message, error.line, error.column)

    def _scope(self, chosen: Sequence[Placeholder]) -> JsonObject:
        frame = self.frame
        names = frozenset().union(*(each.uses.nodes for each in chosen))
        return {
            "binary": [_files(item) for item in frame.items[: self.count]]
            if any(each.uses.binary for each in chosen)
            else None,
            "items": _plain(frame.items) if any(each.uses.items for each in chosen) else None,
            "nodes": {name: _node(frame.nodes.get(name)) for name in sorted(names)},
            "runIndex": frame.run_index,
            "execution": frame.execution,
            "workflow": frame.workflow,
            "vars": frame.variables,
            "env": frame.environment,
            "now": frame.now_ms,
            "zone": frame.timezone,
            "seed": frame.seed or str(frame.execution_id),
        }


def problems(config: Any, spec: NodeSpec, syntax: SyntaxCheck | None = None) -> list[Problem]:
    """Find every placeholder in a config that does not parse; with `syntax`, also what is not JavaScript."""
    return expression.problems({key: value for key, value in config.items() if key not in spec.literal}, syntax)


def _checks(schema: JsonObject, placeholders: Sequence[Placeholder]) -> tuple[tuple[Placeholder, Check], ...]:
    found = {each.place: (each, check_for(schema, each.place, mixed=each.mixed)) for each in placeholders}
    return tuple((each, check) for each, check in found.values() if check is not None)


def _at(config: JsonObject, placeholder: Placeholder) -> Any:
    value: Any = config
    for step in placeholder.place:
        value = value[step]
    return value


def _node(view: NodeView | None) -> JsonObject | None:
    if view is None:
        return None
    return {
        "outputs": [[handle, _plain(items)] for handle, items in view.outputs.items()],
        "paired": view.paired,
    }


def _plain(items: Items) -> list[JsonObject]:
    return [{"json": item["json"], "binary": _files(item)} for item in items]


def _files(item: Item) -> JsonObject:
    """Return what is known of an item's files, without what is in them."""
    return {
        name: {key: value for key, value in found.items() if key != "data"}
        for name, found in item.get("binary", {}).items()
    }


def _shown(placeholder: Placeholder) -> str:
    source = placeholder.source.strip()
    return source if len(source) <= _SOURCE_CHARS_MAX else source[:_SOURCE_CHARS_MAX] + "…"


def _failed(
    placeholder: Placeholder, index: int, message: str, line: int | None = None, column: int | None = None
) -> NodeError:
    fields: JsonObject = {"item_index": index, "expression": _shown(placeholder), "field": placeholder.field}
    if line is not None:
        fields["line"] = line
    if column is not None:
        fields["column"] = column
    return NodeError(f"{message} ({placeholder.field}, item {index})", "expression_failed", fields)
