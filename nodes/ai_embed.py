"""`ai.embed`: texts as vectors, by a model that a replica of the cluster holds."""

import base64
from array import array
from collections.abc import Sequence

import orjson

from nodes.fields import FIELD_SCHEMA, path_of, problems_of, write
from nodes.lineage import carried
from workflow.errors import NodeError
from workflow.models import Purpose
from workflow.spec import (
    MAIN,
    Config,
    Example,
    Items,
    JsonObject,
    NodeContext,
    NodeSpec,
    NodeType,
    Outputs,
    Problem,
)

TEXT_CHARS_MAX = 1_000_000
PART_TEXTS = 256
"""The vectors of more texts are kept in parts of so many: some seconds of work on a CPU."""

SPEC = NodeSpec(
    type="ai.embed",
    title="Embed texts",
    category="ai",
    description=(
        "Turns a text of every item into a vector of length 1. Texts of all executions that come at once are computed together, on a "
        "GPU where the cluster has one and `resources.gpu` does not say otherwise. What is longer than the model's window is cut."
    ),
    yields=True,
    each_item=True,
    timeout_ms=300_000,
    aliases=("embedding", "embed_text"),
    literal=frozenset({"purpose"}),
    examples=(
        Example(
            title="A vector beside the text",
            config={"text": "{{ $json.title }}", "into": "vector"},
            items=[{"title": "Durable workflows"}, {"title": "Fair queues"}],
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "text": {"type": "string", "title": "Text", "description": "What is embedded, for every item."},
            "into": {
                **FIELD_SCHEMA,
                "default": "embedding",
                "title": "Into",
                "description": "The field that gets the vector, dotted.",
            },
            "model": {
                "type": "string",
                "default": "",
                "title": "Model",
                "description": "The name of an embedding model of the instance; empty: its default.",
            },
            "purpose": {
                "enum": ["passage", "query"],
                "default": "passage",
                "title": "Purpose",
                "description": "Whether the texts are what is searched, or what it is searched for. Some models treat these differently.",
            },
        },
        "required": ["text"],
        "additionalProperties": False,
    },
)


def check(config: JsonObject) -> list[Problem]:
    """Find fields that nothing can be written to."""
    return problems_of([("into", config.get("into"))])


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Embed the text of every item that has one; the others fail by themselves."""
    texts: dict[int, str] = {}
    for index in range(len(items)):
        with context.item(index):
            texts[index] = text_of(config.of(index)["text"])
    if not texts:
        return {MAIN: []}
    rows = await _rows(context, config, list(texts.values()))
    path = path_of(config.whole.get("into", "embedding"))
    given: Items = []
    for index, row in zip(texts, rows, strict=True):
        json = dict(items[index]["json"])
        write(json, path, list(row))
        given.append(carried(items[index], index, json))
    return {MAIN: given}


async def _rows(context: NodeContext, config: Config, texts: Sequence[str]) -> list[Sequence[float]]:
    """Return the vectors of the texts. Those of many texts are kept part by part: who takes over goes on where the work was."""

    async def embedded(part: Sequence[str]) -> Sequence[Sequence[float]]:
        found = await context.models.embed(
            part,
            model=config.whole.get("model", ""),
            purpose=Purpose(config.whole.get("purpose", "passage")),
            gpu=context.gpu,
        )
        return found.rows

    if len(texts) <= PART_TEXTS:
        return list(await embedded(texts))
    rows: list[Sequence[float]] = []
    for start in range(0, len(texts), PART_TEXTS):
        part, name = texts[start : start + PART_TEXTS], f"vectors:{start}"
        kept = await context.effects.recall(name)
        if kept is None:
            kept = await context.effects.keep(_packed(await embedded(part)), name)
        rows += _unpacked(kept)
    return rows


def _packed(rows: Sequence[Sequence[float]]) -> bytes:
    data = b"".join(array("f", row).tobytes() for row in rows)
    return orjson.dumps({"dimension": len(rows[0]), "data": base64.b64encode(data).decode()})


def _unpacked(kept: bytes) -> list[Sequence[float]]:
    told = orjson.loads(kept)
    values, width = memoryview(base64.b64decode(told["data"])).cast("f").tolist(), told["dimension"]
    return [values[at : at + width] for at in range(0, len(values), width)]


def text_of(text: object) -> str:
    """Return a text that a model can compute something of. Raises `NodeError`: `no_text`, `text_too_long`."""
    if not isinstance(text, str) or not text.strip():
        raise NodeError("there is no text to compute anything of", "no_text", {"retryable": False})
    if len(text) > TEXT_CHARS_MAX:
        message = f"a text of {len(text)} characters is more than the {TEXT_CHARS_MAX} that one may have: cut it first"
        raise NodeError(message, "text_too_long", {"retryable": False})
    return text


NODE_TYPE = NodeType(SPEC, run, check)
