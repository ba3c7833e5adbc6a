"""The workflow document: what people write, as frozen pydantic models. Unknown fields are refused, with their place."""

from enum import StrEnum
from typing import Annotated, Any, TypeAlias
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
)

from workflow.asking import AskPolicy
from workflow.errors import InvalidDefinition
from workflow.findings import Finding, Severity
from workflow.models import Gpu
from workflow.ports import Isolation, OnLimit
from workflow.retry import RetryPolicy
from workflow.spelling import respell

NodeId: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Handle: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=100)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Position(_Part):
    """Where an editor draws the node."""

    x: float = Field(default=0, description="to the right")
    y: float = Field(default=0, description="downwards")


class Resources(_Part):
    """What a node's work needs; asking for any of it places the node as a Ray task.

    `gpu` is also for nodes that ask models, whose work is done by replicas: it says whether these shall be on a GPU.
    """

    cpu: float = Field(default=0, ge=0, le=1024, description="cores; fractions are allowed")
    memory: int = Field(default=0, ge=0, description="bytes")
    gpu: Gpu | None = Field(
        default=None,
        description="`required`: it fails at once where the cluster has none; `preferred`: it uses one where there is one; by default "
        "as the node's type does: models prefer one, other work uses none",
    )

    gpus: float = Field(
        default=0,
        ge=0,
        le=64,
        description="how much of a GPU a Ray task has: a share of one (0.5), or whole ones; with `gpu` alone it is one",
    )
    accelerator: str = Field(
        default="",
        max_length=100,
        description="the type of GPU that a Ray task must have, by Ray's name for it (`A100`, `T4` …)",
    )

    @field_validator("gpus")
    @classmethod
    def _is_a_share_or_whole(cls, gpus: float) -> float:
        if gpus > 1 and gpus != int(gpus):
            raise ValueError("a share of a GPU is less than 1, and more than one GPU are whole ones")
        return gpus

    @property
    def any(self) -> bool:
        """Whether anything is asked for that only a Ray task can have."""
        return self.cpu > 0 or self.memory > 0 or self.gpus > 0 or bool(self.accelerator)

    @property
    def moves(self) -> bool:
        """Whether work that can be a Ray task becomes one."""
        return self.any or self.gpu in (Gpu.REQUIRED, Gpu.PREFERRED)

    @property
    def gpu_wish(self) -> Gpu:
        """Whether a Ray task wants a GPU: who says how much, or of which type, requires it unless he says otherwise."""
        return self.gpu or (Gpu.REQUIRED if self.gpus > 0 or self.accelerator else Gpu.NONE)

    @property
    def gpus_wanted(self) -> float:
        """How much of a GPU a Ray task has that gets any."""
        return self.gpus or (0.0 if self.gpu_wish is Gpu.NONE else 1.0)


class OnError(StrEnum):
    """What a node's failure means for the execution."""

    STOP = "stop"
    """It fails with the node."""
    CONTINUE = "continue"
    """It goes on behind the node's first output, with the failed items and their errors."""
    ERROR_OUTPUT = "error_output"
    """It goes on behind the node's output `error`, with the failed items and their errors."""
    ASK = "ask"
    """Somebody is asked whether it is tried again, skipped, replaced by what they give, or fails."""


class Cycles(StrEnum):
    """Whether connections may lead back without a node that loops."""

    REFUSE = "refuse"
    ALLOW = "allow"


class ErrorTrigger(StrEnum):
    """Which ends of an execution begin its error workflow."""

    ON_FAILURE = "on_failure"
    ON_TIMEOUT = "on_timeout"
    ON_ALL = "on_all"


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone of the IANA database") from None
    return name


TimeZone: TypeAlias = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_zone)]


class Node(_Part):
    """One node."""

    id: NodeId = Field(description="unique in the workflow")
    type: Annotated[str, StringConstraints(min_length=1, max_length=50)] = Field(description="a type of the catalogue")
    name: Annotated[str, StringConstraints(max_length=255)] = Field(
        default="", description="what people call it; expressions may use it where it is unique"
    )
    position: Position = Field(default=Position(), description="where an editor draws it")
    config: dict[str, Any] = Field(default_factory=dict, description="as the JSON Schema of its type says")
    disabled: bool = Field(default=False, description="it does nothing and passes its items on")
    on_error: OnError = Field(default=OnError.STOP, description="what its failure means for the execution")
    ask: AskPolicy | None = Field(
        default=None,
        description="who is asked with `on_error: ask`, and for how long; null: the editors, for as long as it takes",
    )
    retry: RetryPolicy | None = Field(default=None, description="null: it is tried once")
    at_most_once: bool = Field(
        default=False,
        description="of a node with an effect outside: it is never started a second time by itself; where nobody knows what became of "
        "it, as after a crash, it fails with `unknown_outcome`",
    )
    pinned: dict[Handle, list[dict[str, Any]]] | None = Field(
        default=None, description="the objects that it gives, by output, instead of doing its work"
    )
    timeout_ms: int | None = Field(
        default=None, ge=1, le=86_400_000, description="how long one attempt may take; null: as its type says"
    )
    resources: Resources = Field(default=Resources(), description="what its work needs")


