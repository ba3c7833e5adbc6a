"""Executions made of former ones: retried, replayed as a whole or from a node, or for one node with the data of the last one.

What is kept is computed in the compiling thread where it is much; then one statement makes the new execution durable, as queued.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import orjson

from actors.ids import new_id, now_ms
from actors.rows import Rows
from serve_app.once import key_reused
from serve_app.services import Runnable, Services
from store.repeating import ONE_NODE, Former, Repetition
from workflow.blobs import put_apart, read_blob
from workflow.concurrency import ConcurrencyTemplate
from workflow.document import Document
from workflow.errors import Conflict, RayloomError, Unprocessable
from workflow.events import from_body, to_body
from workflow.inputs import check_input, input_json
from workflow.lifecycle import WorkflowStatus, state_conflict
from workflow.machine import IllegalEvent
from workflow.parts import sources, until
from workflow.plan import Plan, make_plan
from workflow.ports import Accepted, EventRow, IdempotencyKey, NodeRow, Outcome
from workflow.regions import ReturnsFromOutside, TwoEntries
from workflow.rerun import Rerun, Written, changed, following, kept_starts, rerun
from workflow.spec import Catalog
from workflow.states import ExecutionStatus
from workflow.waiting import NodeRun

RUNS_KEPT_MAX = 10_000
"""Results that one execution can keep of another: they are copied in one statement."""
EVENTS_MAX = 60_000
EVENTS_PER_NODE = 50
"""Computing what is kept of so many events takes about as long as compiling a node."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Who asks for another execution, and under which key."""

    workspace_id: UUID
    user_id: UUID
    idempotency: IdempotencyKey | None


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What to execute. `stored` is the definition where the new execution does not have it from its version or the former one."""

    version: int | None
    definition: bytes
    stored: bytes | None


@dataclass(frozen=True, slots=True)
class _Begin:
    """What an execution begins with: its plan's figures, and what it keeps."""

    document: Document
    plan: Plan
    made: Rerun | None


async def retry(services: Services, wish: Wish, execution_id: UUID) -> Accepted:
    """Execute again what has not completed: all results are kept, and the rest goes on. Raises `NotFound`, `Conflict`, `Unprocessable`."""
    known = await _known(services, wish)
    if known is not None:
        return known
    former = await _ended(services, wish, execution_id)
    if former.status is ExecutionStatus.COMPLETED:
        raise Conflict(
            "the execution is completed: there is nothing to retry", "execution_completed", {"state": former.status}
        )

    begin = await _begin(services, former, former.definition, lambda _old, _new: frozenset())
    return await _submit(services, _repetition(wish, former, begin, "retry", former.retry_count + 1))


async def replay(services: Services, wish: Wish, execution_id: UUID, asked: dict[str, Any]) -> Accepted:
    """Execute what has ended again, or from a node on. Raises `NotFound`, `Conflict`, `Unprocessable`, `InvalidDefinition`."""
    known = await _known(services, wish)
    if known is not None:
        return known
    former = await _ended(services, wish, execution_id)
    chosen = await _definition(services, wish, former, asked)
    from_node = asked.get("from_node")
    given = "input" in asked

    def keep(old: Written, new: Written) -> frozenset[str]:
        again = following(new.plan, {_reached(new.plan, from_node), *changed(new, old)})
        starts = kept_starts(new.plan, again) if given else []
        if starts:
            message = (
                f"the input goes to {starts[0]!r}, whose result is kept: leave out `from_node` to give it to all, or execute "
                f"{from_node!r} by itself to give it other items"
            )
            raise Unprocessable(message, "input_not_used", {"node_ids": starts})
        return again

    begin = await _begin(services, former, chosen.definition, keep if from_node is not None else None)
    new = _repetition(wish, former, begin, "replay" if from_node is None else "partial_replay", 0)
    new = replace(new, workflow_version=chosen.version, definition=chosen.stored)
    if asked.keys() & {"input", "version", "definition"}:
        new = await _judged_anew(services, former, begin.document, asked, new)
    data = input_json(asked["input"], services.config.limits.input_bytes_max) if given else None
    return await _submit(services, new, data)


