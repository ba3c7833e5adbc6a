"""The models of what is answered about executions and node types, for the OpenAPI page. `serve_app.views` writes the answers."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from workflow.states import ExecutionStatus
from workflow.waiting import RequestStatus, RequestType


class Described(BaseModel):
    """A model whose fields are described where they are named."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class ErrorOut(Described):
    """Why an execution or a node failed."""

    code: str
    """what it is; stable"""
    message: str
    """a sentence for people"""
    node_id: str | None = None
    """the node that failed, where it was one"""


class ActorOut(Described):
    """The execution actor that owns, or owned, the execution."""

    id: str
    """Ray's id of the actor"""
    name: str
    """the actor's name"""
    pid: int | None
    """its process"""
    host: str
    """the host that it runs on"""
    shared: bool | None
    """whether other executions ran there at the same time; null while it is not over"""


class TimingsOut(Described):
    """When it was accepted, began and ended."""

    queued_at: datetime
    """when it was accepted"""
    started_at: datetime | None
    """when its first node began"""
    completed_at: datetime | None
    """when it ended"""
    duration_ms: int | None
    """milliseconds from start to end"""


class ExecutionOut(Described):
    """An execution."""

    id: UUID
    """the execution's id"""
    workspace_id: UUID
    """the workspace that it belongs to"""
    workflow_id: UUID | None
    """its workflow; null where the document came with the request"""
    workflow_version: int | None
    """the version that it keeps to"""
    status: ExecutionStatus
    """where it stands"""
    trigger_type: str
    """what began it"""
    isolation: str
    """`pooled`, or `dedicated` for an actor of its own"""
    priority: int
    """higher ones leave the queue first"""
    epoch: int
    """how many owners it has had"""
    last_seq: int
    """the number of its last event"""
    nodes_total: int
    """how many nodes the document has"""
    nodes_completed: int
    """how many of them are done"""
    output: Any
    """what its last nodes gave, by node; null until it is completed"""
    error: ErrorOut | None
    """why it failed"""
    actor: ActorOut | None
    """where it runs or ran"""
    timings: TimingsOut
    """when it began and ended"""
    wake_at: datetime | None
    """when it goes on at the latest, while it waits or is paused; null where no time is set"""
    parent_execution_id: UUID | None
    """the execution that it was started by, or that it repeats"""
    depth: int
    """how many executions are above it"""
    retry_count: int
    """how many executions before it were retried, one after the other"""
    concurrency_key: str | None
    """what it is counted under by `settings.concurrency`, as its key was filled in; null where there is no limit"""
    held: bool
    """whether it is queued because as many with its key are under way as may be"""
    wish: Literal["pause", "resume", "cancel"] | None
    """what somebody has asked of it that it has not come to yet: it is pausing, or ending"""


class BlobOut(Described):
    """Data that are kept apart because they are large."""

    sha256: str
    """the hash of the JSON"""
    bytes: int
    """its length"""
    items: dict[str, int]
    """how many items there are on each handle"""


class NodeOut(Described):
    """One run of one node of an execution."""

    node_id: str
    """the node's id in the document"""
    node_name: str
    """the node's name, or the title of its type"""
    node_type: str
    """the node's type"""
    run_index: int
    """which run of the node it is, from 0"""
    status: str
    """where it stands"""
    attempt: int
    """how often it was begun"""
    started_at: datetime | None
    """when the last attempt began"""
    completed_at: datetime | None
    """when it ended"""
    duration_ms: float | None
    """milliseconds that the last attempt took"""
    output: Any
    """its items by handle; null where there are none, or where they are in `output_blob`"""
    output_blob: BlobOut | None
    """names the items where they are too large for this list: the page of the node's items shows them"""
    error: ErrorOut | None
    """why it failed"""
    logs: str
    """what it printed"""
    placement: str
    """where it ran: in the actor or as a task"""
    pid: int | None
    """the process that it ran in"""
    host: str
    """the host that it ran on"""
    gpu_ids: list[str]
    """the GPUs that it had as a Ray task; those of models are among the execution's calls of models"""