class Connection(_Part):
    """From an output handle of one node to an input handle of another."""

    source: NodeId = Field(description="the node that items come from")
    target: NodeId = Field(description="the node that they go to")
    sourceHandle: Handle = Field(default="main", description="an output of the source")  # noqa: N815 - the document's spelling
    targetHandle: Handle = Field(default="main", description="an input of the target")  # noqa: N815


class ConcurrencySettings(_Part):
    """How many executions may be under way at once."""

    key: Annotated[str, StringConstraints(max_length=1_000)] = Field(
        default="",
        description="executions with the same key are counted together; it may hold plain paths into the input, as in "
        "`{{ $json.customer }}`; empty: all of the workflow",
    )
    limit: int = Field(
        default=0, ge=0, le=100_000, description="running, waiting or paused at once, of each key; 0: no limit"
    )
    on_limit: OnLimit = Field(
        default=OnLimit.QUEUE,
        description="what becomes of one more: it is queued until one has ended; or it is queued and the oldest are cancelled; or it is "
        "refused",
    )


class BudgetSettings(_Part):
    """How much of models one execution may use; what is reached stops the next call."""

    usd: float | None = Field(
        default=None, gt=0, le=1_000_000_000, description="US dollars, of calls whose price is known; null: no limit"
    )
    tokens: int | None = Field(default=None, ge=1, le=10**15, description="tokens read and written; null: no limit")


class WorkflowSettings(_Part):
    """Settings of the whole workflow."""

    isolation: Isolation = Field(default=Isolation.POOLED, description="whether executions share their actor")
    timeout_ms: int = Field(default=0, ge=0, le=2_592_000_000, description="of a whole execution; 0: none")
    max_parallel_nodes: int = Field(default=0, ge=0, le=10_000, description="nodes under way at once; 0: no limit")
    cycles: Cycles = Field(default=Cycles.REFUSE, description="whether connections may lead back without a loop node")
    max_node_runs: int = Field(default=1_000, ge=1, le=100_000, description="how often one node may run")
    error_workflow: UUID | None = Field(
        default=None, description="the workflow that is executed when an execution has failed or its time was over"
    )
    error_trigger: ErrorTrigger = Field(
        default=ErrorTrigger.ON_ALL, description="which of the two; an execution begun in this way begins no other"
    )
    timezone: TimeZone = Field(default="UTC", description="an IANA name, for dates in expressions and nodes")
    concurrency: ConcurrencySettings = Field(
        default=ConcurrencySettings(), description="how many executions may be under way at once"
    )
    budget: BudgetSettings = Field(
        default=BudgetSettings(),
        description="how much of models one execution may use, with all that it starts; the instance's `models.budgets` hold as well",
    )


class Document(_Part):
    """A workflow as written."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=255)] = Field(description="what people call it")
    nodes: list[Node] = Field(default_factory=list, description="in any order")
    connections: list[Connection] = Field(default_factory=list, description="also accepted as `edges`")
    settings: WorkflowSettings = Field(default=WorkflowSettings(), description="of the whole workflow")
    viewport: dict[str, Any] = Field(default_factory=dict, description="what an editor shows; kept as it is")
    input_schema: dict[str, Any] = Field(default_factory=dict, description="JSON Schema that every input must satisfy")


def _node_id(value: Any, location: tuple[int | str, ...]) -> str:
    """Find the id of the node that a validation error is in, if it has a usable one."""
    if len(location) < 2 or location[0] != "nodes" or not isinstance(location[1], int):
        return ""
    found = value["nodes"][location[1]]
    found = found.get("id", "") if isinstance(found, dict) else ""
    return found if isinstance(found, str) else ""


def parse_document(value: Any) -> Document:
    """Return the document. Raises `InvalidDefinition` with a finding for each place that is malformed."""
    try:
        return Document.model_validate(respell(value))
    except ValidationError as error:
        findings = [
            Finding(
                severity=Severity.ERROR,
                code="unknown_field" if e["type"] == "extra_forbidden" else "malformed_document",
                node_id=_node_id(value, e["loc"]),
                field=".".join(str(part) for part in e["loc"]),
                message="this field is not known here" if e["type"] == "extra_forbidden" else e["msg"],
            )
            for e in error.errors(include_url=False, include_input=False)[:100]
        ]
    raise InvalidDefinition(
        f"the document is malformed: {findings[0].field or 'it'}: {findings[0].message}",
        fields={"findings": [f.as_dict() for f in findings]},
    )
