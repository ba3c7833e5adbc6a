"""`ai.index` refuses by name what could not be kept, or what no upload could bring, before anything is kept."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import pytest

from nodes.ai_index import NODE_TYPE
from nodes.parsing import reader
from tests.unit.nodes.conftest import RunNode
from workflow.errors import BadInput, NodeError
from workflow.knowledge import TEXT_CHARS_MAX, Collection, IndexedPassage, NoKnowledge
from workflow.spec import NodeContext

ID = UUID("0190a3c2-0000-7000-8000-00000000000a")
GOOD: dict[str, Any] = {"content": "One.", "embedding": [0.6, 0.8]}


class Kept(NoKnowledge):
    """Documents that keep what they are given in lists."""

    def __init__(self) -> None:
        self.put_as: list[tuple[str, str, Mapping[str, Any]]] = []
        self.passages: list[list[IndexedPassage]] = []
        self.texts: list[str] = []
        self.refusal: Exception | None = None

    async def collection(self, name_or_id: str) -> Collection:
        return Collection(
            id=ID, workspace_id=ID, name="c", description="", embedding_model="words", dimension=2, chunk_tokens=9,
            overlap_tokens=0, created_ms=0,
        )  # fmt: skip

    async def put(self, collection_id: UUID, name: str, content: str, metadata: Mapping[str, Any], key: str) -> UUID:
        self.put_as.append((name, content, metadata))
        return ID

    async def begin(self, document_id: UUID, execution_id: UUID) -> int:
        return 1

    async def add(self, document_id: UUID, revision: int, passages: Sequence[IndexedPassage]) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.passages.append(list(passages))

    async def complete(self, document_id: UUID, revision: int, *, text: str, pages: int | None) -> int:
        self.texts.append(text)
        return len(self.passages[-1])


@pytest.fixture
def kept(context: NodeContext) -> Kept:
    context.knowledge = Kept()
    return context.knowledge


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({"embedding": [1e300, 1.0]}, "vector_invalid"),
        ({"embedding": [1e20, 1.0]}, "vector_invalid"),
        ({"embedding": [0.0, 0]}, "vector_invalid"),
        ({"embedding": [1e-30, 0]}, "vector_invalid"),
        ({"embedding": []}, "no_vector"),
        ({"embedding": [True, 1.0]}, "no_vector"),
        ({"content": " "}, "no_content"),
        ({"page": 2**40}, "passage_invalid"),
        ({"page": "iv"}, "passage_invalid"),
        ({"page": True}, "passage_invalid"),
        ({"page_count": "many"}, "passage_invalid"),
        ({"page_count": 2**40}, "passage_invalid"),
        ({"chunk_index": 2**31}, "passage_invalid"),
        ({"chunk_index": -1}, "passage_invalid"),
        ({"tokens": 1.5}, "passage_invalid"),
        ({"start": 2**31 - 1}, "passage_invalid"),
        ({"start": TEXT_CHARS_MAX + 1}, "passage_invalid"),
        ({"start": 9, "end": 5}, "passage_invalid"),
        ({"name": "n" * 256}, "name_invalid"),
        ({"name": "two\nlines"}, "name_invalid"),
        ({"name": 5}, "name_invalid"),
        ({"document_id": "x"}, "document_not_found"),
    ],
    ids=str,
)
async def test_what_cannot_be_kept_is_refused_by_name(kept: Kept, run_node: RunNode, said: dict[str, Any], code: str):
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, {}, [{**GOOD, **said}])

    assert (caught.value.code, caught.value.retryable) == (code, False)
    assert kept.put_as == kept.passages == []


async def test_two_passages_in_one_place_are_refused_and_those_of_other_documents_are_not_meant(
    kept: Kept, run_node: RunNode
):
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, {}, [{**GOOD, "chunk_index": 3}, {**GOOD, "chunk_index": 3}])
    await run_node(NODE_TYPE, {}, [{**GOOD, "chunk_index": 3, "name": name} for name in ("a", "b")])

    assert caught.value.code == "duplicate_chunk_index"
    assert [name for name, _, _ in kept.put_as] == ["a", "b"]


async def test_metadata_have_the_limit_of_an_upload(kept: Kept, run_node: RunNode):
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, {"metadata": {"a": "x" * 100_000}}, [GOOD])

    assert caught.value.code == "metadata_invalid"


async def test_an_item_far_into_its_text_makes_a_text_no_longer_than_itself(kept: Kept, run_node: RunNode):
    await run_node(NODE_TYPE, {}, [{**GOOD, "start": 50_000_000}])

    ((passage,),) = kept.passages
    assert kept.texts == ["One."]
    assert (passage.passage.start, passage.passage.end) == (0, 4)


async def test_passages_without_places_stand_one_behind_the_other(kept: Kept, run_node: RunNode):
    await run_node(NODE_TYPE, {}, [{**GOOD, "content": text} for text in ("One.", "Two, longer.", "One.")])

    assert kept.texts == ["One.\n\nTwo, longer.\n\nOne."]
    assert [each.passage.index for each in kept.passages[0]] == [0, 1, 2]


async def test_an_id_in_two_spellings_is_one_document(kept: Kept, run_node: RunNode):
    await run_node(NODE_TYPE, {}, [{**GOOD, "document_id": text} for text in (str(ID), str(ID).upper())])

    assert [len(passages) for passages in kept.passages] == [2]


async def test_what_the_documents_refuse_is_the_failure_of_the_item(
    kept: Kept, run_node: RunNode, context: NodeContext
):
    kept.refusal = BadInput("another dimension", "dimension_mismatch", {"dimension": 2})

    await run_node(NODE_TYPE, {}, [GOOD], keep_going=True)

    assert [(index, error.code) for index, error in context.failed.items()] == [(0, "dimension_mismatch")]


def test_the_reader_reads_as_much_text_as_is_indexed():
    assert reader.TEXT_CHARS_MAX == TEXT_CHARS_MAX
