"""`ai.index`: passages with their vectors, kept so that they are found."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from nodes.fields import FIELD_SCHEMA, Path, path_of
from nodes.indexing import document_of, indexed_passages, page_count, said_of
from nodes.retrieval import document_id
from workflow.errors import BadInput, Conflict, NodeError, NotFound
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
        "`start` and `end` say where a passage stands in the text that it was cut from; long stretches that no passage holds are left out. "
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
        groups.setdefault(document_of(item["json"]), []).append(index)
    vector = path_of(config.whole.get("vector", "embedding"))
    given: Items = []
    for group in groups.values():
        with context.item(group[0]):
            objects = [items[index]["json"] for index in group]
            identity, count = await _index(context, config.of(group[0]), objects, vector)
            json: JsonObject = {"document_id": str(identity), "chunk_count": count}
            given.append(Item(json=json, paired_item=group))
    return {MAIN: given}


async def _index(
    context: NodeContext, config: Mapping[str, Any], objects: Sequence[JsonObject], vector: Path
) -> tuple[UUID, int]:
    text, passages = indexed_passages(objects, vector)
    pages = page_count(objects[0])
    try:
        identity = await _document(context, config, objects[0], text)
        revision = await context.knowledge.begin(identity, context.execution_id)
        for start in range(0, len(passages), BATCH):
            await context.knowledge.add(identity, revision, passages[start : start + BATCH])
        return identity, await context.knowledge.complete(identity, revision, text=text, pages=pages)
    except NotFound as error:
        code = "collection_not_found" if "collection" in error.fields else "document_not_found"
        raise NodeError(error.message, code, {**error.fields, "retryable": False}) from error
    except (BadInput, Conflict) as error:
        raise NodeError(error.message, error.code, {**error.fields, "retryable": False}) from error


async def _document(context: NodeContext, config: Mapping[str, Any], first: JsonObject, text: str) -> UUID:
    if first.get("document_id"):
        return document_id(first["document_id"])
    name, metadata = said_of(first, config)
    collection = await context.knowledge.collection(config.get("collection", ""))
    return await context.knowledge.put(collection.id, name, text, metadata, f"{context.effect_key}:{name}")


NODE_TYPE = NodeType(SPEC, run)
