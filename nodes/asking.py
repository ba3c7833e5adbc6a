"""Nodes that ask something once and wait until it is settled."""

from collections.abc import Callable

from workflow.spec import NodeContext
from workflow.waiting import NewRequest, Request, RequestStatus, Suspend, Wake


async def asked(context: NodeContext, new: Callable[[], NewRequest]) -> Request | Suspend:
    """Return what became of the request of this run, made where it is not there yet; `Suspend` while nobody has settled it."""
    request = await context.requests.look(expire=context.woken is Wake.TIME)
    if request is None:
        request = await context.requests.open(new())
    return Suspend(request.expires_ms) if request.status is RequestStatus.PENDING else request