class NodesOut(Described):
    """The nodes of an execution."""

    items: list[NodeOut]
    """the nodes, in the order in which they ended"""
    next_cursor: str | None
    """always null: there is one page"""


class ItemsOut(Described):
    """A page of the items of one node's result."""

    items: list[dict[str, Any]]
    """the items in order, each an object with `json` and, where it comes from an input item, `paired_item`"""
    next_cursor: str | None
    """asks for the next page of the same handle and run; null on the last"""
    run_index: int
    """which run of the node they are of"""
    status: str
    """where that run stands"""
    handle: str
    """the output handle that they came out of"""
    handles: dict[str, int]
    """how many items there are on each handle"""


class ExecutionSummaryOut(Described):
    """An execution in a list: without its data."""

    id: UUID
    """the execution's id"""
    workflow_id: UUID | None
    """its workflow; null where the document came with the request"""
    workflow_version: int | None
    """the version that it keeps to"""
    status: ExecutionStatus
    """where it stands"""
    trigger_type: str
    """what began it"""
    priority: int
    """higher ones leave the queue first"""
    nodes_total: int
    """how many nodes the document has"""
    nodes_completed: int
    """how many of them are done"""
    concurrency_key: str | None
    """what it is counted under by `settings.concurrency`, as its key was filled in; null where there is no limit"""
    held: bool
    """whether it is queued because as many with its key are under way as may be"""
    error: ErrorOut | None
    """why it failed"""
    timings: TimingsOut
    """when it began and ended"""


class ExecutionsOut(Described):
    """A page of executions."""

    items: list[ExecutionSummaryOut]
    """the executions, newest first"""
    next_cursor: str | None
    """asks for the next page; null on the last"""


class DurationsOut(Described):
    """Milliseconds from start to end of what has ended."""

    average_ms: float | None
    """the average; null where nothing has ended"""
    p50_ms: float | None
    """half of them took no longer"""
    p95_ms: float | None
    """95 of 100 took no longer"""


class BucketOut(Described):
    """The executions accepted in a part of the window."""

    start: datetime
    """when the bucket begins"""
    total: int
    """how many were accepted in it"""
    counts: dict[str, int]
    """how many of them are in each state now"""


class StatsOut(Described):
    """What became of the executions accepted in a window."""

    window: str
    """the window that was asked for"""
    since: datetime
    """when it begins"""
    until: datetime
    """when it ends: now"""
    bucket_s: int
    """how many seconds a bucket lasts"""
    total: int
    """how many executions were accepted"""
    counts: dict[str, int]
    """how many of them are in each state"""
    success_rate: float | None
    """the share of the completed among those that ended and were not cancelled; null where there is none"""
    durations: DurationsOut
    """how long they took"""
    buckets: list[BucketOut]
    """all buckets of the window, the oldest first"""


class NotDeletedOut(Described):
    """An execution that was asked to be deleted, and was not."""

    id: UUID
    """the execution"""
    reason: str
    """`not_terminal`: it has not ended; `not_found`: there is no such execution"""


class DeletedOut(Described):
    """What was deleted."""

    deleted: int
    """how many executions were deleted"""
    not_deleted: list[NotDeletedOut]
    """those of the named that were not"""
    more: bool
    """whether the filter still finds executions to delete"""


class ExampleOut(Described):
    """A worked example of a node type."""

    title: str
    """what it shows"""
    config: dict[str, Any]
    """the node's config"""
    items: list[dict[str, Any]]
    """the objects that come in"""
    outputs: dict[str, list[dict[str, Any]]] | None
    """the objects that go out, by handle; null where they differ from one execution to the next"""


class NodeTypeOut(Described):
    """A node type."""

    type: str
    """its name in documents"""
    version: int
    """the version of the type"""
    title: str
    """its name for people"""
    category: str
    """what it is listed under"""
    description: str
    """what it does"""
    config_schema: dict[str, Any]
    """the JSON Schema (draft 2020-12) of a node's `config`"""
    inputs: list[str]
    """its input handles"""
    outputs: list[str]
    """its output handles, in order"""
    trigger: bool
    """whether an execution begins at it"""
    effect: str
    """`pure`, `effect`, or `at_most_once`: what the world outside sees of it"""
    placement: str
    """where it runs unless a node says otherwise"""
    timeout_ms: int
    """how long an attempt may take unless a node says otherwise"""
    aliases: list[str]
    """other names that documents may use for it"""
    examples: list[ExampleOut]
    """worked examples"""


