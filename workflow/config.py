"""The config of a node as a template: what is fixed, and the placeholders that are filled in before each attempt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from workflow import expression
from workflow.errors import BadInput, NodeError
from workflow.expression import Scope
from workflow.spec import Config, Items, JsonObject, NodeSpec, Outputs, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """Another node as expressions see it: its items by output handle, as its last completed run gave them.

    `paired` has an entry for each item of the node whose config it is: the handle and the index of the item of this
    other node that it descends from, or None.
    """

    outputs: Outputs
    paired: Sequence[tuple[str, int] | None] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What the expressions of one attempt see. All of it is data: none of it is ever parsed."""

    items: Items
    execution_id: UUID
    workflow_id: UUID | None
    workflow_name: str
    run_index: int = 0
    now_ms: int = 0
    timezone: str = "UTC"
    nodes: Mapping[str, NodeView] = field(default_factory=dict)
    """The nodes that the template refers to, under the names that it uses for them (name or id)."""


class ConfigTemplate:
    """A config that was parsed once. Raises `BadInput` where a placeholder does not parse."""

    __slots__ = ("_compiled", "_config", "_each_item", "_literal", "static")

    def __init__(self, config: JsonObject, spec: NodeSpec) -> None:
        self._config = config
        self._literal = {key: value for key, value in config.items() if key in spec.literal}
        open_part = {key: value for key, value in config.items() if key not in spec.literal}
        self._compiled = expression.compile_value(open_part)
        self._each_item = spec.each_item
        self.static = self._compiled.root is open_part
        """Whether there are no placeholders."""

    @property
    def references(self) -> frozenset[str]:
        """The other nodes that it refers to, by the names or ids that it uses."""
        return frozenset()

    async def resolve(self, frame: Frame) -> Config:
        """Fill in the placeholders. What cannot be evaluated is kept as the error of its item."""
        if self.static:
            return Config(self._config)
        if self._each_item and frame.items:
            each = [self._for_item(frame, index) for index in range(len(frame.items))]
            return Config(each[0], each)
        return Config(self._for_item(frame, 0))

    def _for_item(self, frame: Frame, index: int) -> JsonObject | NodeError:
        json: JsonObject = frame.items[index]["json"] if frame.items else {}
        workflow_id = str(frame.workflow_id) if frame.workflow_id else None
        scope = Scope(json, index, str(frame.execution_id), workflow_id, frame.workflow_name)
        try:
            return {**self._compiled.evaluate(scope), **self._literal}
        except BadInput as error:
            return NodeError(error.message, "expression_failed", {**error.fields, "item_index": index})


def problems(config: Any, spec: NodeSpec) -> list[Problem]:
    """Find every placeholder in a config that does not parse."""
    return expression.problems({key: value for key, value in config.items() if key not in spec.literal})
