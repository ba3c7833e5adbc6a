"""What a node author needs, all of it: items, the spec of a node type, what a running node sees.

A node type is a `NodeSpec` and one async function `(context, config, items) -> outputs`. Nodes exchange items: on every output
handle a list of `{"json": {...}}`. An output handle with at least one item is live; a handle that is absent or empty is not
taken, and what can only be reached through it is skipped.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NotRequired, Protocol, TypeAlias, TypedDict
from uuid import UUID

JsonObject: TypeAlias = dict[str, Any]


class Item(TypedDict):
    """One item of data: an object, and the index of the input item that it came from, where there is one."""

    json: JsonObject
    paired_item: NotRequired[int]


Items: TypeAlias = list[Item]
Outputs: TypeAlias = dict[str, Items]

MAIN = "main"


class Effect(StrEnum):
    """What a node does to the world outside, which decides when it may start and whether it may start again."""

    PURE = "pure"
    """Nothing outside sees it: may start on results that are not yet committed, and again after a crash."""
    EFFECT = "effect"
    """Visible outside: starts only when all that it depends on is committed; may be repeated under the same key."""
    AT_MOST_ONCE = "at_most_once"
    """Visible outside and never started twice: an unknown outcome is a failure, not another attempt."""


class Placement(StrEnum):
    """Where a node's work happens."""

    ACTOR = "actor"
    TASK = "task"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """What a node type declares. It drives the catalogue, the validation and the docs.

    `config_schema` is a JSON Schema (draft 2020-12) of `config`; `outputs` are its output handles in order. `yields` says that
    the function really waits (for a subprocess, a thread, a socket), so that several are worth running at once.
    """

    type: str
    title: str
    category: str
    description: str
    config_schema: JsonObject
    version: int = 1
    inputs: tuple[str, ...] = (MAIN,)
    outputs: tuple[str, ...] = (MAIN,)
    trigger: bool = False
    responds: bool = False
    effect: Effect = Effect.PURE
    placement: Placement = Placement.ACTOR
    may_move: bool = False
    """Whether the node may run as a Ray task, when it asks for resources or its input is large."""
    yields: bool = False
    timeout_ms: int = 60_000


@dataclass(frozen=True, slots=True)
class CodeLimits:
    """Limits of one evaluation of user code."""

    timeout_ms: int
    memory_bytes: int
    log_bytes_max: int = 65_536


@dataclass(frozen=True, slots=True)
class CodeResult:
    """What user code returned, and what it printed."""

    value: Any
    logs: str = ""


class Sandbox(Protocol):
    """Runs user code away from everything: no files, no network, no environment, with hard limits."""

    async def python(
        self, body: str, arguments: Mapping[str, Any], limits: CodeLimits, *, each: str = ""
    ) -> CodeResult:
        """Run `body` as the body of a Python function that sees `arguments`; raises `NodeError`.

        With `each`, the body runs once for every element of the list `arguments[each]` and sees that element under the
        name; the value is the list of results, and an error names the element in `fields["item_index"]`.
        """
        ...

    async def javascript(
        self, body: str, arguments: Mapping[str, Any], limits: CodeLimits, *, each: str = ""
    ) -> CodeResult:
        """Run `body` as the body of a JavaScript function, otherwise as `python` does; raises `NodeError`."""
        ...


@dataclass(slots=True, kw_only=True)
class NodeContext:
    """What a running node sees of its surroundings."""

    execution_id: UUID
    workflow_id: UUID | None
    workflow_name: str
    node_id: str
    run_index: int
    attempt: int
    timeout_ms: int
    sandbox: Sandbox
    logs: list[str] = field(default_factory=list)
    """What the node printed, in order; kept beside its result."""

    @property
    def effect_key(self) -> str:
        """The idempotency key of this node's effects: stable over attempts and owners."""
        return f"{self.execution_id}:{self.node_id}:{self.run_index}"


NodeFunction: TypeAlias = Callable[[NodeContext, JsonObject, Items], Awaitable[Outputs]]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a node's config beyond its schema: a field and a sentence."""

    code: str
    message: str
    field: str = ""


def no_problems(_config: JsonObject) -> list[Problem]:
    """Find nothing: for node types whose schema says it all."""
    return []


@dataclass(frozen=True, slots=True)
class NodeType:
    """A spec, its function, and a check of what a schema cannot say (the syntax of code and expressions)."""

    spec: NodeSpec
    run: NodeFunction
    check: Callable[[JsonObject], list[Problem]] = no_problems


class Catalog:
    """The node types that there are, by name."""

    def __init__(self, types: Mapping[str, NodeType]) -> None:
        self._types = dict(sorted(types.items()))

    def __iter__(self) -> Iterator[NodeType]:
        return iter(self._types.values())

    def __len__(self) -> int:
        return len(self._types)

    def get(self, name: str) -> NodeType | None:
        """Return the node type of that name, or None."""
        return self._types.get(name)
