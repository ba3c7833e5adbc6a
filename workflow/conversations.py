"""Conversations: what was said, kept from one execution to the next. Values and the port.

A conversation belongs to a workspace and has a name there. It begins with its first message, and its messages are numbered as they are
added.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from workflow.errors import BadInput, NodeError
from workflow.models import Role
from workflow.values import encode

CONVERSATION_ID_CHARS_MAX = 200
CONTENT_CHARS_MAX = 100_000
METADATA_BYTES_MAX = 65_536
MESSAGES_MAX = 1_000
"""How many messages are read or added at a time."""
CHARS_PER_TOKEN = 4
ROLES = (Role.USER, Role.ASSISTANT, Role.SYSTEM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saying:
    """A message to add."""

    role: Role
    content: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A message as it is kept. `number` counts from 1 in its conversation."""

    number: int
    role: Role
    content: str
    metadata: Mapping[str, Any]
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A conversation as anybody in its workspace sees it."""

    conversation_id: str
    message_count: int
    created_ms: int
    updated_ms: int


class Conversations(Protocol):
    """The conversations of one workspace, for one of its executions.

    What changes a conversation happens once under a key of the execution, however often it is asked for, and gives the same again.
    """

    async def read(self, conversation_id: str, limit: int) -> list[Said]:
        """Return the last messages of a conversation, oldest first; none where there is no such conversation."""
        ...

    async def add(self, conversation_id: str, messages: Sequence[Saying], key: str) -> int:
        """Add messages behind what was said; how many these were."""
        ...

    async def clear(self, conversation_id: str, key: str) -> int:
        """Delete a conversation; how many messages it had."""
        ...


class NoConversations:
    """Stands where there are none: where an execution runs by itself, without an instance around it."""

    async def _refuse(self, *_arguments: Any, **_options: Any) -> Any:
        raise NodeError("nothing is remembered here: this needs an instance", "needs_instance", {"retryable": False})

    read = add = clear = _refuse


def check_id(conversation_id: str) -> str:
    """Return it. Raises `BadInput` (`conversation_id_invalid`) for what names no conversation."""
    fits = (
        conversation_id.strip() and len(conversation_id) <= CONVERSATION_ID_CHARS_MAX and conversation_id.isprintable()
    )
    if not fits:
        message = f"a conversation's id has between 1 and {CONVERSATION_ID_CHARS_MAX} characters, all of them printable"
        raise BadInput(message, "conversation_id_invalid")
    return conversation_id


def check_message(message: Saying) -> Saying:
    """Return it. Raises `BadInput`: `message_empty`, `message_too_long`, `metadata_too_large`, what `encode` raises."""
    if not message.content.strip():
        raise BadInput("a message has a content", "message_empty")
    if len(message.content) > CONTENT_CHARS_MAX:
        text = f"a message of {len(message.content)} characters is more than the {CONTENT_CHARS_MAX} that are kept"
        raise BadInput(text, "message_too_long")
    if len(encode(dict(message.metadata))) > METADATA_BYTES_MAX:
        raise BadInput(f"the metadata of a message have {METADATA_BYTES_MAX} bytes at most", "metadata_too_large")
    return message


def latest(messages: Sequence[Said], max_tokens: int | None) -> list[Said]:
    """Return as many of the last messages as fit, by an estimate of four characters for a token; the order stays."""
    if max_tokens is None:
        return list(messages)
    left, start = max_tokens, len(messages)
    while start and (left := left - _tokens(messages[start - 1].content)) >= 0:
        start -= 1
    return list(messages[start:])


def _tokens(text: str) -> int:
    return -(-len(text) // CHARS_PER_TOKEN)
