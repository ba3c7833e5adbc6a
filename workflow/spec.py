"""What a node author needs, all of it: items, the spec of a node type, what a running node sees.

A node type is a `NodeSpec` and one async function `(context, config, items) -> outputs`. Nodes exchange items: on every output
handle a list of `{"json": {...}}`. An output handle with at least one item is live; a handle that is absent or empty is not
taken, and what can only be reached through it is skipped.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NotRequired, Protocol, TypeAlias, TypedDict
from uuid import UUID

from workflow.conversations import Conversations, NoConversations
from workflow.drafts import Drafts, NoDrafts
from workflow.effects import ForgetfulEffects, RunEffects
from workflow.errors import NodeError
from workflow.http import HttpClient, NoHttp
from workflow.knowledge import Files, Knowledge, NoKnowledge
from workflow.models import Gpu, Models, NoModels
from workflow.retry import RetryPolicy
from workflow.scripts import Scripts
from workflow.waiting import Children, NoChildren, NoRequests, Requests, Suspend, Wake

JsonObject: TypeAlias = dict[str, Any]


class Binary(TypedDict):
    """A file beside an item's object; `data` is base64."""

    data: str
    mime_type: str
    size_bytes: int
    file_name: NotRequired[str]


class Item(TypedDict):
    """One item of data: an object, files by name, and where it came from.

    `paired_item` is the index of the input item that it was made of, or the indexes where it was made of several; it
    counts through the list of items that the node was given.
    """

    json: JsonObject
    binary: NotRequired[dict[str, Binary]]
    paired_item: NotRequired[int | list[int]]


Items: TypeAlias = list[Item]
Outputs: TypeAlias = dict[str, Items]

MAIN = "main"
ERROR = "error"
"""The output of failed items, on every node with `on_error: error_output`."""


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
class Example:
    """A worked example of a node type, shown in its docs and run by the tests.

    `items` are the objects that come in, or `inputs` by handle where there are several; `outputs` the objects that go out
    by handle, or None where they differ from one execution to the next; `error` the code of the error that it ends with.
    """

    title: str
    config: JsonObject
    items: Sequence[JsonObject] = ()
    outputs: Mapping[str, Sequence[JsonObject]] | None = None
    inputs: Mapping[str, Sequence[JsonObject]] | None = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """What a node type declares. It drives the catalogue, the validation and the docs.

    `config_schema` is a JSON Schema (draft 2020-12) of `config`; `outputs` are its output handles in order. `yields` says that
    the function really waits (for a subprocess, a thread, a socket), so that several are worth running at once. `literal`
    names the fields of the config that are taken as they are, without `{{ }}`; the other strings may hold placeholders,
    which are filled in before the function runs: for the first item, or with `each_item` for every item (`Config.of`).
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
    each_item: bool = False
    """Whether placeholders are filled in for every item."""
    literal: frozenset[str] = frozenset()
    body: str = ""
    """The output behind which the node's body begins. The node runs again when a round of its body has settled, and begins
    the next round by giving items on this output; when it gives none there, its other outputs go on."""
    suspends: bool = False
    """Whether the function may return `Suspend`: then it is called again, and its effect is not pure."""
    asks: bool = False
    """Whether it opens a request, which has a link."""
    catches: bool = False
    """Whether a failure in its body ends that round instead of the execution; the node then runs with `round.caught`."""
    aliases: tuple[str, ...] = ()
    """Other names that documents may use for this type."""
    examples: tuple[Example, ...] = ()


class Config(Mapping[str, Any]):
    """The config of a node with its placeholders filled in.

    As a mapping it is the config as the first item sees it, `of(index)` is the config for one item. Values are shared
    with the document and with items, so nobody changes them. What could not be evaluated raises its `NodeError` when it
    is asked for.
    """

    __slots__ = ("_each", "_whole")

    def __init__(self, whole: JsonObject | NodeError, each: Sequence[JsonObject | NodeError] | None = None) -> None:
        self._whole = whole
        self._each = each

    @property
    def whole(self) -> JsonObject:
        """The config for the first item as a plain object. Raises `NodeError`."""
        if isinstance(self._whole, NodeError):
            raise self._whole
        return self._whole

    def of(self, index: int) -> JsonObject:
        """Return the config for the item of this index. Raises `NodeError` where it could not be evaluated for it."""
        found = self._whole if self._each is None else self._each[index]
        if isinstance(found, NodeError):
            raise found
        return found

    def __getitem__(self, key: str) -> Any:
        return self.whole[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.whole)

    def __len__(self) -> int:
        return len(self.whole)


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


class Sandbox(Scripts, Protocol):
    """Runs user code and expressions away from everything: no files, no network, no environment, with hard limits."""

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

    async def render(self, template: str, variables: Mapping[str, Any], limits: CodeLimits) -> str:
        """Fill a Jinja template in with variables (JSON data); raises `NodeError`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """What one connection to the node brought: nothing, where it was not taken.

    `start` is where its items begin in the list of all items that the node is given.
    """

    handle: str
    source_id: str
    source_handle: str
    items: Items
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Caught:
    """A failure in the body of a node that catches."""

    node_id: str
    run_index: int
    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """Where a node with a body stands. The lists are shared: do not change them.

    For `paired_item`, the items that entered the node count from 0, and what its body returned goes on from there.
    """

    number: int
    """How many rounds of the body have settled since the node was entered; with 0, nothing has been returned."""
    entered: Items
    """What came to the node from outside of its body."""
    returned: Items
    """What the body returned in the round before."""
    collected: Items
    """All that the body has returned, in the order of the rounds."""
    returns: bool
    """Whether any connection leads back to the node."""
    caught: Caught | None = None


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
    left_ms: int | None = None
    """What is left of the time limit of a node that has waited; None where the whole of it is left, or waits do not count."""
    http: HttpClient = field(default_factory=NoHttp)
    """The way to the world outside."""
    requests: Requests = field(default_factory=NoRequests)
    """What this run asks of people or of other systems."""
    children: Children = field(default_factory=NoChildren)
    """The executions that this run starts."""
    models: Models = field(default_factory=NoModels)
    """Models that embed, rank and answer."""
    knowledge: Knowledge = field(default_factory=NoKnowledge)
    """The documents of the workspace."""
    conversations: Conversations = field(default_factory=NoConversations)
    """What was said in the workspace, from one execution to the next."""
    files: Files | None = None
    """Reads files as text; None where that cannot be done."""
    effects: RunEffects = field(default_factory=ForgetfulEffects)
    """What expensive effects of this run have given: kept before it is used, and found again by the next attempt."""
    drafts: Drafts = field(default_factory=NoDrafts)
    """Where a model's answer is told while it is written."""
    answer: str = ""
    """What a model has answered first; the event of the node's end carries the beginning of it."""
    gpu: Gpu = Gpu.PREFERRED
    """Whether models are to use a GPU for it."""
    woken: Wake | None = None
    """Set when the function is called again after it has suspended."""
    now_ms: int = 0
    """When this attempt began (Unix)."""
    timezone: str = "UTC"
    """The workflow's time zone, an IANA name."""
    branches: Sequence[Branch] = ()
    """The connections to the node, in the order of the document; a node that starts an execution has none."""
    round: Round | None = None
    """Set for a node with a body."""
    keep_going: bool = False
    """Whether items may fail one by one (`on_error` is not `stop`)."""
    error_handle: str = ""
    """The output that failed items go to; empty where `on_error` is `stop`."""
    logs: list[str] = field(default_factory=list)
    """What the node printed, in order; kept beside its result."""
    failed: dict[int, NodeError] = field(default_factory=dict)
    """The items that failed by themselves, by index; the engine makes the error items."""
    retry: RetryPolicy | None = None
    """The node's policy, for the engine: an item is given up when no other attempt is allowed."""
    failures: int = 0
    """How many attempts of this run have failed before."""

    @contextmanager
    def item(self, index: int) -> Iterator[None]:
        """Do one item's work: if it raises `NodeError`, that item fails, or the node where `on_error` is `stop`."""
        try:
            yield
        except NodeError as error:
            error.fields.setdefault("item_index", index)
            if not self.keep_going:
                raise
            self.failed[index] = error

    @property
    def effect_key(self) -> str:
        """The idempotency key of this node's effects: stable over attempts and owners."""
        return f"{self.execution_id}:{self.node_id}:{self.run_index}"


