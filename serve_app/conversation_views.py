"""The models of what is answered about conversations, and how the answers are written."""

from datetime import datetime
from typing import Any, Literal

from serve_app.models import Described
from serve_app.views import iso
from workflow.conversations import Conversation, Said


class ConversationOut(Described):
    """A conversation."""

    conversation_id: str
    """its id in the workspace, as the workflow that began it has named it"""
    message_count: int
    """how many messages it has"""
    created_at: datetime
    """when it began"""
    updated_at: datetime
    """when something was added last"""


class ConversationsOut(Described):
    """A page of conversations."""

    items: list[ConversationOut]
    """the one that was added to last first"""
    next_cursor: str | None
    """asks for the page after this one"""


class ConversationMessageOut(Described):
    """Something that was said."""

    number: int
    """which message of the conversation it is, from 1"""
    role: Literal["user", "assistant", "system"]
    """who said it"""
    content: str
    """what was said"""
    metadata: dict[str, Any]
    """what else is known of it"""
    at: datetime
    """when it was added"""


class ConversationMessagesOut(Described):
    """A page of messages."""

    items: list[ConversationMessageOut]
    """oldest first"""
    next_cursor: str | None
    """asks for the page after this one"""


def conversation_view(found: Conversation) -> dict[str, Any]:
    """Return a conversation as it is shown."""
    return {
        "conversation_id": found.conversation_id,
        "message_count": found.message_count,
        "created_at": iso(found.created_ms),
        "updated_at": iso(found.updated_ms),
    }


def message_view(found: Said) -> dict[str, Any]:
    """Return a message as it is shown."""
    return {
        "number": found.number,
        "role": found.role.value,
        "content": found.content,
        "metadata": dict(found.metadata),
        "at": iso(found.at_ms),
    }
