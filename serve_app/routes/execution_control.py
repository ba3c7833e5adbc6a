"""Control of a running execution: stop it, pause it, let it go on. Each is a wish, left for the execution's owner."""

from http import HTTPStatus
from uuid import UUID

import orjson
from fastapi import APIRouter
from fastapi.responses import Response

from actors.ids import new_id
from serve_app import models, views
from serve_app.auth import Editor
from serve_app.openapi import problems
from serve_app.routes.asking import Asked, ExecutionId, answer
from serve_app.services import Services
from workflow.ports import ExecutionView, SignalKind

router = APIRouter(prefix="/workspaces/{workspace_id}/executions/{execution_id}", tags=["executions"])


@router.post(
    "/cancel",
    operation_id="cancel_execution",
    status_code=HTTPStatus.ACCEPTED,
    response_model=models.ExecutionOut,
    responses=problems(409),
)
async def cancel_execution(execution_id: ExecutionId, caller: Editor, services: Asked) -> Response:
    """Ask for an execution to stop, and the ones that it has started and waits for: 202 when the wish is durable.

    What is under way is aborted. 409 when it has ended already.
    """
    return await _leave(services, caller, execution_id, SignalKind.CANCEL)


@router.post(
    "/pause",
    operation_id="pause_execution",
    status_code=HTTPStatus.ACCEPTED,
    response_model=models.ExecutionOut,
    responses=problems(409),
)
async def pause_execution(execution_id: ExecutionId, caller: Editor, services: Asked) -> Response:
    """Ask for an execution to pause: 202 when the wish is durable. No further node begins; what is under way ends and is kept.

    It is then `paused`, held by no process, until it is resumed or cancelled. Its time limit goes on. 409 when it is paused already
    or has ended.
    """
    return await _leave(services, caller, execution_id, SignalKind.PAUSE)


@router.post(
    "/resume",
    operation_id="resume_execution",
    status_code=HTTPStatus.ACCEPTED,
    response_model=models.ExecutionOut,
    responses=problems(409),
)
async def resume_execution(execution_id: ExecutionId, caller: Editor, services: Asked) -> Response:
    """Let an execution go on that is paused or about to be: 202 when the wish is durable, 409 for any other."""
    return await _leave(services, caller, execution_id, SignalKind.RESUME)


async def _leave(services: Services, caller: Editor, execution_id: UUID, kind: SignalKind) -> Response:
    by = orjson.dumps({"by": str(caller.user_id)})
    view = await services.executions.signal(caller.workspace_id, execution_id, new_id(), kind, by)
    poke(services, view)
    return answer(views.execution(view, None), HTTPStatus.ACCEPTED)


def poke(services: Services, view: ExecutionView) -> None:
    """Have whoever owns, or may claim, an execution look at its signals soon."""
    if view.actor_name and view.owner is not None and not view.status.terminal:
        services.pool.deliver(view.actor_name, view.id)
    else:
        services.acceptor.queue_changed()
