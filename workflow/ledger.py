"""What calls of models used and cost, as values, and the port that notes them and adds them up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from workflow.budgets import Spent
from workflow.models import Ran, Usage

MILLION = 1_000_000


class CallKind(StrEnum):
    """What a model was asked for."""

    EMBED = "embed"
    SCORE = "score"
    CHAT = "chat"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """US dollars for a million tokens that are read, and that are written."""

    prompt: Decimal
    completion: Decimal = Decimal(0)

    def of(self, usage: Usage) -> Decimal:
        """Return what so many tokens cost."""
        return (self.prompt * usage.prompt + self.completion * usage.completion) / MILLION


def cost_of(prices: Mapping[str, Price], provider: str, models: Sequence[str], usage: Usage) -> Decimal | None:
    """Return what a call costs by the table, whose keys are `provider/model` or `provider/*`; None where it does not say.

    A model has several names where it answers by another one than it was asked by, such as one with a date: the first that has a price
    counts.
    """
    for name in (*models, "*"):
        price = prices.get(f"{provider}/{name}")
        if price is not None:
            return price.of(usage)
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """One call of a model that was answered or broke off, on whose behalf, and what it used."""

    id: UUID
    workspace_id: UUID
    kind: CallKind
    ran: Ran
    usage: Usage
    duration_ms: float
    provider: str = ""
    cost_usd: Decimal | None = None
    execution_id: UUID | None = None
    workflow_id: UUID | None = None
    user_id: UUID | None = None
    node_id: str = ""
    run_index: int = 0
    attempt: int = 0


class Ledger(Protocol):
    """Notes calls, and says what they used so far. A call that is noted twice counts once."""

    async def note(self, call: ModelCall) -> None:
        """Note a call; durable when this returns. Raises `StoreUnavailable`."""
        ...

    async def spent(self, workspace_id: UUID, execution_id: UUID | None, *, every: bool = False) -> Spent:
        """Return what the noted calls of an execution and of those around it used, and those of its workspace on this day.

        Of those above it only those whose workflows have a budget, or with `every` all. Raises `StoreUnavailable`.
        """
        ...
