"""`ai.index`: passages with their vectors, kept so that they are found."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from nodes.fields import FIELD_SCHEMA, MISSING, path_of, read
from nodes.retrieval import document_id
from workflow.errors import Conflict, NodeError, NotFound
from workflow.knowledge import IndexedPassage, Passage
from workflow.spec import (
    MAIN,
    Config,
    Effect,
    Example,
    Item,
    Items,
    JsonObject,
    NodeContext,
    NodeSpec,
    NodeType,
    Outputs,
)

BATCH = 500

SPEC = NodeSpec(
    type="ai.index",
    title="Index passages",
    category="ai",
    description=(
        "Keeps passages with their vectors, so that `ai.retrieve` finds them. Items with the same `document_id` are the passages of that "
        "document and replace what was indexed of it before, all at once; items without one make a document named by their `name`. "
        "Gives an item for every document with `document_id` and `chunk_count`."
    ),
    effect=Effect.EFFECT,
    yields=True,
    each_item=True,
    timeout_ms=600_000,
    aliases=("index_documents", "vector_store"),
    examples=(
        Example(
            title="Passages as `ai.chunk` and `ai.embed` give them",
            config={"collection": "handbook"},
            items=[
                {
                    "name": "a.txt",
                    "content": "One.",
                    "chunk_index": 0,
                    "start": 0,
                    "end": 4,
                    "tokens": 2,
                    "embedding": [0.6, 0.8],
                }
            ],
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "collection": {
                "type": "string",
                "default": "",
                "title": "Collection",
                "description": "For documents that are made here: its name or id; empty: the collection `default`.",
            },
            "vector": {
                **FIELD_SCHEMA,
                "default": "embedding",
                "title": "Vector",
                "description": "The field that holds the vector, dotted.",
            },
            "metadata": {"type": "object", "title": "Metadata", "description": "Of documents that are made here."},
        },
        "additionalProperties": False,
    },
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Index document by document."""
    groups: dict[str, list[int]] = {}
    for index, item in enumerate(items):
        json = item["json"]
        groups.setdefault(str(json.get("document_id") or f"name:{json.get('name') or 'text'}"), []).append(index)
    given: Items = []
    for name, group in groups.items():
        with context.item(group[0]):
            passages = [_passage(items[index]["json"], number, config.whole) for number, index in enumerate(group)]
            given.append(await _index(context, config.of(group[0]), name, items[group[0]]["json"], passages, group))
    return {MAIN: given}


async def _index(
    context: NodeContext,
    config: Mapping[str, Any],
    name: str,
    first: JsonObject,
    passages: Sequence[IndexedPassage],
    group: list[int],
) -> Item:
    try:
        identity = await _document(context, config, name, first, passages)
        revision = await context.knowledge.begin(identity, context.execution_id)
        for start in range(0, len(passages), BATCH):
            await context.knowledge.add(identity, revision, passages[start : start + BATCH])
        text = whole_text([each.passage for each in passages])
        count = await context.knowledge.complete(identity, revision, text=text, pages=first.get("page_count"))
    except NotFound as error:
        code = "collection_not_found" if "collection" in error.fields else "document_not_found"
        raise NodeError(error.message, code, {**error.fields, "retryable": False}) from error
    except Conflict as error:
        raise NodeError(error.message, error.code, {**error.fields, "retryable": False}) from error
    return Item(json={"document_id": str(identity), "chunk_count": count}, paired_item=group)


async def _document(
    context: NodeContext, config: Mapping[str, Any], name: str, first: JsonObject, passages: Sequence[IndexedPassage]
) -> UUID:
    if first.get("document_id"):
        return document_id(first["document_id"])
    collection = await context.knowledge.collection(config.get("collection", ""))
    text = whole_text([each.passage for each in passages])
    title = name.removeprefix("name:")
    return await context.knowledge.put(
        collection.id, title, text, config.get("metadata") or {}, f"{context.effect_key}:{title}"
    )


def whole_text(passages: Sequence[Passage]) -> str:
    """Return the text that passages were cut from, as far as they cover it; where they overlap it is there once."""
    text = ""
    for passage in sorted(passages, key=lambda each: each.start):
        if passage.start > len(text):
            text += "\n" * (passage.start - len(text))
        text += passage.content[max(0, len(text) - passage.start) :]
    return text


def _passage(json: JsonObject, number: int, config: Mapping[str, Any]) -> IndexedPassage:
    vector = read(json, path_of(config.get("vector", "embedding")))
    content = json.get("content")
    if vector is MISSING or not isinstance(vector, list) or not vector or not all(_is_number(each) for each in vector):
        raise NodeError("an item has no vector: `ai.embed` gives one", "no_vector", {"retryable": False})
    if not isinstance(content, str) or not content.strip():
        raise NodeError("an item has no `content`: `ai.chunk` gives it", "no_content", {"retryable": False})
    start = _whole(json.get("start"), 0)
    passage = Passage(
        index=_whole(json.get("chunk_index"), number),
        content=content,
        start=start,
        end=_whole(json.get("end"), start + len(content)),
        tokens=_whole(json.get("tokens"), 0),
        page=json.get("page") if isinstance(json.get("page"), int) else None,
    )
    return IndexedPassage(passage=passage, vector=vector)


def _whole(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31 else otherwise


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


NODE_TYPE = NodeType(SPEC, run)
