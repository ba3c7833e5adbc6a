"""The models of what is answered about calls of models and what they used, and how the answers are written."""

from dataclasses import asdict
from datetime import date, datetime
from typing import Any, Literal
from uuid import UUID

from serve_app.models import Described
from store.accounting import By, CallRow, Usage, UsageSum


class SumOut(Described):
    """What some calls used."""

    calls: int
    """how many there were"""
    prompt_tokens: int
    """tokens that the models read"""
    completion_tokens: int
    """tokens that they wrote"""
    total_tokens: int
    """both"""
    cost_usd: str
    """US dollars, as a decimal number; those of calls whose cost is known"""
    costs_unknown: int
    """of how many calls the cost is not known, because `models.prices` does not name the model"""
    estimates: int
    """of how many calls the tokens are an estimate, because the provider did not count them or the call broke off"""


class ModelCallOut(Described):
    """A call of a model that was answered, or that broke off after anything was sent."""

    id: UUID
    """the call's id"""
    node_id: str
    """the node that asked"""
    run_index: int
    """which run of the node"""
    attempt: int
    """which attempt of that run"""
    kind: Literal["embed", "score", "chat"]
    """what the model was asked for"""
    provider: str
    """who was asked; `hosted` for an embedding model of the cluster"""
    model: str
    """the model that answered, by the name that it gave itself"""
    device: str
    """what it was computed on, where that is known"""
    host: str
    """the host that computed or asked"""
    gpu_ids: list[str]
    """the GPUs of that host"""
    batch_sizes: list[int]
    """how many texts were computed at once, batch by batch"""
    prompt_tokens: int
    """tokens that the model read"""
    completion_tokens: int
    """tokens that it wrote"""
    estimated: bool
    """whether the tokens are an estimate, because the provider did not count them or the call broke off"""
    cost_usd: str | None
    """US dollars, as a decimal number; null where `models.prices` does not name the model"""
    duration_ms: float
    """milliseconds from question to answer"""
    at: datetime
    """when it was answered, or broke off"""


class ModelCallsOut(Described):
    """A page of the calls of an execution."""

    items: list[ModelCallOut]
    """the calls in the order in which they were answered"""
    total: SumOut
    """what all calls of the execution used, whatever page this is"""
    next_cursor: str | None
    """asks for the next page; null on the last"""


class UsageGroupOut(SumOut):
    """The calls that have something in common."""

    key: str | None
    """the day, the workflow's id, the node's id, `provider/model`, or the user's id; null for calls that have none"""
    name: str | None
    """the workflow's name, by workflow; else null"""


class UsageOut(Described):
    """What the calls of models of a workspace used."""

    since: date
    """the first day, in UTC"""
    until: date
    """the last day"""
    by: By
    """what the items are"""
    items: list[UsageGroupOut]
    """days in order; others by their cost, the highest first, 1,000 at most"""
    more: bool
    """whether there are others, which only `total` counts"""
    total: SumOut
    """the sum of all"""


def call(row: CallRow) -> dict[str, Any]:
    """Return a call."""
    written = asdict(row)
    at = written.pop("created_at")
    return {**written, "at": at}


def total(found: UsageSum) -> dict[str, Any]:
    """Return what some calls used."""
    return {**asdict(found), "total_tokens": found.prompt_tokens + found.completion_tokens}


def usage(first: date, last: date, by: By, found: Usage) -> dict[str, Any]:
    """Return what a workspace used."""
    return {
        "since": first,
        "until": last,
        "by": by.value,
        "items": [{"key": each.key, "name": each.name, **total(each.sum)} for each in found.groups],
        "more": found.more,
        "total": total(found.total),
    }
