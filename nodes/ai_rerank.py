"""`ai.rerank`: orders items by how relevant they are to a query."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from nodes.ai_embed import text_of
from nodes.lineage import carried
from nodes.options import whole_number
from workflow.errors import NodeError
from workflow.models import Gpu, Models, Purpose
from workflow.spec import MAIN, Config, Example, Items, NodeContext, NodeSpec, NodeType, Outputs

TOP_N_MAX = 1_000


class Method(StrEnum):
    """How relevance is told."""

    AUTO = "auto"
    CROSS_ENCODER = "cross_encoder"
    EMBEDDING = "embedding"


SPEC = NodeSpec(
    type="ai.rerank",
    title="Rerank",
    category="ai",
    description=(
        "Orders items by how relevant a text of each is to a query, most relevant first, and keeps the best; each gets its "
        "`rerank_score`. A cross-encoder reads query and text together; none comes with Rayloom: configure one in `models.rankers` and "
        "name it in `models.ranking`. Without one, the cosine of their embeddings tells."
    ),
    yields=True,
    each_item=True,
    timeout_ms=300_000,
    aliases=("rerank", "reranker"),
    literal=frozenset({"method"}),
    examples=(
        Example(
            title="The two passages that fit best",
            config={"query": "How do I clean the loom?", "top_n": 2, "method": "embedding"},
            items=[
                {"content": "Taxes are due in May."},
                {"content": "Clean the loom with a dry cloth."},
                {"content": "The loom is oiled once a week."},
            ],
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "query": {
                "type": "string",
                "title": "Query",
                "description": "What the items are to be relevant to, as the first item sees it.",
            },
            "text": {
                "type": "string",
                "default": "{{ $json.content }}",
                "title": "Text",
                "description": "What is held against the query, for every item.",
            },
            "top_n": {
                "type": ["integer", "null"],
                "minimum": 1,
                "maximum": TOP_N_MAX,
                "title": "Best",
                "description": "How many items are kept; without it, all.",
            },
            "min_score": {
                "type": ["number", "null"],
                "title": "Least score",
                "description": "Items below it are left out. What is a good score depends on the model.",
            },
            "method": {
                "enum": [method.value for method in Method],
                "default": Method.AUTO.value,
                "title": "Method",
                "description": (
                    "`cross_encoder`: a ranker of the instance; `embedding`: the cosine of embeddings; `auto`: the ranker where one is "
                    "configured, else embeddings."
                ),
            },
            "model": {
                "type": "string",
                "default": "",
                "title": "Model",
                "description": "The name of a ranker, with `embedding` of an embedding model; empty: the instance's default.",
            },
        },
        "required": ["query"],
        "additionalProperties": False,
    },
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Score the text of every item that has one, all at once; the others fail by themselves."""
    texts: dict[int, str] = {}
    for index, item in enumerate(items):
        with context.item(index):
            texts[index] = text_of(config.of(index).get("text", item["json"].get("content")))
    if not texts:
        return {MAIN: []}
    asked = config.of(next(iter(texts)))
    if not asked["query"].strip():
        raise NodeError("there is no query to rank by", "no_query", {"retryable": False})
    values = await _scores(context.models, asked, list(texts.values()), context.gpu)
    least = asked.get("min_score")
    kept = None if asked.get("top_n") is None else whole_number(asked, "top_n", TOP_N_MAX, 1, TOP_N_MAX)
    ranked = sorted(
        ((score, index) for score, index in zip(values, texts, strict=True) if least is None or score >= least),
        key=lambda pair: (-pair[0], pair[1]),
    )
    return {
        MAIN: [
            carried(items[index], index, {**items[index]["json"], "rerank_score": score})
            for score, index in ranked[:kept]
        ]
    }


async def _scores(models: Models, asked: Mapping[str, Any], texts: Sequence[str], gpu: Gpu) -> Sequence[float]:
    method, query, model = Method(asked.get("method", Method.AUTO.value)), asked["query"], asked.get("model", "")
    if method is not Method.EMBEDDING:
        try:
            return (await models.score(query, texts, model=model, gpu=gpu)).values
        except NodeError as error:
            if error.code != "no_ranker" or method is Method.CROSS_ENCODER:
                raise
    wanted = (await models.embed([query], model=model, purpose=Purpose.QUERY, gpu=gpu)).rows[0]
    rows = (await models.embed(texts, model=model, purpose=Purpose.PASSAGE, gpu=gpu)).rows
    return [sum(one * other for one, other in zip(wanted, row, strict=True)) for row in rows]


NODE_TYPE = NodeType(SPEC, run)