class NodeTypesOut(Described):
    """Node types."""

    items: list[NodeTypeOut]
    """the node types, by name"""
    next_cursor: str | None
    """always null: there is one page"""


class PublicRequestOut(Described):
    """What whoever has a request's link may know."""

    type: RequestType
    """what kind of answer is asked for"""
    status: RequestStatus
    """where it stands"""
    title: str
    """what it is about"""
    message: str
    """what is asked"""
    options: list[dict[str, str]]
    """what there is to choose from: `id` and `label`"""
    actions: list[str]
    """what `action` of the answer may be; empty where only data are asked for"""
    form_schema: dict[str, Any]
    """JSON Schema of `data` of the answer; empty: anything"""
    expires_at: datetime | None
    """when it times out; null: never"""


class RequestOut(PublicRequestOut):
    """A request to people."""

    id: UUID
    """the request's id"""
    execution_id: UUID
    """the execution that waits for it"""
    workflow_id: UUID | None
    """its workflow"""
    node_id: str
    """the node that asks"""
    run_index: int
    """the run of that node"""
    context: dict[str, Any]
    """what whoever answers should know"""
    allowed_roles: list[str]
    """who may answer; empty: everybody who may edit. Owners always may"""
    may_answer: bool
    """whether the caller may"""
    approvals_required: int
    """how many different people must approve"""
    answers: list[dict[str, Any]]
    """the answers so far: `by`, `action`, `comment`, `data`, `at_ms`"""
    response: Any
    """what was decided; null until then"""
    responded_by: UUID | None
    """who decided; null for an answer by the link, and when time did"""
    auto_action: str
    """what is decided when nobody answers in time"""
    escalated: bool
    """whether the role that it escalates to may answer, too"""
    reminded: bool
    """whether nobody has decided and it is time to remind those who are asked"""
    created_at: datetime
    """when it was asked"""
    responded_at: datetime | None
    """when it was decided"""
    response_time_ms: int | None
    """how long that took"""
    link: str | None
    """where it can be answered without a login; null for who may not answer, and where several people have to approve"""


class RequestsOut(Described):
    """A page of requests."""

    items: list[RequestOut]
    """the requests, newest first"""
    next_cursor: str | None
    """asks for the next page; null on the last"""


class ReplicaOut(Described):
    """A replica that holds a model."""

    device: str
    """what it computes on, and how precisely"""
    host: str
    """the host that it is on"""
    pid: int
    """its process"""
    gpu_ids: list[str]
    """the GPUs that it shares or has"""
    load_s: float
    """how many seconds it took to load the model"""
    memory_mib: float
    """the resident memory of its process, the model included"""


class HostedModelOut(Described):
    """A model that replicas of the cluster hold once there is work for it."""

    name: str
    """by which nodes ask for it"""
    kind: str
    """`embed`, `rank` or `llm`"""
    default: bool
    """whether it is meant when nobody names one"""
    gpu: float
    """the share of a GPU of each replica on one; 0: it is never on a GPU"""
    replicas: int
    """how many there are just now"""
    replicas_max: int
    """how many there may be"""
    replica: ReplicaOut | None
    """one of them, as it says itself; null where there is none"""


class ProviderOut(Described):
    """Where language models are asked."""

    name: str
    """by which nodes ask for it"""
    adapter: str
    """how it is spoken to"""
    base_url: str
    """its address; empty for replicas of the cluster"""
    model: str
    """the model that is meant when a node names none"""
    tools: bool
    """whether its models can call tools"""
    images: bool
    """whether its models can see"""
    has_key: bool
    """whether a key is configured for it"""
    default: bool
    """whether it is meant when a node names none"""


class ModelsOut(Described):
    """The models that workflows may ask."""

    items: list[HostedModelOut]
    """those that replicas of the cluster hold"""
    providers: list[ProviderOut]
    """where language models are asked"""
