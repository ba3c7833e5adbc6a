import orjson
import pytest

from nodes.ai_classify import NODE_TYPE
from tests.models import WordModels
from tests.unit.nodes.conftest import findings
from workflow.errors import NodeError

LABELS = [{"name": "invoice", "description": "about money"}, {"name": "support"}]
CONFIG = {"text": "{{ $json.t }}", "labels": LABELS}


def saying(**by_text):
    """Answer with the JSON for the text that is asked about."""
    return WordModels(says=lambda request: orjson.dumps(by_text[request.messages[1].content]).decode())


async def test_the_item_goes_on_with_its_label(run_node, context):
    context.models = saying(money={"label": "invoice"})

    given = await run_node(NODE_TYPE, CONFIG, [{"t": "money", "id": 7}])

    found = given["main"][0]["json"]
    assert (found["t"], found["id"]) == ("money", 7)
    assert found["classification"]["label"] == "invoice"
    assert {"content", "model", "usage", "finish_reason"} <= set(found["classification"])
    told = context.models.asked[0].messages[0].content
    assert "- invoice: about money" in told
    assert "- support: support" in told


async def test_every_label_has_an_output_of_its_own(run_node, context):
    context.models = saying(m={"label": "invoice"}, h={"label": "support"}, x={"label": "other"})
    config = {**CONFIG, "route": True, "allow_other": True}

    given = await run_node(NODE_TYPE, config, [{"t": "h"}, {"t": "m"}, {"t": "x"}])

    assert {handle: [item["json"]["t"] for item in items] for handle, items in given.items()} == {
        "label:0": ["m"],
        "label:1": ["h"],
        "other": ["x"],
    }
    assert NODE_TYPE.outputs(config) == ("label:0", "label:1", "other")
    assert NODE_TYPE.outputs(CONFIG) == ("main",)


async def test_several_labels_and_none(run_node, context):
    context.models = saying(both={"labels": ["support", "invoice", "support"]}, none={"labels": []})
    config = {**CONFIG, "multiple": True, "route": True}

    given = await run_node(NODE_TYPE, config, [{"t": "both"}, {"t": "none"}])

    assert [len(given[handle]) for handle in ("label:0", "label:1")] == [1, 1]


async def test_a_label_that_is_called_other(run_node, context):
    context.models = saying(t={"label": "other"})
    given = await run_node(NODE_TYPE, {"text": "t", "labels": [{"name": "other"}, {"name": "b"}], "route": True}, [{}])
    assert len(given["label:0"]) == 1


async def test_what_is_no_label_is_asked_for_again_and_then_fails(run_node, context):
    context.models = WordModels(says=lambda _: '{"label": "nonsense"}')
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, CONFIG, [{"t": "money"}])
    assert (caught.value.code, len(context.models.asked)) == ("answer_invalid", 2)


@pytest.mark.parametrize(
    ("labels", "more"),
    [([{"name": "a"}, {"name": "a"}], {}), ([{"name": "other"}], {"allow_other": True})],
)
def test_labels_that_cannot_be_told_apart(labels, more):
    config = {"text": "t", "labels": labels, **more}
    assert ("duplicate_label", "labels") in findings(NODE_TYPE, config)
