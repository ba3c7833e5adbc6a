import pytest

from nodes.ai_embed import NODE_TYPE, PART_TEXTS, TEXT_CHARS_MAX
from tests.models import DIMENSION, vector
from tests.unit.nodes.conftest import findings
from workflow.errors import NodeError
from workflow.models import Gpu, NoModels, Purpose

TEXT = {"text": "{{ $json.t }}"}


async def test_each_item_gets_its_vector_and_keeps_the_rest(run_node, context):
    given = await run_node(NODE_TYPE, TEXT, [{"t": "one", "n": 1}, {"t": "two", "n": 2}])

    assert [item["json"] for item in given["main"]] == [
        {"t": "one", "n": 1, "embedding": vector("one")},
        {"t": "two", "n": 2, "embedding": vector("two")},
    ]
    assert [item["paired_item"] for item in given["main"]] == [0, 1]
    assert len(context.models.embedded) == 1, "all items are one call"


async def test_the_model_the_purpose_and_the_gpu_are_passed_on(run_node, context):
    context.gpu = Gpu.REQUIRED
    config = {**TEXT, "model": "{{ 'mine' }}", "purpose": "query", "into": "a.b"}

    given = await run_node(NODE_TYPE, config, [{"t": "one"}])

    assert len(given["main"][0]["json"]["a"]["b"]) == DIMENSION
    assert context.models.embedded == [(["one"], "mine", Purpose.QUERY, Gpu.REQUIRED)]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "no_text"),
        (" \n", "no_text"),
        (None, "config_value_invalid"),
        ("x" * (TEXT_CHARS_MAX + 1), "text_too_long"),
    ],
)
async def test_an_item_without_a_usable_text_fails_by_itself(run_node, context, text, code):
    given = await run_node(NODE_TYPE, TEXT, [{"t": "one"}, {"t": text}], keep_going=True)

    assert [item["paired_item"] for item in given["main"]] == [0]
    assert {index: error.code for index, error in context.failed.items()} == {1: code}


async def test_nothing_is_asked_where_there_is_nothing(run_node, context):
    assert await run_node(NODE_TYPE, TEXT, []) == {"main": []}
    assert context.models.embedded == []


async def test_what_the_model_refuses_is_the_nodes_failure(run_node, context):
    context.models.failing = NodeError("busy", "models_busy", {"retryable": True})

    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, TEXT, [{"t": "one"}])
    assert (caught.value.code, caught.value.retryable) == ("models_busy", True)


async def test_without_an_instance_there_is_no_model(run_node, context):
    context.models = NoModels()
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, TEXT, [{"t": "one"}])
    assert caught.value.code == "needs_instance"


@pytest.mark.parametrize("config", [{}, {**TEXT, "purpose": "other"}, {**TEXT, "into": "a..b"}, {**TEXT, "into": ""}])
def test_config_that_is_refused(config):
    assert findings(NODE_TYPE, config)


async def test_the_vectors_of_many_texts_are_kept_part_by_part_and_not_computed_again(run_node, context):
    kept, texts = {}, [{"t": f"text number {number}"} for number in range(2 * PART_TEXTS + 3)]

    class Kept:
        async def recall(self, name=""):
            return kept.get(name)

        async def keep(self, result, name=""):
            return kept.setdefault(name, result)

    context.effects = Kept()
    config = {"text": "{{ $json.t }}"}
    first = await run_node(NODE_TYPE, config, texts)
    assert [len(part) for part, *_ in context.models.embedded] == [PART_TEXTS, PART_TEXTS, 3]
    del kept[f"vectors:{2 * PART_TEXTS}"]

    again = await run_node(NODE_TYPE, config, texts)

    assert again == first
    assert [len(part) for part, *_ in context.models.embedded][3:] == [3], "only what was not kept is computed"
    for item, text in zip(first["main"], texts, strict=True):
        assert item["json"]["embedding"] == pytest.approx(vector(text["t"]), abs=1e-6)
