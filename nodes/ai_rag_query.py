"""`ai.rag_query`: answers a question from documents, with citations."""

from collections.abc import Mapping
from typing import Any

from nodes.chats import MODEL_PROPERTIES, ask, request_of
from nodes.lineage import carried
from nodes.retrieval import NOTHING_FOUND, SEARCH_PROPERTIES, find, messages_of, sources_of
from workflow.models import Usage
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
)

SPEC = NodeSpec(
    type="ai.rag_query",
    title="Answer from documents",
    category="ai",
    description=(
        "Finds the passages that fit a question and has a language model answer from them, citing them by number. Gives what `ai.llm` "
        "gives, and `sources`: number, document, page and passage of each, and whether the answer cites it. Where nothing is found, no "
        "model is asked."
    ),
    effect=Effect.EFFECT,
    yields=True,
    each_item=True,
    timeout_ms=300_000,
    aliases=("rag_query", "rag"),
    literal=frozenset({"mode"}),
    examples=(
        Example(
            title="An answer with its sources",
            config={"query": "{{ $json.question }}", "collection": "handbook", "top_k": 4, "temperature": 0},
            items=[{"question": "How long is the warranty?"}],
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "query": {"type": "string", "title": "Question", "description": "What is to be answered."},
            "instructions": {
                "type": "string",
                "default": "",
                "title": "Instructions",
                "description": "What the model is told, instead of the usual: to answer from the numbered sources and to cite them.",
            },
            **SEARCH_PROPERTIES,
            **MODEL_PROPERTIES,
        },
        "required": ["query"],
        "additionalProperties": False,
    },
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Answer the question of every item; items fail one by one."""
    given: Items = []
    for index, item in enumerate(items):
        with context.item(index):
            given.append(carried(item, index, await _answer(context, config.of(index), index)))
    return {MAIN: given}


async def _answer(context: NodeContext, config: Mapping[str, Any], index: int) -> JsonObject:
    question = config["query"]
    hits = await find(context.models, context.knowledge, question, config, context.gpu)
    if not hits:
        nothing = {
            "content": NOTHING_FOUND,
            "model": "",
            "provider": "",
            "usage": Usage().as_json(),
            "finish_reason": "stop",
        }
        return {**nothing, "sources": []}
    messages = messages_of(question, hits, config.get("instructions", ""))
    answer = await ask(context, request_of(config, messages, context), str(index), index)
    return {**answer.as_json(), "sources": sources_of(answer.result.content, hits)}


NODE_TYPE = NodeType(SPEC, run)
