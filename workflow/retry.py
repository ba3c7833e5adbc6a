"""When a failed node is tried again. Pure: the jitter is derived from what is retried, so a replay waits as long."""

import hashlib
from enum import StrEnum
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

JITTER_SHARE = 0.1
"""The delay is lengthened by up to this share, so that what failed together does not come back together."""


class Backoff(StrEnum):
    """How the delay grows from one failure to the next."""

    FIXED = "fixed"
    LINEAR = "linear"
    EXPONENTIAL = "exponential"


class RetryPolicy(BaseModel):
    """How often a node is tried, and how long it waits in between."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_attempts: int = Field(default=3, ge=1, le=100, description="attempts in all, the first one included")
    backoff: Backoff = Field(default=Backoff.EXPONENTIAL, description="how the delay grows")
    initial_ms: int = Field(default=1_000, ge=0, le=3_600_000, description="the delay after the first failure")
    max_ms: int = Field(default=30_000, ge=0, le=3_600_000, description="the longest delay")
    retry_on: tuple[str, ...] = Field(
        default=(), description="error codes that are tried again; empty: every one that is not known to be final"
    )

    def allows(self, failures: int, code: str, *, retryable: bool) -> bool:
        """Whether to try again after so many failures, of which the last had this code."""
        if failures >= self.max_attempts:
            return False
        return code in self.retry_on if self.retry_on else retryable

    def delay_ms(self, failures: int, execution_id: UUID, node_id: str) -> int:
        """Return how long to wait after the failure of this number (from 1)."""
        match self.backoff:
            case Backoff.FIXED:
                delay = self.initial_ms
            case Backoff.LINEAR:
                delay = self.initial_ms * failures
            case Backoff.EXPONENTIAL:
                delay = self.initial_ms << min(failures - 1, 32)
        delay = min(delay, self.max_ms)
        digest = hashlib.sha256(f"{execution_id}:{node_id}:{failures}".encode()).digest()
        return delay + int(delay * JITTER_SHARE * int.from_bytes(digest[:4], "big") / 2**32)