async def with_last_data(
    services: Services, wish: Wish, workflow_id: UUID, current: Runnable, node_id: str
) -> Accepted:
    """Execute one node of a workflow's current version with what came before it in the last completed execution. Raises `Unprocessable`."""
    known = await _known(services, wish)
    if known is not None:
        return known
    written = orjson.loads(current.definition)
    direct, part = await services.documents.apart([written], lambda one: (sources(one, node_id), until(one, node_id)))
    last = await services.repeating.last_completed(wish.workspace_id, workflow_id, direct)
    if last is None:
        message = f"nothing before {node_id!r} has given data in a completed execution: give `items` or `data`"
        raise Unprocessable(message, "no_data", {"node_ids": direct})
    former = await services.repeating.former(wish.workspace_id, last)
    definition = orjson.dumps(part.model_dump(mode="json"))

    def keep(_old: Written, new: Written) -> frozenset[str]:
        again = following(new.plan, {_reached(new.plan, node_id)})
        if len(again) > 1:
            message = f"{node_id!r} is in a loop or a try, which runs as a whole: give `items` or `data`"
            raise Unprocessable(message, "node_in_loop", {"node_ids": sorted(again)})
        return again

    begin = await _begin(services, former, definition, keep)
    ready = begin.made.ready if begin.made is not None else frozenset()
    if ready != {node_id}:
        lacking = sorted(ready - {node_id}) or [node_id]
        message = f"in the last completed execution {lacking[0]!r} was not reached or has changed since: give `items` or `data`"
        raise Unprocessable(message, "no_data", {"node_ids": lacking, "execution_id": str(last)})
    new = _repetition(wish, former, begin, ONE_NODE, 0)
    return await _submit(services, replace(new, workflow_version=current.version, definition=definition))


async def _known(services: Services, wish: Wish) -> Accepted | None:
    """Return what was accepted before under the wish's key. Raises `Unprocessable` where that was another request."""
    if wish.idempotency is None:
        return None
    known = await services.repeating.accepted_before(wish.workspace_id, wish.idempotency)
    if known is not None and known.outcome is Outcome.KEY_MISMATCH:
        raise key_reused({"execution_id": str(known.id)})
    return known


async def _ended(services: Services, wish: Wish, execution_id: UUID) -> Former:
    former = await services.repeating.former(wish.workspace_id, execution_id)
    if not former.status.terminal:
        message = f"the execution is {former.status.value}: it has to end first"
        raise Conflict(message, "execution_not_terminal", {"state": former.status})
    return former


async def _definition(services: Services, wish: Wish, former: Former, asked: dict[str, Any]) -> _Chosen:
    """Return what to execute: what is asked for, or what the former execution was of."""
    if "definition" in asked:
        if former.workflow_id is not None:
            message = "a `definition` goes with executions without a workflow: give the `version` to execute"
            raise Unprocessable(message, "definition_not_applicable")
        await services.documents.compiled(asked["definition"])
        definition = orjson.dumps(asked["definition"])
        return _Chosen(None, definition, definition)
    if "version" in asked:
        if former.workflow_id is None or former.own_definition:
            message = "this execution is of no version as a whole, so no other one can take its place"
            raise Unprocessable(message, "version_not_applicable")
        found = await services.versions.version(wish.workspace_id, former.workflow_id, asked["version"])
        return _Chosen(found.version, found.definition, None)
    return _Chosen(former.workflow_version, former.definition, None)


