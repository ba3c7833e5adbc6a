import pytest

from nodes.ai_summarize import NODE_TYPE, ROUNDS_MAX
from nodes.passages import token_counter
from tests.models import WordModels
from workflow.errors import NodeError

SENTENCE = "The quick brown fox jumps over the lazy dog near the river. "
CONFIG = {"text": "{{ $json.t }}", "part_tokens": 100}


def first_words(count):
    return WordModels(says=lambda request: " ".join(request.messages[-1].content.split()[:count]))


async def test_a_short_text_is_one_question(run_node, context):
    context.models = first_words(4)

    given = await run_node(NODE_TYPE, {**CONFIG, "words": 20, "instructions": "In verse."}, [{"t": SENTENCE}])

    found = given["main"][0]["json"]
    assert (found["content"], found["parts"]) == ("The quick brown fox", 1)
    (asked,) = context.models.asked
    assert "in about 20 words" in asked.messages[0].content
    assert asked.messages[0].content.endswith("In verse.")


async def test_a_long_text_is_cut_and_its_parts_summaries_are_summarized(run_node, context):
    context.models = first_words(5)

    given = await run_node(NODE_TYPE, CONFIG, [{"t": SENTENCE * 60}])

    found = given["main"][0]["json"]
    asked = context.models.asked
    assert found["parts"] > 5
    assert len(asked) >= found["parts"] + 1
    assert all(token_counter()(request.messages[-1].content) <= 100 for request in asked)
    assert "summaries of parts" in asked[-1].messages[0].content
    assert found["usage"]["completion"] == sum(len(context.models.says(request).split()) for request in asked)


async def test_no_part_is_asked_for_twice(run_node, context):
    kept = {}

    class Memory:
        async def recall(self, name=""):
            return kept.get(name)

        async def keep(self, result, name=""):
            return kept.setdefault(name, result)

    context.effects = Memory()
    context.models = first_words(5)
    first = await run_node(NODE_TYPE, CONFIG, [{"t": SENTENCE * 60}])
    asked = len(context.models.asked)

    assert await run_node(NODE_TYPE, CONFIG, [{"t": SENTENCE * 60}]) == first
    assert len(context.models.asked) == asked


async def test_only_the_whole_is_told_while_it_is_written(run_node, context):
    begun = []

    class Drafts:
        def begin(self, item_index, *, again=False):
            begun.append(item_index)
            return NoDrafts().begin(item_index, again=again)

    from workflow.drafts import NoDrafts

    context.drafts = Drafts()
    context.models = first_words(5)
    await run_node(NODE_TYPE, CONFIG, [{"t": SENTENCE}, {"t": SENTENCE * 60}])
    assert sorted(begun) == [0, 1]
    assert context.answer


async def test_a_model_that_does_not_get_shorter_is_given_up(run_node, context):
    context.models = WordModels()  # it says it again

    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, CONFIG, [{"t": SENTENCE * 30}])

    assert (caught.value.code, caught.value.retryable) == ("not_shorter", False)
    assert len(context.models.asked) < 100 * ROUNDS_MAX


@pytest.mark.parametrize("text", ["", "  \n "])
async def test_nothing_to_summarize(run_node, context, text):
    context.models = WordModels()
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, CONFIG, [{"t": text}])
    assert caught.value.code == "no_text"
