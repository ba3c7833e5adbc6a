"""Conversations that workflows remember: look at them, take them away."""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from fastapi.responses import Response

from serve_app import conversation_views as views
from serve_app.auth import Editor, Viewer
from serve_app.routes.asking import Asked, Cursor, Limit, answer, number_in
from workflow.conversations import CONVERSATION_ID_CHARS_MAX, check_id
from workflow.errors import BadInput, Unprocessable

router = APIRouter(prefix="/workspaces/{workspace_id}/conversations", tags=["conversations"])


async def _checked(
    conversation_id: Annotated[
        str, Path(description=f"the conversation's id, up to {CONVERSATION_ID_CHARS_MAX} characters")
    ],
) -> str:
    try:
        return check_id(conversation_id)
    except BadInput as error:
        raise Unprocessable(error.message, error.code) from error


ConversationId = Annotated[str, Depends(_checked)]


@router.get("", operation_id="list_conversations", response_model=views.ConversationsOut)
async def list_conversations(caller: Viewer, services: Asked, cursor: Cursor = None, limit: Limit = 50) -> Response:
    """List the workspace's conversations, the one that was added to last first."""
    page = await services.conversations.page(caller.workspace_id, cursor=cursor, limit=limit)
    return answer({"items": [views.conversation_view(one) for one in page.items], "next_cursor": page.next_cursor})


# An id may have slashes in it, so what follows it is told from its end.
@router.get(
    "/{conversation_id:path}/messages",
    operation_id="list_conversation_messages",
    response_model=views.ConversationMessagesOut,
)
async def list_conversation_messages(
    conversation_id: ConversationId, caller: Viewer, services: Asked, cursor: Cursor = None, limit: Limit = 50
) -> Response:
    """List what was said in a conversation, oldest first."""
    page = await services.conversations.messages(
        caller.workspace_id, conversation_id, after=number_in(cursor) or 0, limit=limit
    )
    return answer({"items": [views.message_view(one) for one in page.items], "next_cursor": page.next_cursor})


@router.delete(
    "/{conversation_id:path}",
    operation_id="delete_conversation",
    status_code=HTTPStatus.NO_CONTENT,
    response_class=Response,
)
async def delete_conversation(conversation_id: ConversationId, caller: Editor, services: Asked) -> Response:
    """Delete a conversation with all that was said."""
    await services.conversations.delete(caller.workspace_id, conversation_id)
    return Response(status_code=HTTPStatus.NO_CONTENT)
