"""Whether its work shall be on a GPU goes from every node that asks a language model to whoever computes."""

import pytest

from nodes.catalog import load_catalog
from nodes.chats import MODEL_PROPERTIES
from tests.models import WordModels
from tests.unit.nodes.test_ai_rerank import OneCollection
from workflow.models import Gpu

TYPES = {each.spec.type: each for each in load_catalog()}
ASKING = {
    "ai.llm": ({"prompt": "hello"}, "hello"),
    "ai.classify": ({"text": "t", "labels": [{"name": "a"}]}, '{"label": "a"}'),
    "ai.extract": ({"text": "t", "fields": [{"name": "city"}]}, '{"city": "Paris"}'),
    "ai.summarize": ({"text": "something long"}, "short"),
    "ai.agent": ({"prompt": "work", "schema": {"type": "object"}}, "{}"),
    "ai.rag_query": ({"query": "what"}, "this [1]"),
}


def test_every_type_that_asks_a_language_model_is_tried_here():
    asking = {
        name for name, each in TYPES.items() if MODEL_PROPERTIES.keys() <= each.spec.config_schema["properties"].keys()
    }
    assert asking == set(ASKING)


@pytest.mark.parametrize("gpu", list(Gpu))
@pytest.mark.parametrize("name", list(ASKING))
async def test_the_wish_of_a_node_reaches_the_model(run_node, context, name, gpu):
    config, said = ASKING[name]
    context.models = WordModels(says=lambda _: said)
    context.knowledge, context.gpu = OneCollection(("one",)), gpu
    context.children = NoneYet()

    await run_node(TYPES[name], config, [{}])

    assert {asked.gpu for asked in context.models.asked} == {gpu}


class NoneYet:
    async def states(self):
        return []
