"""Calls of models are noted before the node hears of them, with what they used, for whom, and at which price; budgets stop the next one."""

from dataclasses import replace
from decimal import Decimal
from uuid import UUID

import pytest

from actors.ids import new_id
from actors.recorded import OnBehalf, RecordedModelsOf
from tests.models import WordModels
from workflow.budgets import UNLIMITED, Above, Budget, Budgets, Spent, Used
from workflow.effects import KeptEffects
from workflow.errors import NodeError, StoreUnavailable
from workflow.knowledge import NoKnowledge
from workflow.ledger import CallKind, ModelCall, Price
from workflow.models import ChatRequest, Message, Role, Usage

PRICES = {"words/words": Price(prompt=Decimal(2), completion=Decimal(10)), "hosted/*": Price(prompt=Decimal(1))}
NO_BUDGETS = Budgets()
BEHALF = OnBehalf(workspace_id=new_id(), execution_id=new_id(), node_id="n", run_index=2, attempt=3)
ASKED = ChatRequest(messages=[Message(role=Role.USER, content="one two three")])


class Noted:
    def __init__(self) -> None:
        self.calls: list[ModelCall] = []
        self.outages = 0
        self.asked = 0
        self.above: list[Above] = []

    async def note(self, call: ModelCall) -> None:
        if self.outages:
            self.outages -= 1
            raise StoreUnavailable("away")
        self.calls.append(call)

    async def spent(self, workspace_id: UUID, execution_id: UUID | None, *, every: bool = False) -> Spent:
        if self.outages:
            self.outages -= 1
            raise StoreUnavailable("away")
        self.asked += 1
        mine = [call for call in self.calls if call.workspace_id == workspace_id]
        return Spent(
            execution=used([call for call in mine if execution_id and call.execution_id == execution_id]),
            above=[each for each in self.above if every or each.budget != UNLIMITED],
            workspace_day=used(mine),
        )


def used(calls: list[ModelCall]) -> Used:
    return Used(
        usd=sum((call.cost_usd or Decimal(0) for call in calls), Decimal(0)),
        tokens=sum(call.usage.total for call in calls),
    )


class Kept:
    def __init__(self) -> None:
        self.results: dict[tuple[UUID, UUID, str], bytes] = {}

    async def recall(self, workspace_id: UUID, execution_id: UUID, key: str) -> bytes | None:
        return self.results.get((workspace_id, execution_id, key))

    async def keep(self, workspace_id: UUID, execution_id: UUID, key: str, result: bytes) -> bytes:
        return self.results.setdefault((workspace_id, execution_id, key), result)


def nobody_knows(_workspace_id: UUID, _user_id: UUID | None) -> NoKnowledge:
    return NoKnowledge()


def recorded(
    noted: Noted,
    access: WordModels,
    budgets: Budgets = NO_BUDGETS,
    own: Budget = UNLIMITED,
    behalf: OnBehalf = BEHALF,
):
    return RecordedModelsOf(
        access=access,
        ledger=noted,
        kept=Kept(),
        prices=PRICES,
        new_id=new_id,
        known=nobody_knows,
        budgets=budgets,
    ).on_behalf(behalf, own)


async def test_each_kind_of_call_is_noted_with_what_it_used():
    noted = Noted()
    models = recorded(noted, WordModels())

    await models.embed(["a b", "c"])
    await models.score("a", ["a b"])
    await models.answer(ASKED)

    assert [call.kind for call in noted.calls] == [CallKind.EMBED, CallKind.SCORE, CallKind.CHAT]
    assert [call.usage.total for call in noted.calls] == [3, 0, 6]
    assert [call.cost_usd for call in noted.calls] == [Decimal("0.000003"), 0, Decimal("0.000036")]
    assert {(call.node_id, call.run_index, call.attempt) for call in noted.calls} == {("n", 2, 3)}
    assert {(call.workspace_id, call.execution_id) for call in noted.calls} == {
        (BEHALF.workspace_id, BEHALF.execution_id)
    }
    assert len({call.id for call in noted.calls}) == 3


async def test_a_call_that_failed_used_nothing():
    noted = Noted()
    with pytest.raises(NodeError):
        await recorded(noted, WordModels(failing=NodeError("no"))).answer(ASKED)
    assert noted.calls == []


async def test_what_was_answered_waits_for_the_database():
    noted = Noted()
    noted.outages = 2

    found = await recorded(noted, WordModels()).answer(ASKED)

    assert found.content == "one two three"
    assert len(noted.calls) == 1


