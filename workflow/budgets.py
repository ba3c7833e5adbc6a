"""How much of models may be used before work is stopped: limits and what was used as values, and the decision between them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TypeVar

from workflow.errors import NodeError

N = TypeVar("N", Decimal, int)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The most that may be used, in US dollars and in tokens read and written; None is no limit."""

    usd: Decimal | None = None
    tokens: int | None = None

    def within(self, other: "Budget") -> "Budget":
        """Return the budget that keeps to both."""
        return Budget(usd=_lower(self.usd, other.usd), tokens=_lower(self.tokens, other.tokens))


UNLIMITED = Budget()


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What was used, in US dollars where a price was known, and in tokens read and written."""

    usd: Decimal = Decimal(0)
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Above:
    """An execution that has started another one, directly or not: what both and all others below it used, and its workflow's budget."""

    used: Used
    budget: Budget = UNLIMITED


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What an execution has used with all that are below it, those above it from the nearest on, and its workspace on this day (UTC)."""

    execution: Used = Used()
    above: Sequence[Above] = ()
    workspace_day: Used = Used()


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """What an execution may use, one above it whatever its workflow allows, and a workspace in a day (UTC)."""

    execution: Budget = UNLIMITED
    above: Budget = UNLIMITED
    workspace_day: Budget = UNLIMITED

    @property
    def any(self) -> bool:
        """Whether anything is limited."""
        return self != Budgets()

    def check(self, spent: Spent) -> None:
        """Return if one more call may be made. Raises `NodeError` (`budget_exceeded`) with the first limit that is reached."""
        for name, owner, limit, used, unit in self._limits(spent):
            if limit is not None and used >= limit:
                message = f"the budget {name} of {owner} is used up: {_plain(used)} of {_plain(limit)} {unit}"
                fields = {"budget": name, "limit": _plain(limit), "used": _plain(used), "retryable": False}
                raise NodeError(message, "budget_exceeded", fields)

    def _limits(self, spent: Spent) -> Iterator[tuple[str, str, Decimal | int | None, Decimal | int, str]]:
        above = [("an execution above this one", self.above.within(each.budget), each.used) for each in spent.above]
        for owner, budget, used in (("this execution", self.execution, spent.execution), *above):
            yield from _of("execution", owner, budget, used)
        yield from _of("workspace_day", "this workspace and day (UTC)", self.workspace_day, spent.workspace_day)


def _of(
    name: str, owner: str, budget: Budget, used: Used
) -> Iterator[tuple[str, str, Decimal | int | None, Decimal | int, str]]:
    yield f"{name}_usd", owner, budget.usd, used.usd, "US dollars"
    yield f"{name}_tokens", owner, budget.tokens, used.tokens, "tokens"


def _lower(first: N | None, second: N | None) -> N | None:
    return second if first is None else first if second is None else min(first, second)


def _plain(amount: Decimal | int) -> str:
    """Return a number without an exponent and without zeros at its end."""
    return str(amount) if isinstance(amount, int) else f"{amount.normalize():f}"
