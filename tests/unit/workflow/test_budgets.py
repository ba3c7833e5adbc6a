"""Budgets: which limit is reached, what is told of it, and how those of an instance and of a workflow go together."""

from decimal import Decimal

import pytest

from nodes.catalog import load_catalog
from workflow.budgets import Above, Budget, Budgets, Spent, Used
from workflow.document import parse_document
from workflow.errors import InvalidDefinition, NodeError
from workflow.plan import make_plan

NODE = {"id": "a", "type": "trigger.manual"}
ALL = Budgets(
    execution=Budget(usd=Decimal("1.50"), tokens=100), workspace_day=Budget(usd=Decimal(20), tokens=1_000_000)
)


def spent(usd: str = "0", tokens: int = 0, day_usd: str = "0", day_tokens: int = 0) -> Spent:
    return Spent(
        execution=Used(usd=Decimal(usd), tokens=tokens), workspace_day=Used(usd=Decimal(day_usd), tokens=day_tokens)
    )


@pytest.mark.parametrize(
    ("used", "name", "words"),
    [
        (spent(usd="1.5000000000"), "execution_usd", "1.5 of 1.5 US dollars"),
        (spent(usd="2.5", tokens=500, day_usd="30"), "execution_usd", "2.5 of 1.5 US dollars"),
        (spent(tokens=100), "execution_tokens", "100 of 100 tokens"),
        (spent(day_usd="20.0000000001"), "workspace_day_usd", "20.0000000001 of 20 US dollars"),
        (spent(day_tokens=1_000_001), "workspace_day_tokens", "1000001 of 1000000 tokens"),
    ],
)
def test_the_first_limit_that_is_reached_is_told(used: Spent, name: str, words: str):
    with pytest.raises(NodeError) as caught:
        ALL.check(used)

    error = caught.value
    assert (error.code, error.retryable, error.fields["budget"]) == ("budget_exceeded", False, name)
    assert (name in error.message, error.message.endswith(words)) == (True, True)
    assert f"{error.fields['used']} of {error.fields['limit']} " in error.message


@pytest.mark.parametrize(
    ("instance", "own", "reached"),
    [
        (Budget(), Budget(tokens=100), True),
        (Budget(tokens=100), Budget(), True),
        (Budget(tokens=100), Budget(tokens=1_000), True),
        (Budget(usd=Decimal(2)), Budget(), True),
        (Budget(tokens=101), Budget(tokens=1_000), False),
        (Budget(), Budget(), False),
    ],
)
def test_an_execution_above_may_not_use_more_with_those_below_it_than_it_may_alone(instance, own, reached):
    used = Spent(above=[Above(used=Used()), Above(used=Used(usd=Decimal(2), tokens=100), budget=own)])
    budgets = Budgets(above=instance)

    if not reached:
        budgets.check(used)
        return
    with pytest.raises(NodeError, match="of an execution above this one is used up"):
        budgets.check(used)


def test_below_every_limit_and_without_any_a_call_may_be_made():
    ALL.check(spent("1.4999999999", 99, "19.9999999999", 999_999))
    Budgets().check(spent("1000", 10**12, "1000", 10**12))
    assert ALL.any
    assert not Budgets().any


def test_of_two_budgets_the_lower_limits_count():
    theirs, ours = Budget(usd=Decimal(2)), Budget(usd=Decimal(1), tokens=5)

    assert theirs.within(ours) == ours.within(theirs) == Budget(usd=Decimal(1), tokens=5)
    assert theirs.within(Budget()) == Budget().within(theirs) == theirs


def test_a_workflow_may_have_a_budget_of_its_own():
    def budget(settings: dict) -> Budget:
        return make_plan(parse_document({"name": "w", "nodes": [NODE], "settings": settings}), load_catalog()).budget

    assert budget({}) == Budget()
    assert budget({"budget": {"usd": 0.1}}) == Budget(usd=Decimal("0.1"))
    assert budget({"budget": {"usd": None, "tokens": 7}}) == Budget(tokens=7)


@pytest.mark.parametrize(
    "budget", [{"usd": 0}, {"usd": -1}, {"tokens": 0}, {"tokens": 1.5}, {"eur": 1}, {"usd": 1e10}, 5]
)
def test_a_budget_that_makes_no_sense_is_a_finding(budget: object):
    with pytest.raises(InvalidDefinition) as caught:
        parse_document({"name": "w", "nodes": [NODE], "settings": {"budget": budget}})

    assert caught.value.fields["findings"][0]["field"].startswith("settings.budget")