async def _begin(
    services: Services, former: Former, definition: bytes, again: Callable[[Written, Written], frozenset[str]] | None
) -> _Begin:
    """Return what an execution of the definition begins with. Without `again` it keeps nothing. Raises `Unprocessable`."""
    new = orjson.loads(definition)
    if again is None:
        document, plan = await services.documents.apart([new], lambda one: (one, _plan(one, services.catalog)))
        return _Begin(document, plan, None)
    rows, stored = await services.repeating.results(former.id, EVENTS_MAX + 1)
    if len(rows) > EVENTS_MAX:
        raise _too_much(f"the execution has more than {EVENTS_MAX} events")
    choose = again

    def compute(one: Document, old: Document | None = None) -> _Begin:
        after = Written(one, _plan(one, services.catalog))
        before = after if old is None else Written(old, _plan(old, services.catalog))
        made = _rerun(before, after, rows, stored, choose(before, after))
        return _Begin(one, after.plan, made)

    written = [new] if definition == former.definition else [new, orjson.loads(former.definition)]
    return await services.documents.apart(written, compute, beside=len(rows) // EVENTS_PER_NODE)


def _rerun(
    before: Written, after: Written, rows: Sequence[EventRow], stored: set[NodeRun], again: frozenset[str]
) -> Rerun:
    events = (from_body(row.kind, row.at_ms, orjson.loads(row.body)) for row in rows)
    try:
        made = rerun(after.plan, before.plan, events, stored, again, now_ms())
    except IllegalEvent as error:
        message = f"its history does not fit its definition any more, so nothing of it can be kept: {error.message}"
        raise Unprocessable(message, "history_unusable") from error
    if len(made.kept) > RUNS_KEPT_MAX:
        raise _too_much(f"{len(made.kept)} results would be kept")
    return made


def _too_much(what: str) -> Unprocessable:
    message = f"{what}, and at most {RUNS_KEPT_MAX} results can be kept: replay it without `from_node`"
    return Unprocessable(message, "too_many_results", {"runs_max": RUNS_KEPT_MAX})


def _plan(document: Document, catalog: Catalog) -> Plan:
    try:
        return make_plan(document, catalog)
    except (RayloomError, KeyError, TwoEntries, ReturnsFromOutside) as error:
        raise Unprocessable(f"the stored definition cannot be run: {error}", "definition_unusable") from error


def _reached(plan: Plan, node_id: Any) -> str:
    """Return the node if it is in the plan, and something leads to it. Raises `Unprocessable`."""
    if not isinstance(node_id, str) or node_id not in plan.by_id:
        raise Unprocessable(f"the workflow has no node {node_id!r}", "no_such_node", {"node_id": node_id})
    if plan.regions.region_of[plan.by_id[node_id]] < 0:
        raise Unprocessable(f"nothing that starts leads to {node_id!r}", "node_unreachable", {"node_id": node_id})
    return node_id


async def _judged_anew(
    services: Services, former: Former, document: Document, asked: dict[str, Any], new: Repetition
) -> Repetition:
    """Return the repetition with the concurrency key of what is executed now, whose input fits. Raises `Unprocessable`."""
    template = ConcurrencyTemplate(document.settings.concurrency, former.workflow_id, document.name)
    if "input" in asked:
        given = asked["input"]
    elif former.input_ref is None:
        given = orjson.loads(former.input)
    else:
        given = orjson.loads(await read_blob(services.blobs, new.workspace_id, former.input_ref))
    check_input(given, document.input_schema)
    return replace(new, rekeyed=True, concurrency=template.of(given))


def _repetition(wish: Wish, former: Former, begin: _Begin, trigger_type: str, retry_count: int) -> Repetition:
    made = begin.made
    events = [] if made is None else list(_event_rows(made))
    rows = Rows(begin.plan)
    return Repetition(
        id=new_id(),
        workspace_id=wish.workspace_id,
        former_id=former.id,
        workflow_version=former.workflow_version,
        nodes_total=len(begin.plan.nodes),
        trigger_type=trigger_type,
        triggered_by=wish.user_id,
        isolation=begin.plan.isolation,
        priority=former.priority,
        retry_count=retry_count,
        idempotency=wish.idempotency,
        events=events,
        kept=() if made is None else made.kept,
        skipped=_skipped(rows, made),
        nodes_completed=0 if made is None else made.completed,
    )


def _event_rows(made: Rerun) -> Iterable[EventRow]:
    for number, event in enumerate(made.events, 1):
        body = orjson.dumps(to_body(event))
        yield EventRow(seq=number, kind=event.kind, at_ms=event.at_ms, body=body, node_id=getattr(event, "node_id", ""))


def _skipped(rows: Rows, made: Rerun | None) -> list[NodeRow]:
    return [] if made is None else [rows.skipped(index, run_index) for index, run_index in made.skipped]


async def _with_input(services: Services, new: Repetition, data: bytes | None) -> Repetition:
    """Return the execution with another input, if there is one, which is made durable as a blob where it is large."""
    if data is None:
        return new
    above_bytes = services.config.limits.blob_above_bytes
    data, reference = await put_apart(services.blobs, new.workspace_id, new.id, data, above_bytes)
    return replace(new, input=data, input_ref=reference)


async def _submit(services: Services, new: Repetition, given: bytes | None = None) -> Accepted:
    async def insert() -> Accepted:
        accepted = await services.repeating.accept(await _with_input(services, new, given))
        if isinstance(accepted, WorkflowStatus):
            raise state_conflict(accepted, "execute")
        if accepted.outcome is Outcome.KEY_MISMATCH:
            raise key_reused({"execution_id": str(accepted.id)})
        return accepted

    return await services.acceptor.queue(new.workspace_id, new.isolation, insert)
