"""The keeper's judgement: which part to begin, when one counts as failed, and when it is tried again.

Parts begin as soon as the ones that they need are ready, side by side where they can. A part that dies is ended, with
the parts that cannot live without it, and begun again after a pause that doubles from 0.5 s to 30 s; a minute of
health forgets the failures. Before everything was ready once, a second failure gives up: then it is the installation
that is wrong, and a person is waiting for the answer. Later it never gives up.

No process, file, sleep or clock is named here: all come in.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from cluster.parts import Condition, Part, sentence
from workflow.errors import RayloomError, Unavailable

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
HEALTHY_AFTER_S = 60.0
FIRST_TRIES_MAX = 2


class Phase(StrEnum):
    """Where a kept part stands."""

    DOWN = "down"
    STARTING = "starting"
    READY = "ready"


@dataclass(slots=True, kw_only=True)
class Kept:
    """A part and what the keeper knows about it.

    `needs` must be ready before it begins; with the death of one of `dies_with` it is ended, too. `seconds` has its
    own start time under its own name, and the stages that it reports.
    """

    part: Part
    start_limit_s: float
    needs: tuple[str, ...] = ()
    dies_with: tuple[str, ...] = ()
    phase: Phase = Phase.DOWN
    since_s: float = 0.0
    retry_at_s: float = 0.0
    failures: int = 0
    restarts: int = 0
    reason: str = ""
    pid: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The part's name."""
        return self.part.name


class GaveUp(Unavailable):
    """The first start has failed; the message says why."""

    default_code = "gave_up"


class Keeper:
    """Keeps parts running. They are given in the order of their start; they are stopped in the reverse one."""

    def __init__(
        self,
        kept: Sequence[Kept],
        monotonic_s: Callable[[], float],
        say: Callable[[str], None],
    ) -> None:
        self._kept = {one.name: one for one in kept}
        self._now_s = monotonic_s
        self._say = say
        self._was_ready = False

    @property
    def kept(self) -> Iterable[Kept]:
        """The parts in the order of their start."""
        return self._kept.values()

    @property
    def ready(self) -> bool:
        """Whether every part is ready."""
        return all(one.phase is Phase.READY for one in self.kept)

    @property
    def was_ready(self) -> bool:
        """Whether there was a moment when every part was ready."""
        return self._was_ready

    def tick(self) -> None:
        """Look at every part once and do what is due. Raises `GaveUp`."""
        for one in self.kept:
            try:
                self._look_at(one)
            except GaveUp:
                raise
            except (RayloomError, OSError) as error:
                self._failed(one, sentence(error))
        if self.ready and not self._was_ready:
            self._was_ready = True
            self._say("everything is ready")

    def stop(self) -> list[str]:
        """End every part, the last one first. Returns what could not be ended."""
        problems = []
        for one in reversed(list(self.kept)):
            try:
                one.part.end()
                self._say(f"{one.name} has stopped")
            except (RayloomError, OSError) as error:
                problems.append(f"{one.name}: {sentence(error)}")
                self._say(problems[-1])
            one.phase = Phase.DOWN
            one.pid = None
        return problems

    def _look_at(self, one: Kept) -> None:
        now_s = self._now_s()
        if one.phase is Phase.DOWN:
            if now_s >= one.retry_at_s:
                self._try_to_begin(one, now_s)
            return
        state = one.part.poll()
        one.pid = state.pid
        one.seconds.update(state.seconds)
        if state.condition is Condition.DEAD:
            self._failed(one, state.reason)
        elif one.phase is Phase.STARTING and state.condition is Condition.READY:
            one.phase = Phase.READY
            one.reason = ""
            one.seconds[one.name] = round(now_s - one.since_s, 2)
            one.since_s = now_s
            self._say(f"{one.name} is ready after {one.seconds[one.name]:.1f} s")
        elif one.phase is Phase.STARTING and now_s - one.since_s > one.start_limit_s:
            self._failed(one, f"{one.name} was not ready after {one.start_limit_s:.0f} s")
        elif one.phase is Phase.READY and now_s - one.since_s > HEALTHY_AFTER_S:
            one.failures = 0

    def _try_to_begin(self, one: Kept, now_s: float) -> None:
        one.part.warm()
        if all(self._kept[need].phase is Phase.READY for need in one.needs):
            one.phase = Phase.STARTING
            one.since_s = now_s
            one.part.begin()

    def _failed(self, one: Kept, reason: str) -> None:
        one.failures += 1
        one.restarts += 1
        one.reason = reason
        self._say(f"{one.name} has failed: {reason}")
        for other in reversed(list(self.kept)):
            if one.name in other.dies_with:
                self._put_down(other)
                other.retry_at_s = self._now_s()
        self._put_down(one)
        pause_s = min(FIRST_PAUSE_S * 2.0 ** (one.failures - 1), LONGEST_PAUSE_S)
        one.retry_at_s = self._now_s() + pause_s
        if not self._was_ready and one.failures >= FIRST_TRIES_MAX:
            raise GaveUp(f"{one.name}: {reason}", fields={"part": one.name})

    def _put_down(self, one: Kept) -> None:
        try:
            one.part.end()
        except (RayloomError, OSError) as error:
            # It is begun again all the same: beginning on top of what remains fails with a clearer message, or works.
            self._say(f"{one.name}: {sentence(error)}")
        one.phase = Phase.DOWN
        one.pid = None
        one.seconds.clear()
