"""A call of a language model while it is under way: what there is to note of it, should it break off."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from actors.chat import estimate
from workflow.models import ChatRequest, Ran, ToolCall, Usage


class Gathered(Protocol):
    """An answer as far as it has come."""

    content: str
    model: str

    def usage(self, request: ChatRequest) -> Usage:
        """Return the tokens as they were counted, or else an estimate."""
        ...

    @property
    def tool_calls(self) -> Sequence[ToolCall]:
        """What the model wants done."""
        ...


@dataclass(frozen=True, slots=True)
class Left:
    """What a call that broke off leaves to be noted."""

    ran: Ran
    usage: Usage


@dataclass(slots=True)
class UnderWay:
    """Who asks tells it as he goes on: first `asks`, then `began` once anything was sent."""

    provider: str = ""
    model: str = ""
    """The one that is asked for; another name may answer."""
    _begun: tuple[ChatRequest, Gathered, Ran] | None = field(default=None, repr=False)

    def asks(self, provider: str, model: str) -> None:
        """Know who is asked."""
        self.provider, self.model = provider, model

    def began(self, request: ChatRequest, gathered: Gathered, ran: Ran) -> None:
        """Know that the model may be at work from here on, and may have to be paid."""
        self._begun = (request, gathered, ran)

    def refused(self) -> None:
        """Know that the provider has refused the request: there is nothing to pay."""
        self._begun = None

    def left(self) -> Left | None:
        """Return what is to be noted of a call that broke off, None where it never began."""
        if self._begun is None:
            return None
        request, gathered, ran = self._begun
        written = gathered.content + "".join(call.arguments for call in gathered.tool_calls)
        counted, guessed = gathered.usage(request), estimate(request, written)
        # Who is interrupted has counted at most a part: the larger of both is nearer to what will be charged.
        usage = Usage(
            prompt=max(counted.prompt, guessed.prompt) if counted.estimated else counted.prompt or guessed.prompt,
            completion=max(counted.completion, guessed.completion),
            estimated=True,
        )
        return Left(replace(ran, model=gathered.model), usage)