async def test_without_a_budget_nobody_asks_what_was_used():
    noted = Noted()
    await recorded(noted, WordModels()).answer(ASKED)
    assert noted.asked == 0


async def test_no_kind_of_call_is_made_once_the_budget_of_the_execution_is_used_up():
    noted, access = Noted(), WordModels()
    models = recorded(noted, access, Budgets(execution=Budget(tokens=3)))
    await models.embed(["a b", "c"])

    for call in (models.embed(["a"]), models.score("a", ["a"]), models.answer(ASKED)):
        with pytest.raises(NodeError) as caught:
            await call
        assert (caught.value.code, caught.value.retryable) == ("budget_exceeded", False)
        assert caught.value.fields["budget"] == "execution_tokens"

    assert (len(noted.calls), len(access.embedded), access.asked) == (1, 1, []), "nobody was asked"
    other = replace(BEHALF, execution_id=new_id())
    assert await recorded(noted, access, Budgets(execution=Budget(tokens=3)), behalf=other).embed(["a"])


async def test_the_lower_of_the_budgets_of_instance_and_workflow_counts():
    for instance, own in (
        (Decimal(1), Decimal("0.00003")),
        (Decimal("0.00003"), Decimal(1)),
        (None, Decimal("0.00003")),
    ):
        noted = Noted()
        models = recorded(noted, WordModels(), Budgets(execution=Budget(usd=instance)), Budget(usd=own))
        await models.answer(ASKED)
        with pytest.raises(NodeError, match="execution_usd"):
            await models.answer(ASKED)


async def test_an_execution_below_another_one_asks_what_those_above_may_use():
    noted = Noted()
    noted.above = [Above(used=Used(tokens=5), budget=Budget(tokens=5))]
    below = replace(BEHALF, depth=1)

    with pytest.raises(NodeError) as caught:
        await recorded(noted, WordModels(), behalf=below).answer(ASKED)
    noted.above = [Above(used=Used(tokens=5))]
    await recorded(noted, WordModels(), behalf=below).answer(ASKED)
    with pytest.raises(NodeError):
        await recorded(
            noted, WordModels(), Budgets(execution=Budget(tokens=5)), behalf=replace(below, execution_id=new_id())
        ).answer(ASKED)

    assert caught.value.code == "budget_exceeded"


async def test_the_day_of_a_workspace_is_limited_for_all_who_ask():
    noted, access, budgets = Noted(), WordModels(), Budgets(workspace_day=Budget(tokens=6))
    await recorded(noted, access, budgets).answer(ASKED)

    user = OnBehalf(workspace_id=BEHALF.workspace_id, user_id=new_id())
    with pytest.raises(NodeError, match="workspace_day_tokens"):
        await recorded(noted, access, budgets, behalf=user).embed(["a"])

    assert await recorded(noted, access, budgets, behalf=OnBehalf(workspace_id=new_id())).embed(["a"])


async def test_who_asks_outside_of_executions_has_no_budget_of_one():
    noted, user = Noted(), OnBehalf(workspace_id=new_id())
    models = recorded(noted, WordModels(), Budgets(execution=Budget(tokens=1)), Budget(tokens=1), user)

    await models.embed(["a b"])
    await models.embed(["a b"])

    assert noted.asked == 0


async def test_a_call_waits_until_it_is_known_what_was_used():
    noted = Noted()
    noted.outages = 2
    await recorded(noted, WordModels(), Budgets(execution=Budget(tokens=10))).answer(ASKED)
    assert noted.asked == 1


def test_what_no_price_is_known_for_has_no_cost():
    from workflow.ledger import cost_of

    assert cost_of(PRICES, "openai", ["gpt"], Usage(prompt=5)) is None
    assert cost_of(PRICES, "hosted", ["any"], Usage(prompt=1_000_000)) == 1
    assert cost_of(PRICES, "words", ["words"], Usage(prompt=500_000, completion=100_000)) == 2


async def test_effects_of_a_run_are_found_by_their_names():
    kept, identity = Kept(), new_id()
    first, other = (KeptEffects(kept, BEHALF.workspace_id, identity, key) for key in ("e:n:0", "e:n:1"))

    assert await first.recall() is None
    assert await first.keep(b"1", "a") == b"1"
    assert await first.keep(b"2", "a") == b"1", "the first counts"
    assert (await first.recall("a"), await first.recall("b"), await other.recall("a")) == (b"1", None, None)
