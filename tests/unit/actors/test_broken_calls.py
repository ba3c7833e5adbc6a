"""Calls of language models that break off are paid for all the same: they are noted with an estimate, and count against budgets."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from threading import Event
from typing import Any

import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from actors.ids import new_id
from actors.model_access import ModelAccess
from actors.models import Adapter, HostedLanguageModel, ModelsConfig, ModelSource, Provider
from actors.recorded import OnBehalf, RecordedModelsOf
from nodes.outbound import GuardedClient, OutboundPolicy
from tests.models import RAN, WordModels
from tests.unit.actors.test_recorded import Kept, Noted, nobody_knows
from workflow.budgets import Budget, Budgets
from workflow.errors import NodeError
from workflow.ledger import Price
from workflow.models import ChatRequest, Gpu, Message, Models, Ran, Role, Usage

PROMPT = "Tell me about looms, at length."
PROMPT_TOKENS = 8
SAID = "Looms weave cloth. " * 4
SAID_TOKENS = 19
ASKED = ChatRequest(messages=[Message(role=Role.USER, content=PROMPT)], timeout_ms=5_000)
PRICES = {f"{name}/m": Price(prompt=Decimal(1), completion=Decimal(10)) for name in ("openai", "anthropic", "gemini")}
PATHS = {"openai": "/chat/completions", "anthropic": "/messages", "gemini": "/models/m:streamGenerateContent"}


def pieces(provider: str) -> list[dict[str, Any]]:
    """Return the beginning of an answer."""
    if provider == "openai":
        return [{"model": "m-2026-01-01", "choices": [{"delta": {"content": SAID}}]}]
    if provider == "gemini":
        return [{"modelVersion": "m-2026-01-01", "candidates": [{"content": {"parts": [{"text": SAID}]}}]}]
    return [
        {
            "type": "message_start",
            "message": {"model": "m-2026-01-01", "usage": {"input_tokens": 7, "output_tokens": 1}},
        },
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": SAID}},
    ]


@pytest.fixture
async def client(httpserver: HTTPServer) -> AsyncIterator[GuardedClient]:
    made = GuardedClient(OutboundPolicy(allow=(f"127.0.0.1:{httpserver.port}", "127.0.0.1:1")))
    yield made
    await made.close()


@pytest.fixture
def noted() -> Noted:
    return Noted()


@pytest.fixture
def access(httpserver: HTTPServer, client: GuardedClient) -> ModelAccess:
    url = f"http://127.0.0.1:{httpserver.port}"
    providers = tuple(Provider(name=name, adapter=Adapter(name), base_url=url, model="m") for name in PATHS)
    local = Provider(name="local", adapter=Adapter.HOSTED, model="small")
    config = ModelsConfig(
        provider="local",
        providers=(*providers, local),
        language=(HostedLanguageModel(source=ModelSource(name="small", source="/small")),),
    )
    return ModelAccess(config, Halting(), lambda: client.bare)


@pytest.fixture
def models(noted: Noted, access: ModelAccess) -> Models:
    return recorded(noted, access)


def recorded(noted: Noted, access: Any, tokens: int | None = None) -> Models:
    return RecordedModelsOf(
        access=access,
        ledger=noted,
        kept=Kept(),
        prices=PRICES,
        new_id=new_id,
        known=nobody_knows,
        budgets=Budgets(workspace_day=Budget(tokens=tokens)),
    ).on_behalf(OnBehalf(workspace_id=new_id()))


class Halting(WordModels):
    """Says a part of an answer and no more."""

    async def chunks(self, model: Any, request: ChatRequest, gpu: Gpu) -> AsyncIterator[Mapping[str, Any] | Ran]:
        yield RAN
        yield {"choices": [{"delta": {"content": SAID}}]}
        await asyncio.Event().wait()


@pytest.fixture
def stalled() -> Iterator[Event]:
    held = Event()
    yield held
    held.set()


def answering(httpserver: HTTPServer, provider: str, held: Event | None = None, status: int = 200) -> None:
    """Have a provider say the beginning of an answer; with `held` it says nothing more until that is set, else it ends there."""

    def body():
        for each in pieces(provider):
            yield f"data: {json.dumps(each)}\n\n".encode()
        if held is not None:
            held.wait(20)

    def answer(_: Request) -> Response:
        return Response(body() if status == 200 else '{"error": {"message": "no"}}', status)

    httpserver.expect_request(PATHS[provider]).respond_with_handler(answer)


async def cancelled_in_the_middle(models: Models, request: ChatRequest) -> None:
    """Ask, and cancel as soon as the beginning of the answer is there."""
    there = asyncio.Event()

    async def on_text(_: str) -> None:
        there.set()

    asking = asyncio.ensure_future(models.answer(request, on_text))
    await asyncio.wait_for(there.wait(), 10)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


@pytest.mark.parametrize("provider", list(PATHS))
async def test_who_is_cancelled_in_the_middle_of_an_answer_has_used_what_came(
    httpserver, models, noted, stalled, provider
):
    answering(httpserver, provider, stalled)

    await cancelled_in_the_middle(models, replace(ASKED, provider=provider))

    (call,) = noted.calls
    prompt = 7 if provider == "anthropic" else PROMPT_TOKENS
    assert call.usage == Usage(prompt=prompt, completion=SAID_TOKENS, estimated=True)
    assert (call.provider, call.ran.model, call.ran.host) == (provider, "m-2026-01-01", "127.0.0.1")
    assert call.cost_usd == Decimal(prompt + 10 * SAID_TOKENS) / 1_000_000


@pytest.mark.parametrize("provider", list(PATHS))
async def test_an_answer_that_ends_in_the_middle_is_noted_each_time(httpserver, models, noted, provider):
    answering(httpserver, provider)

    for _ in range(2):
        with pytest.raises(NodeError, match="ended its answer in the middle"):
            await models.answer(replace(ASKED, provider=provider))

    assert [call.usage.completion for call in noted.calls] == [SAID_TOKENS, SAID_TOKENS]
    assert all(call.usage.estimated for call in noted.calls)


@pytest.mark.parametrize("provider", list(PATHS))
async def test_an_answer_that_is_too_late_is_noted(httpserver, models, noted, stalled, provider):
    answering(httpserver, provider, stalled)

    with pytest.raises(NodeError) as caught:
        await models.answer(replace(ASKED, provider=provider, timeout_ms=500))

    assert (caught.value.code, caught.value.message) == (
        "provider_failed",
        f"{provider} has not answered within 500 ms",
    )
    assert [call.usage.completion for call in noted.calls] == [SAID_TOKENS]


@pytest.mark.parametrize("provider", list(PATHS))
async def test_a_request_that_was_refused_or_never_sent_used_nothing(httpserver, models, noted, provider):
    answering(httpserver, provider, status=429)
    refused = replace(ASKED, provider=provider)

    for request in (refused, replace(refused, base_url="http://127.0.0.1:1"), replace(refused, base_url="http://[")):
        with pytest.raises(NodeError):
            await models.answer(request)

    assert noted.calls == []


async def test_a_held_model_that_is_interrupted_has_used_what_it_wrote(models, noted):
    await cancelled_in_the_middle(models, replace(ASKED, provider="local"))

    (call,) = noted.calls
    assert call.usage == Usage(prompt=PROMPT_TOKENS, completion=SAID_TOKENS, estimated=True)
    assert (call.provider, call.ran.host) == ("local", RAN.host)


async def test_what_broke_off_counts_against_a_budget(httpserver, access, noted):
    answering(httpserver, "openai")
    models = recorded(noted, access, tokens=PROMPT_TOKENS + SAID_TOKENS)

    with pytest.raises(NodeError, match="in the middle"):
        await models.answer(replace(ASKED, provider="openai"))
    with pytest.raises(NodeError) as caught:
        await models.answer(replace(ASKED, provider="openai"))

    assert caught.value.code == "budget_exceeded"


async def test_a_database_that_is_away_does_not_hide_why_a_call_broke_off(monkeypatch, httpserver, models, noted):
    monkeypatch.setattr("actors.recorded.NOTE_S", 0.01)
    answering(httpserver, "openai")
    noted.outages = 2

    with pytest.raises(NodeError, match="ended its answer in the middle"):
        await models.answer(replace(ASKED, provider="openai"))

    assert noted.calls == [], "nobody waits for long"
    async with asyncio.timeout(10):
        while not noted.calls:
            await asyncio.sleep(0.01)
    assert [call.usage.completion for call in noted.calls] == [SAID_TOKENS]


async def test_who_is_cancelled_while_an_answer_is_noted_still_notes_it(noted):
    noted.outages = 1
    asking = asyncio.ensure_future(recorded(noted, WordModels()).answer(ASKED))
    async with asyncio.timeout(10):
        while noted.outages:
            await asyncio.sleep(0)

    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking

    assert [call.usage.estimated for call in noted.calls] == [False]


async def test_the_price_of_a_model_is_that_of_the_name_it_was_asked_by(httpserver, noted, access):
    whole = [*pieces("openai"), {"choices": [{"delta": {}, "finish_reason": "stop"}]}]
    httpserver.expect_request("/chat/completions").respond_with_data(
        "".join(f"data: {json.dumps(e)}\n\n" for e in whole)
    )
    dated = {"openai/m-2026-01-01": Price(prompt=Decimal(3))}

    for prices, cost in (
        (PRICES, 198),
        (PRICES | dated, 198),
        (dated, 24),
        ({"openai/*": Price(prompt=Decimal(2))}, 16),
    ):
        found = RecordedModelsOf(
            access=access, ledger=noted, kept=Kept(), prices=prices, new_id=new_id, known=nobody_knows
        )
        await found.on_behalf(OnBehalf(workspace_id=new_id())).answer(replace(ASKED, provider="openai"))
        assert noted.calls[-1].cost_usd == Decimal(cost) / 1_000_000
        assert noted.calls[-1].ran.model == "m-2026-01-01"
