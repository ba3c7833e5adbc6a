import math
from dataclasses import dataclass, field

import pytest

from actors.ids import new_id
from nodes.ai_rerank import NODE_TYPE
from nodes.retrieval import find
from tests.models import WordModels, vector
from tests.unit.nodes.conftest import findings
from workflow.errors import NodeError
from workflow.knowledge import Collection, Hit, Passage, Search
from workflow.models import Gpu, Purpose

QUERY = {"query": "clean the loom"}
TEXTS = ("tax law", "clean the loom now", "the loom")
PASSAGES = [{"content": text, "n": number} for number, text in enumerate(TEXTS)]


def numbers(given):
    return [item["json"]["n"] for item in given["main"]]


async def test_the_most_relevant_come_first_with_their_scores_and_where_they_came_from(run_node, context):
    given = await run_node(NODE_TYPE, QUERY, PASSAGES)

    assert [item["json"] for item in given["main"]] == [
        {"content": TEXTS[1], "n": 1, "rerank_score": 3.0},
        {"content": TEXTS[2], "n": 2, "rerank_score": 2.0},
        {"content": TEXTS[0], "n": 0, "rerank_score": 0.0},
    ]
    assert [item["paired_item"] for item in given["main"]] == [1, 2, 0]
    assert context.models.scored == [("clean the loom", list(TEXTS), "", Gpu.PREFERRED)], "all items are one call"
    assert context.models.embedded == []


@pytest.mark.parametrize(
    ("more", "kept"),
    [
        ({"top_n": 1}, [1]),
        ({"top_n": "{{ 4 / 2 }}"}, [1, 2]),
        ({"top_n": 1_000}, [1, 2, 0]),
        ({"min_score": 2}, [1, 2]),
        ({"min_score": 2, "top_n": 1}, [1]),
        ({"min_score": 9}, []),
        ({"top_n": None, "min_score": None}, [1, 2, 0]),
    ],
)
async def test_the_best_are_kept(run_node, more, kept):
    assert numbers(await run_node(NODE_TYPE, {**QUERY, **more}, PASSAGES)) == kept


async def test_what_is_equally_relevant_stays_in_order(run_node):
    assert numbers(await run_node(NODE_TYPE, {"query": "nothing of it"}, PASSAGES)) == [0, 1, 2]


async def test_the_query_the_text_the_model_and_the_gpu_are_passed_on(run_node, context):
    context.gpu = Gpu.REQUIRED
    config = {"query": "{{ $json.q }}", "text": "{{ $json.t }}!", "model": "mine", "method": "cross_encoder"}

    await run_node(NODE_TYPE, config, [{"q": "a", "t": "b"}, {"q": "other", "t": "c"}])

    assert context.models.scored == [("a", ["b!", "c!"], "mine", Gpu.REQUIRED)]


async def test_where_no_ranker_is_configured_embeddings_tell(run_node, context):
    context.models.ranks = False

    given = await run_node(NODE_TYPE, QUERY, PASSAGES)

    assert numbers(given) == [1, 2, 0]
    likeness = sum(a * b for a, b in zip(vector(QUERY["query"]), vector(TEXTS[1]), strict=True))
    assert math.isclose(given["main"][0]["json"]["rerank_score"], likeness)
    assert [(texts, purpose) for texts, _, purpose, _ in context.models.embedded] == [
        (["clean the loom"], Purpose.QUERY),
        (list(TEXTS), Purpose.PASSAGE),
    ]


async def test_embeddings_tell_where_they_are_asked_for(run_node, context):
    await run_node(NODE_TYPE, {**QUERY, "method": "embedding", "model": "mine"}, PASSAGES)

    assert context.models.scored == []
    assert [model for _, model, _, _ in context.models.embedded] == ["mine", "mine"]


async def test_a_cross_encoder_that_is_not_configured_is_refused(run_node, context):
    context.models.ranks = False

    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, {**QUERY, "method": "cross_encoder"}, PASSAGES)
    assert (caught.value.code, caught.value.retryable) == ("no_ranker", False)


async def test_a_ranker_that_fails_is_not_replaced(run_node, context):
    context.models.failing = NodeError("busy", "models_busy", {"retryable": True})

    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, QUERY, PASSAGES)
    assert (caught.value.code, context.models.embedded) == ("models_busy", [])


async def test_items_without_a_text_fail_by_themselves(run_node, context):
    items = [{"content": None}, {"n": 1}, {"content": "the loom", "n": 2}, {"content": " "}]

    given = await run_node(NODE_TYPE, QUERY, items, keep_going=True)

    assert [item["paired_item"] for item in given["main"]] == [2]
    assert {index: error.code for index, error in context.failed.items()} == {0: "no_text", 1: "no_text", 3: "no_text"}


async def test_nothing_is_asked_where_there_is_nothing(run_node, context):
    assert await run_node(NODE_TYPE, QUERY, []) == {"main": []}
    assert context.models.scored == []


async def test_there_must_be_a_query(run_node):
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, {"query": " "}, PASSAGES)
    assert caught.value.code == "no_query"


@pytest.mark.parametrize(
    "config",
    [{}, {**QUERY, "top_n": 0}, {**QUERY, "top_n": 1_001}, {**QUERY, "method": "other"}, {**QUERY, "min_score": "a"}],
)
def test_config_that_is_refused(config):
    assert findings(NODE_TYPE, config)


@dataclass
class OneCollection:
    """Documents whose passages are all found, in order."""

    texts: tuple[str, ...]
    searches: list[Search] = field(default_factory=list)

    async def collection(self, name_or_id: str) -> Collection:
        return Collection(
            id=new_id(), workspace_id=new_id(), name="default", description="", embedding_model="words",
            dimension=32, chunk_tokens=200, overlap_tokens=30, created_ms=0,
        )  # fmt: skip

    async def search(self, search: Search) -> list[Hit]:
        self.searches.append(search)
        return [
            Hit(
                chunk_id=new_id(), document_id=new_id(), document_name="d", collection_id=new_id(), score=-number,
                passage=Passage(index=number, content=text, start=0, end=1, tokens=1),
            )
            for number, text in enumerate(self.texts)
        ]  # fmt: skip


@pytest.mark.parametrize(("top_k", "asked"), [(2, 8), (13, 50), (50, 50)])
async def test_a_ranker_chooses_from_more_passages_than_it_leaves(top_k, asked):
    knowledge, models = OneCollection(TEXTS), WordModels()

    hits = await find(models, knowledge, "clean the loom", {"top_k": top_k, "rerank": True}, Gpu.NONE)

    assert [search.top_k for search in knowledge.searches] == [asked]
    assert [hit.passage.content for hit in hits] == [TEXTS[1], TEXTS[2], TEXTS[0]][:top_k]
    assert [hit.score for hit in hits] == [3.0, 2.0, 0.0][:top_k]
    assert models.scored == [("clean the loom", list(TEXTS), "", Gpu.NONE)]


async def test_without_a_ranker_passages_are_not_reranked():
    knowledge, models = OneCollection(TEXTS), WordModels(ranks=False)

    assert len(await find(models, knowledge, "loom", {"top_k": 3})) == 3
    with pytest.raises(NodeError) as caught:
        await find(models, knowledge, "loom", {"top_k": 3, "rerank": True})
    assert caught.value.code == "no_ranker"
