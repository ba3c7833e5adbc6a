"""The workflows of the load, and what each must give: computed here, without Rayloom, from its input and what the world outside said."""

from collections.abc import Callable
from dataclasses import replace

from tests.storm.drawing import Given, Shape, ms_of
from tests.storm.plain_shapes import plain
from tests.storm.resting_shapes import resting


def shapes(port: int, effect_ms: int) -> dict[str, Shape]:
    """Return the shapes by name, for a sink on this port whose answers take about so many milliseconds."""
    return {shape.name: _slow(shape, effect_ms) for shape in (*plain(port), *resting(port))}


def _slow(shape: Shape, effect_ms: int) -> Shape:
    def given(n: int, tenant: str) -> Given:
        return [{**item, "ms": ms_of(item["n"], effect_ms)} for item in shape.given(n, tenant)]

    child = None if shape.child is None else _slow(shape.child, effect_ms)
    made: Callable[[int, str], Given] = given
    return replace(shape, given=made, child=child)
