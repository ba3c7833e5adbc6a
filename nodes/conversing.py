"""Conversations that a language model goes on with: what was said before it is asked, and what is kept afterwards."""

from collections.abc import Mapping
from typing import Any

from nodes.options import whole_number
from workflow.conversations import (
    CONTENT_CHARS_MAX,
    CONVERSATION_ID_CHARS_MAX,
    MESSAGES_MAX,
    Saying,
    check_id,
)
from workflow.errors import BadInput, NodeError
from workflow.models import Message, Role
from workflow.spec import JsonObject, NodeContext

READ_LIMIT = 20

MESSAGE_PROPERTIES: JsonObject = {
    "at": {"type": "string", "title": "At", "description": "As `ai.memory` reads it; nothing is made of it."},
    "metadata": {
        "type": "object",
        "title": "Metadata",
        "description": "As `ai.memory` reads it; the model is not told.",
    },
}
"""What a message may have beside role and content."""

MEMORY_PROPERTIES: JsonObject = {
    "conversation_id": {
        "type": "string",
        "default": "",
        "maxLength": CONVERSATION_ID_CHARS_MAX,
        "title": "Conversation",
        "description": (
            "A conversation of the workspace (`ai.memory`): its last messages come before the others, and the prompt and the answer are "
            "added to it. Items that are asked at once do not see one another's."
        ),
    },
    "memory_limit": {
        "type": "integer",
        "minimum": 1,
        "maximum": MESSAGES_MAX,
        "default": READ_LIMIT,
        "title": "Messages remembered",
        "description": "How many of the conversation's last messages the model is told.",
    },
}
"""The fields of a config that say which conversation is gone on with."""


def conversation_of(config: Mapping[str, Any]) -> str:
    """Return the id of the conversation. Raises `NodeError` (`conversation_id_invalid`)."""
    try:
        return check_id(config["conversation_id"])
    except BadInput as error:
        raise NodeError(error.message, error.code, {"retryable": False}) from error


async def remembered(context: NodeContext, config: Mapping[str, Any]) -> list[Message]:
    """Return what was said before in the conversation of a config; nothing where it names none."""
    if not config.get("conversation_id"):
        return []
    limit = whole_number(dict(config), "memory_limit", READ_LIMIT, 1, MESSAGES_MAX)
    said = await context.conversations.read(conversation_of(config), limit)
    return [Message(role=each.role, content=each.content) for each in said]


async def remember(context: NodeContext, config: Mapping[str, Any], prompt: str, answer: str, index: int) -> None:
    """Add prompt and answer to the conversation of a config, once; nothing where the answer has no words. What is too long is cut."""
    if not config.get("conversation_id") or not answer.strip():
        return
    sayings = [
        Saying(role=Role.USER, content=prompt[:CONTENT_CHARS_MAX]),
        Saying(role=Role.ASSISTANT, content=answer[:CONTENT_CHARS_MAX]),
    ]
    await context.conversations.add(conversation_of(config), sayings, f"{context.effect_key}:memory:{index}")
