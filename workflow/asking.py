"""How somebody is asked about a node that has failed: who, for how long, and what is done when nobody answers."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from workflow.answers import ROLES
from workflow.waiting import Recovery

SPAN_MS_MIN, SPAN_MS_MAX = 1_000, 31_622_400_000
"""Requests count seconds; a year is the longest that anything waits."""


def _role(name: str) -> str:
    if name not in ROLES:
        raise ValueError(f"a role is one of {', '.join(ROLES)}")
    return name


Role = Annotated[str, AfterValidator(_role), Field(json_schema_extra={"enum": list(ROLES)})]
Span = Annotated[int, Field(ge=SPAN_MS_MIN, le=SPAN_MS_MAX)]


class AutoAction(StrEnum):
    """What can be decided without anybody: to replace the output takes data."""

    RETRY = Recovery.RETRY.value
    SKIP = Recovery.SKIP.value
    ABORT = Recovery.ABORT.value


class AskPolicy(BaseModel):
    """Who is asked what is to become of a failed node, and what becomes of it when nobody answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    timeout_ms: Span | None = Field(
        default=None, description="how long it waits for an answer after the failure; null: for as long as it takes"
    )
    auto_action: AutoAction | None = Field(
        default=None,
        description="what is done when the time is over: `retry`, after whose failure somebody is asked again, `skip` or `abort`; null: "
        "it fails",
    )
    allowed_roles: tuple[Role, ...] = Field(
        default=(), description="who may answer, beside owners; empty: every member who may edit"
    )
    remind_after_ms: Span | None = Field(
        default=None, description="from then on the request is shown as `reminded`; null: never"
    )
    escalate_after_ms: Span | None = Field(default=None, description="from then on `escalate_to` may answer, too")
    escalate_to: Role | None = Field(default=None, description="a role")

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if self.auto_action is not None and self.timeout_ms is None:
            raise ValueError("`auto_action` is done when the time is over: it needs `timeout_ms`")
        if (self.escalate_to is None) != (self.escalate_after_ms is None):
            raise ValueError("`escalate_after_ms` and `escalate_to` go together")
        return self
