"""Nodes that ask something once and wait until it is settled."""

from collections.abc import Callable

from workflow.spec import NodeContext
from workflow.waiting import NewRequest, Request, Requests, RequestStatus, Suspend, Wake


async def asked(
    context: NodeContext, new: Callable[[], NewRequest], requests: Requests | None = None
) -> Request | Suspend:
    """Return what became of the request of this run, made where it is not there yet; `Suspend` while nobody has settled it.

    `requests` means another one than the first of a run that has several.
    """
    requests = requests or context.requests
    request = await requests.look(expire=context.woken is Wake.TIME)
    if request is None:
        request = await requests.open(new())
    return Suspend(request.expires_ms) if request.status is RequestStatus.PENDING else request
