"""Turns at a few places: fair between those who want them, exact, and none is lost whatever is cancelled."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

from hypothesis import given
from hypothesis import strategies as st

from nodes.sandbox.turns import FairTurns


class Crowd:
    """Tasks that hold places until they are told to go; `order` is who got one, in turn."""

    def __init__(self, turns: FairTurns) -> None:
        self.turns = turns
        self.order: list[str] = []
        self.holding: list[tuple[str, asyncio.Event]] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def come(self, *names: str) -> None:
        for name in names:
            self.tasks.append(asyncio.create_task(self._hold(name)))
        await settled()

    async def go(self, name: str) -> None:
        next(told for held, told in self.holding if held == name).set()
        await settled()

    async def _hold(self, name: str) -> None:
        async with self.turns.turn(name[0]):
            self.order.append(name)
            place = (name, asyncio.Event())
            self.holding.append(place)
            try:
                await place[1].wait()
            finally:
                self.holding.remove(place)

    @property
    def held(self) -> Counter[str]:
        return Counter(name[0] for name, _ in self.holding)


async def settled() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


async def test_who_holds_none_has_a_spare_place_while_another_has_all():
    crowd = Crowd(FairTurns(2, spare=1))
    await crowd.come("a1", "a2", "a3", "b1", "b2", "c1")
    assert crowd.order == ["a1", "a2", "b1"]
    await crowd.go("b1")
    assert crowd.order[3:] == ["b2"], "the spare place is for who holds none, so not for a's third"
    await crowd.go("a1")
    assert crowd.order[4:] == ["c1"]


async def test_the_next_place_goes_to_who_holds_the_fewest():
    crowd = Crowd(FairTurns(2))
    await crowd.come("a1", "a2", "a3", "a4", "b1", "b2", "c1")
    await crowd.go("a1")
    assert crowd.order[2:] == ["b1"]
    await crowd.go("a2")
    assert crowd.order[3:] == ["a3"], "b holds one; of a and c, who hold none, a has waited longer"
    await crowd.go("b1")
    assert crowd.order[4:] == ["c1"], "b, who was served meanwhile, is behind it"


async def test_alone_one_uses_every_place_in_the_order_of_coming():
    crowd = Crowd(FairTurns(3, spare=1))
    await crowd.come("a1", "a2", "a3", "a4", "a5")
    assert crowd.order == ["a1", "a2", "a3"]
    await crowd.go("a2")
    await crowd.go("a1")
    assert crowd.order[3:] == ["a4", "a5"]


async def test_who_leaves_before_its_turn_takes_no_place_along():
    crowd = Crowd(FairTurns(1))
    await crowd.come("a1", "b1", "c1")
    crowd.tasks[1].cancel()
    await crowd.go("a1")
    assert crowd.order == ["a1", "c1"]


async def test_who_is_cancelled_in_the_moment_of_its_turn_gives_it_on():
    turns = FairTurns(1)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(turns.turn("a"))
        crowd = Crowd(turns)
        await crowd.come("b1", "c1")
    crowd.tasks[0].cancel()  # its turn has been given, but it has not heard of it
    await settled()
    assert crowd.order == ["c1"]


@given(
    st.integers(1, 3),
    st.integers(0, 2),
    st.lists(st.tuples(st.sampled_from("+-x"), st.sampled_from("abc")), max_size=60),
)
def test_places_are_never_more_than_there_are_and_none_is_ever_lost(
    size: int, spare: int, steps: list[tuple[str, str]]
):
    async def play() -> None:
        crowd = Crowd(FairTurns(size, spare))
        for number, (what, who) in enumerate(steps):
            if what == "+":
                await crowd.come(f"{who}{number}")
            elif what == "-" and crowd.held[who]:
                await crowd.go(next(name for name, _ in crowd.holding if name[0] == who))
            elif what == "x" and crowd.tasks:
                crowd.tasks[number % len(crowd.tasks)].cancel()
                await settled()
            alive = sum(not task.done() for task in crowd.tasks)
            assert min(size, alive) <= crowd.held.total() <= size + spare
        for task in crowd.tasks:
            task.cancel()
        await settled()
        after = Crowd(crowd.turns)
        await after.come(*(f"a{number}" for number in range(size + 3)))
        assert len(after.order) == size, "all places are there again"
        for task in after.tasks:
            task.cancel()
        await settled()

    asyncio.run(play())
