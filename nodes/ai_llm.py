"""`ai.llm`: asks a language model for every item."""

from collections.abc import Mapping
from typing import Any

from nodes.chats import AT_ONCE, MODEL_PROPERTIES, Answer, ask, request_of
from nodes.concurrently import for_each
from nodes.conversing import MEMORY_PROPERTIES, MESSAGE_PROPERTIES, remember, remembered
from nodes.forms import schema_problems
from nodes.lineage import carried
from nodes.sandbox.templates import ADDRESS_SPACE_BYTES as TEMPLATE_MEMORY_BYTES
from nodes.sandbox.templates import template_error
from workflow.errors import NodeError
from workflow.models import Message, Role
from workflow.spec import (
    MAIN,
    CodeLimits,
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

TEMPLATE_TIMEOUT_MS = 10_000
ROLES = [Role.SYSTEM.value, Role.USER.value, Role.ASSISTANT.value]

SPEC = NodeSpec(
    type="ai.llm",
    title="Ask a language model",
    category="ai",
    description=(
        "Asks a language model for every item and gives `content`, `model`, `provider`, `usage` and `finish_reason`; with `schema` also "
        "`data`, JSON that satisfies it: an answer that does not is shown to the model once, to be mended. An answer is kept before it "
        "is used, so a crash pays for none twice. The instance's own model is a small one for trying things out."
    ),
    effect=Effect.EFFECT,
    yields=True,
    each_item=True,
    timeout_ms=300_000,
    aliases=("llm", "openai", "anthropic", "gemini", "chat_model"),
    literal=frozenset({"schema", "template"}),
    examples=(
        Example(
            title="A sentence about every order",
            config={
                "system": "You write short, friendly notes.",
                "prompt": "Thank {{ $json.customer }} for the order of {{ $json.product }}.",
                "max_tokens": 60,
            },
            items=[{"customer": "Ada", "product": "a loom"}],
        ),
        Example(
            title="JSON that fits a schema",
            config={
                "prompt": "Which city and country is this about? {{ $json.text }}",
                "temperature": 0,
                "schema": {
                    "type": "object",
                    "properties": {"city": {"type": "string"}, "country": {"type": "string"}},
                    "required": ["city", "country"],
                    "additionalProperties": False,
                },
            },
            items=[{"text": "The Louvre opens at nine."}],
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "prompt": {"type": "string", "title": "Prompt", "description": "What the user says."},
            "template": {
                "type": ["string", "null"],
                "maxLength": 200_000,
                "title": "Template",
                "description": "Instead of the prompt: a Jinja template (minijinja). It sees the item as `json`, and the variables.",
            },
            "variables": {
                "type": "object",
                "title": "Variables",
                "description": "What else the template sees, by name.",
            },
            "system": {
                "type": "string",
                "default": "",
                "title": "System",
                "description": "What the model is told before.",
            },
            "messages": {
                "type": "array",
                "maxItems": 1_000,
                "items": {
                    "type": "object",
                    "properties": {
                        "role": {"enum": ROLES, "title": "Role", "description": "Who says it."},
                        "content": {"type": "string", "title": "Content", "description": "What is said."},
                        **MESSAGE_PROPERTIES,
                    },
                    "required": ["role", "content"],
                    "additionalProperties": False,
                },
                "title": "Messages",
                "description": "What was said before the prompt, in order.",
            },
            **MEMORY_PROPERTIES,
            "images": {
                "type": "array",
                "maxItems": 20,
                "items": {"type": "string", "pattern": "^(https://|data:image/)"},
                "title": "Images",
                "description": "Pictures that belong to the prompt: https addresses or data addresses, for models that see.",
            },
            "stop": {
                "type": "array",
                "maxItems": 4,
                "items": {"type": "string", "minLength": 1},
                "title": "Stop",
                "description": "Texts that end the answer.",
            },
            "schema": {
                "type": ["object", "null"],
                "title": "Schema",
                "description": "JSON Schema of the answer.",
            },
            **MODEL_PROPERTIES,
        },
        "additionalProperties": False,
    },
)


def check(config: JsonObject) -> list[Problem]:
    """Find what is wrong with the schema and the template, and whether there is exactly one of prompt and template."""
    problems = schema_problems(config, "schema", "invalid_answer_schema")
    template = config.get("template")
    if bool(template) == ("prompt" in config):
        problems.append(Problem("prompt_or_template", "it needs a prompt or a template, not both", "prompt"))
    if template and (wrong := template_error(template)):
        problems.append(Problem("invalid_template", f"the template is none: {wrong}", "template"))
    return problems


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Ask for every item, several at a time; items fail one by one."""
    answers = await for_each(
        context, len(items), AT_ONCE, lambda index: _ask(context, config.of(index), items[index]["json"], index)
    )
    return {MAIN: [carried(items[at], at, answer.as_json()) for at, answer in answers]}


async def _ask(context: NodeContext, config: Mapping[str, Any], json: JsonObject, index: int) -> Answer:
    messages = await remembered(context, config)
    messages += [Message(role=Role(said["role"]), content=said["content"]) for said in config.get("messages") or ()]
    if config.get("system"):
        messages.insert(0, Message(role=Role.SYSTEM, content=config["system"]))
    prompt = config.get("prompt", "")
    if config.get("template"):
        variables = {**(config.get("variables") or {}), "json": json}
        limits = CodeLimits(timeout_ms=min(TEMPLATE_TIMEOUT_MS, context.timeout_ms), memory_bytes=TEMPLATE_MEMORY_BYTES)
        prompt = await context.sandbox.render(config["template"], variables, limits)
    if not prompt.strip():
        raise NodeError("there is no prompt", "no_prompt", {"retryable": False})
    messages.append(Message(role=Role.USER, content=prompt, images=config.get("images") or ()))
    request = request_of(config, messages, context, stop=config.get("stop") or (), schema=config.get("schema"))
    answer = await ask(context, request, str(index), index)
    await remember(context, config, prompt, answer.result.content, index)
    return answer


NODE_TYPE = NodeType(SPEC, run, check)
