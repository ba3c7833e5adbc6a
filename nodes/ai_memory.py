"""`ai.memory`: what was said in a conversation, kept from one execution to the next."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from nodes.conversing import conversation_of
from nodes.lineage import carried
from nodes.moments import iso
from nodes.options import whole_number
from workflow.conversations import (
    CONTENT_CHARS_MAX,
    CONVERSATION_ID_CHARS_MAX,
    MESSAGES_MAX,
    ROLES,
    Said,
    Saying,
    check_message,
    latest,
)
from workflow.errors import BadInput, NodeError
from workflow.models import Role
from workflow.spec import (
    MAIN,
    Config,
    Effect,
    Example,
    Items,
    JsonObject,
    NodeContext,
    NodeSpec,
    NodeType,
    Outputs,
    Problem,
)

LIMIT = 20


class Operation(StrEnum):
    """What is done with a conversation."""

    READ = "read"
    ADD = "add"
    CLEAR = "clear"


ROLE = {"enum": [role.value for role in ROLES], "title": "Role", "description": "Who says it."}
CONTENT = {
    "type": "string",
    "title": "Content",
    "description": f"What is said, up to {CONTENT_CHARS_MAX:,} characters.",
}
METADATA = {"type": "object", "title": "Metadata", "description": "What else is to be known of it."}
SPEC = NodeSpec(
    type="ai.memory",
    title="Remember a conversation",
    category="ai",
    description=(
        "Keeps the messages of conversations of the workspace, by an id of your own. `read` adds to each item `conversation_id` and "
        "`messages`, the last ones, oldest first, each with role, content, at and metadata: what `ai.llm` takes as `messages`. `add` puts "
        "messages behind what was said, `clear` deletes the conversation; both give how many (`added`, `cleared`), and a crash repeats "
        "neither."
    ),
    effect=Effect.EFFECT,
    yields=True,
    each_item=True,
    aliases=("memory", "chat_memory", "conversation"),
    literal=frozenset({"operation"}),
    examples=(
        Example(
            title="What was said before",
            config={"conversation_id": "{{ $json.chat }}", "limit": 10, "max_tokens": 2_000},
            items=[{"chat": "ada", "question": "And what does it cost?"}],
        ),
        Example(
            title="A question and its answer",
            config={
                "operation": "add",
                "conversation_id": "{{ $json.chat }}",
                "messages": [
                    {"role": "user", "content": "{{ $json.question }}"},
                    {"role": "assistant", "content": "{{ $json.content }}"},
                ],
            },
            items=[{"chat": "ada", "question": "What is a loom?", "content": "A machine that weaves."}],
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "operation": {
                "enum": [operation.value for operation in Operation],
                "default": Operation.READ.value,
                "title": "Operation",
                "description": "What is done.",
            },
            "conversation_id": {
                "type": "string",
                "minLength": 1,
                "maxLength": CONVERSATION_ID_CHARS_MAX,
                "title": "Conversation",
                "description": "Which one; it begins with the first message that is added.",
            },
            "messages": {
                "type": "array",
                "maxItems": MESSAGES_MAX,
                "items": {
                    "type": "object",
                    "properties": {
                        "role": ROLE,
                        "content": CONTENT,
                        "metadata": METADATA,
                        "at": {
                            "type": "string",
                            "title": "At",
                            "description": "As it is read; when it is added is what counts.",
                        },
                    },
                    "required": ["role", "content"],
                    "additionalProperties": False,
                },
                "title": "Messages",
                "description": "For `add`: what was said, in order.",
            },
            "role": {**ROLE, "default": Role.USER.value, "description": "For `add` of one message: who says it."},
            "content": {**CONTENT, "description": f"For `add` of one message. {CONTENT['description']}"},
            "limit": {
                "type": "integer",
                "minimum": 1,
                "maximum": MESSAGES_MAX,
                "default": LIMIT,
                "title": "Messages at most",
                "description": "For `read`: how many of the last messages.",
            },
            "max_tokens": {
                "type": ["integer", "null"],
                "minimum": 1,
                "title": "Tokens at most",
                "description": "For `read`: the oldest go until the rest has as many, at four characters for a token.",
            },
        },
        "required": ["conversation_id"],
        "additionalProperties": False,
    },
)


def check(config: JsonObject) -> list[Problem]:
    """Find messages that are there twice, or not at all."""
    if config.get("operation", Operation.READ) != Operation.ADD:
        return []
    if ("messages" in config) == ("content" in config):
        return [Problem("options_clash", "to add, give either `messages` or `content`", "messages")]
    return []


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Do it for every item, one after the other; items fail one by one."""
    given: Items = []
    for index, item in enumerate(items):
        with context.item(index):
            found = await _done(context, config.of(index), index)
            given.append(carried(item, index, {**item["json"], **found}))
    return {MAIN: given}


async def _done(context: NodeContext, config: JsonObject, index: int) -> JsonObject:
    key = f"{context.effect_key}:memory:{index}"
    operation = Operation(config.get("operation", Operation.READ))
    conversation_id = conversation_of(config)
    if operation is Operation.ADD:
        added = await context.conversations.add(conversation_id, _sayings(config), key)
        return {"conversation_id": conversation_id, "added": added}
    if operation is Operation.CLEAR:
        return {"conversation_id": conversation_id, "cleared": await context.conversations.clear(conversation_id, key)}
    limit = whole_number(config, "limit", LIMIT, 1, MESSAGES_MAX)
    said = latest(await context.conversations.read(conversation_id, limit), config.get("max_tokens"))
    return {"conversation_id": conversation_id, "messages": [_shown(message) for message in said]}


def _sayings(config: Mapping[str, Any]) -> Sequence[Saying]:
    told = config.get("messages", [config])
    if not told:
        raise NodeError("there is no message to add", "no_messages", {"retryable": False})
    try:
        return [
            check_message(
                Saying(
                    role=Role(each.get("role", Role.USER)), content=each["content"], metadata=each.get("metadata") or {}
                )
            )
            for each in told
        ]
    except BadInput as error:
        raise NodeError(error.message, error.code, {**error.fields, "retryable": False}) from error


def _shown(message: Said) -> JsonObject:
    at = iso(datetime.fromtimestamp(message.at_ms / 1000, UTC))
    return {"role": message.role.value, "content": message.content, "at": at, "metadata": dict(message.metadata)}


NODE_TYPE = NodeType(SPEC, run, check)
