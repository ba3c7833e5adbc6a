"""What is asked about a node that has failed where its `on_error` is `ask`, and what the answer means."""

from dataclasses import dataclass
from typing import Any

from actors.dispatch import Dispatcher
from actors.journal import Journal
from actors.outside import Outside
from actors.results import Results
from actors.rows import Rows, Stored
from workflow.asking import AutoAction
from workflow.commands import AskRecovery
from workflow.errors import BadInput, NodeError
from workflow.events import NodeRecovered
from workflow.plan import Plan, PlanNode
from workflow.ports import Claimed
from workflow.spec import Effect, Item, Items, Outputs
from workflow.state import State
from workflow.waiting import NewRequest, Recovery, Request, RequestStatus, RequestType

OPTIONS = (
    {"id": Recovery.RETRY.value, "label": "Try it again"},
    {"id": Recovery.SKIP.value, "label": "Skip it: its input goes on"},
    {"id": Recovery.REPLACE.value, "label": "Replace its output"},
    {"id": Recovery.ABORT.value, "label": "Let it fail"},
)


@dataclass(frozen=True, slots=True)
class Decided:
    """What somebody has decided about a node that has failed."""

    command: AskRecovery
    request: Request


class Recoveries:
    """Asks about the failed nodes of one execution, and does what was decided."""

    def __init__(
        self,
        claimed: Claimed,
        plan: Plan,
        results: Results,
        rows: Rows,
        journal: Journal,
        dispatcher: Dispatcher,
        outside: Outside,
    ) -> None:
        self._claimed = claimed
        self._plan = plan
        self._results = results
        self._rows = rows
        self._journal = journal
        self._dispatcher = dispatcher
        self._outside = outside

    async def ask(self, command: AskRecovery) -> Decided | None:
        """Ask what is to become of a node that has failed, or look whether that is decided; None when it is not.

        Where nobody can be asked, the node fails.
        """
        node = self._plan.nodes[command.node]
        requests = self._outside.requests(self._claimed, (node.id, command.run_index), command.ordinal)
        try:
            request = await requests.open(ask_about(node, command))
        except NodeError:
            return Decided(command, Request(id=self._claimed.id, status=RequestStatus.CANCELLED))
        if request.status is RequestStatus.PENDING and command.until_ms:
            request = await requests.look(expire=True) or request
        return None if request.status is RequestStatus.PENDING else Decided(command, request)

    def decide(self, state: State, decided: Decided, now_ms: int) -> NodeRecovered | None:
        """Note what was decided and return the event; None when it is too late. An answer that cannot be kept lets the node fail."""
        command, node = decided.command, state.nodes[decided.command.node]
        late = node.failed_with is None or (node.run_index, node.asked) != (command.run_index, command.ordinal)
        if state.stop is not None or late:
            return None
        index, run_index = command.node, command.run_index
        given = self._results.given(state, index).items
        decision, outputs, by = given_instead(self._plan.nodes[index], decided.request, given)
        counts: dict[str, int] = {}
        data = b"{}"
        try:
            if outputs:
                counts, data = self._results.accept(index, run_index, outputs, self._journal.output_bytes_max)
        except (BadInput, NodeError) as refused:
            decision, by = Recovery.ABORT, f"{by}, whose answer cannot be kept: {refused.message}"
        times_ms = (now_ms, now_ms)
        if decision in (Recovery.SKIP, Recovery.REPLACE):
            outcome = self._dispatcher.here(outputs, f"{decision.value} by {by}")
            stored = self._journal.stored(data, counts)
            row = self._rows.completed(index, run_index, node.attempt, outcome, stored, times_ms, 0)
            self._journal.node(row, self._results.completed_count)
        elif decision is Recovery.ABORT:
            error = NodeError(command.message, command.code)
            self._journal.node(self._rows.failed(index, run_index, node.attempt, error, times_ms, 0, Stored()))
        return NodeRecovered(
            at_ms=now_ms,
            node_id=self._plan.nodes[index].id,
            run_index=run_index,
            attempt=node.attempt,
            decision=decision,
            by=by,
            handles=counts,
        )


def ask_about(node: PlanNode, command: AskRecovery) -> NewRequest:
    """Return the request about a failure."""
    return NewRequest(
        type=RequestType.ERROR_RECOVERY,
        title=f"{node.name} has failed",
        message=command.message,
        options=OPTIONS,
        allowed_roles=node.ask.allowed_roles,
        timeout_ms=node.ask.timeout_ms,
        expires_ms=command.until_ms or None,
        auto_action=node.ask.auto_action or "",
        remind_after_ms=node.ask.remind_after_ms,
        escalate_after_ms=node.ask.escalate_after_ms,
        escalate_to=node.ask.escalate_to or "",
        context={"node_id": node.id, "node_type": node.type.spec.type, "code": command.code},
    )


def given_instead(node: PlanNode, request: Request, items: Items) -> tuple[Recovery, Outputs, str]:
    """Return the decision, what the node gives by it, and who decided.

    `response` of an answered request is `{"action": …}`, with `output`, a list of objects, where the action is `replace`; so is that
    of one whose time is over, if something is done then. A request that has ended in any other way lets the node fail.
    """
    response = request.response or {}
    by = str(request.user_id) if request.user_id else request.status.value
    possible: list[str] = list(Recovery) if request.status is RequestStatus.ANSWERED else []
    if request.status is RequestStatus.TIMEOUT:
        possible = list(AutoAction)
        if node.effect is Effect.AT_MOST_ONCE:
            possible.remove(AutoAction.RETRY)
    if response.get("action") not in possible:
        return Recovery.ABORT, {}, by
    decision = Recovery(response["action"])
    handle = next((handle for handle in node.handles if handle != node.type.spec.body), "")
    instead: Items = []
    if decision is Recovery.SKIP:
        instead = [Item(**{**item, "paired_item": index}) for index, item in enumerate(items)]
    elif decision is Recovery.REPLACE:
        given = response.get("output")
        objects: list[Any] = given if isinstance(given, list) else [given]
        instead = [Item(json=each) for each in objects]
    return decision, {handle: instead} if handle and instead else {}, by
