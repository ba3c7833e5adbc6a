"""`ai.retrieve`: passages of documents for a question."""

from nodes.lineage import carried
from nodes.retrieval import SEARCH_PROPERTIES, find
from workflow.spec import MAIN, Config, Effect, Example, Items, NodeContext, NodeSpec, NodeType, Outputs

SPEC = NodeSpec(
    type="ai.retrieve",
    title="Retrieve passages",
    category="ai",
    description=(
        "Finds the passages of a collection's documents that fit a question, by meaning, by words, or both, and adds them to the item as "
        "`passages`, best first, each with document, page, place and score."
    ),
    effect=Effect.EFFECT,
    yields=True,
    each_item=True,
    aliases=("retrieve", "vector_search", "rag_search"),
    literal=frozenset({"mode"}),
    examples=(
        Example(
            title="Five passages for a question",
            config={"query": "{{ $json.question }}", "collection": "handbook"},
            items=[{"question": "How long is the warranty?"}],
        ),
        Example(
            title="Only what is about one product, by meaning, and nothing twice",
            config={
                "query": "{{ $json.question }}",
                "collection": "handbook",
                "mode": "vector",
                "metadata": {"product": "{{ $json.product }}"},
                "diversity": 0.3,
            },
            items=[{"question": "How is it cleaned?", "product": "loom"}],
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "query": {"type": "string", "title": "Question", "description": "What is looked for."},
            **SEARCH_PROPERTIES,
        },
        "required": ["query"],
        "additionalProperties": False,
    },
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Find passages for every item; items fail one by one."""
    given: Items = []
    for index, item in enumerate(items):
        with context.item(index):
            own = config.of(index)
            hits = await find(context.models, context.knowledge, own["query"], own, context.gpu)
            given.append(carried(item, index, {**item["json"], "passages": [hit.as_json() for hit in hits]}))
    return {MAIN: given}


NODE_TYPE = NodeType(SPEC, run)
