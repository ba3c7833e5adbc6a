"""I8: of all who answer a request one decides, whoever was told so is the one, and it is told once. Pure."""

from collections import Counter
from collections.abc import Iterator

from tests.storm.evidence import Request, Story
from tests.storm.journal import Said, Submission
from tests.storm.people import who_said

DECIDED, TIMEOUT = ("approved", "rejected", "answered"), "timeout"
TAKEN, TOO_LATE = 200, 409
STATUS_OF = {"approve": "approved", "reject": "rejected"}


def decisions(told: Story, submission: Submission) -> Iterator[str]:
    """Hold what people said, and were told, against the requests of an execution and the audit; yield what does not fit."""
    by_id = {request.id: request for request in told.requests}
    for said in submission.said.values():
        if said.request not in by_id:
            yield f"{said.who} answered a request that is not there"
    entries = Counter(entry.request_id for entry in told.noted)
    for request in told.requests:
        mine = {said.who: said for said in submission.said.values() if said.request == request.id}
        yield from _decided(request, mine)
        wanted = int(request.status in (*DECIDED, TIMEOUT))
        if entries[request.id] != wanted:
            yield f"{_name(request)} has {entries[request.id]} entries in the audit, not {wanted}"
    for entry in told.noted:
        request_of = by_id.get(entry.request_id)
        if request_of is not None and request_of.kind != "webhook" and request_of.response is not None:
            noted, held = who_said("audit", entry.response or {}), who_said(request_of.kind, request_of.response)
            if noted != held:
                yield f"{_name(request_of)} holds the answer of {held}, the audit that of {noted}"


def _decided(request: Request, mine: dict[str, Said]) -> Iterator[str]:
    winners = [said for said in mine.values() if said.status == TAKEN]
    if len(winners) > 1:
        yield f"{_name(request)} was decided by {sorted(said.who for said in winners)}"
    if request.status not in DECIDED:
        yield from (f"{_name(request)} is {request.status}, {said.who} had decided it" for said in winners)
        return
    who, action = who_said(request.kind, request.response or {})
    said = mine.get(who)
    if said is None:
        yield f"{_name(request)} holds the answer of {who!r}, which nobody gave"
        return
    if said.action != action or STATUS_OF.get(action, "answered") != request.status:
        yield f"{_name(request)} is {request.status} by {action!r}, {who} said {said.action!r}"
    if said.status == TOO_LATE and not said.doubtful:
        yield f"{_name(request)} holds the answer of {who}, who was told that it came too late"
    yield from (
        f"{_name(request)} holds the answer of {who}, not of {each.who}" for each in winners if each is not said
    )


def last_decisions(told: Story) -> dict[str, dict[str, object]]:
    """Return the last decision about each node, as it is held."""
    held = [request for request in told.requests if request.status in DECIDED and request.response is not None]
    return {request.node_id: request.response for request in sorted(held, key=lambda request: request.ordinal)}


def _name(request: Request) -> str:
    return f"the request {request.id} of {request.node_id}"