NodeFunction: TypeAlias = Callable[[NodeContext, Config, Items], Awaitable[Outputs | Suspend]]


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
    """A spec, its function, and a check of what a schema cannot say (the syntax of code).

    `check` sees the config as it is written, with placeholders; their syntax is checked by the compiler. `outputs_of` and
    `inputs_of` give the handles of a node whose config decides about them. `workflows_of` gives the documents that a config holds,
    by the field that each is made of: they are compiled with the workflow.
    """

    spec: NodeSpec
    run: NodeFunction
    check: Callable[[JsonObject], list[Problem]] = no_problems
    outputs_of: Callable[[JsonObject], tuple[str, ...]] | None = None
    inputs_of: Callable[[JsonObject], tuple[str, ...]] | None = None
    workflows_of: Callable[[JsonObject], Mapping[str, JsonObject]] | None = None

    def outputs(self, config: JsonObject) -> tuple[str, ...]:
        """Return the output handles of a node with this config, which its schema accepts."""
        return self.spec.outputs if self.outputs_of is None else self.outputs_of(config)

    def inputs(self, config: JsonObject) -> tuple[str, ...]:
        """Return the input handles of a node with this config, which its schema accepts."""
        return self.spec.inputs if self.inputs_of is None else self.inputs_of(config)


class Catalog:
    """The node types that there are, by name; aliases are found, too."""

    def __init__(self, types: Mapping[str, NodeType]) -> None:
        self._types = dict(sorted(types.items()))
        self._aliases = {alias: name for name, found in self._types.items() for alias in found.spec.aliases}

    def __iter__(self) -> Iterator[NodeType]:
        return iter(self._types.values())

    def __len__(self) -> int:
        return len(self._types)

    def get(self, name: str) -> NodeType | None:
        """Return the node type of that name or alias, or None."""
        return self._types.get(name) or self._types.get(self._aliases.get(name, ""))
