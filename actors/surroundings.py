"""What executions share on their actor, and what is known of one that has ended."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from uuid import UUID

from actors.config import EngineLimits
from actors.dispatch import Dispatcher
from actors.outside import Nobody, Outside
from actors.recorded import ModelsOf, NoModelsOf
from workflow.blobs import Blobs
from workflow.http import HttpClient, NoHttp
from workflow.ports import Ending, Flush, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What executions share on their actor."""

    flush: Callable[[Flush], Awaitable[Verdict]]
    blobs: Blobs
    dispatcher: Dispatcher
    may_act: Callable[[], Awaitable[None]]
    """Returns when the lease allows something visible to start; raises `Fenced` when the lease is lost."""
    committed: Callable[[UUID], None]
    """Told after each commit, for those who follow the execution."""
    now_ms: Callable[[], int]
    limits: EngineLimits
    http: HttpClient = field(default_factory=NoHttp)
    outside: Outside = field(default_factory=Nobody)
    models: ModelsOf = field(default_factory=NoModelsOf)
    child_ended: Callable[[UUID], None] = lambda _parent: None
    """Told of the parent of an execution that has ended, if it waits for that."""
    let_go: Callable[[], None] = lambda: None
    """Told when executions that a concurrency key held may be claimed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How an execution ended, as it was committed."""

    id: UUID
    epoch: int
    ending: Ending
    started_ms: int
    nodes_total: int
    nodes_completed: int
    last_seq: int
