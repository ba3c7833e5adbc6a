"""Nodes with several inputs: which items came in where."""

from typing import TypeAlias

from workflow.errors import NodeError
from workflow.spec import MAIN, Item, Items, NodeContext

Pair: TypeAlias = tuple[Item, int]
"""An item and its index in the list of all items."""

_PREFIX = "input:"


def handles_of(count: int) -> tuple[str, ...]:
    """Return the handles of so many inputs: `input:1` and so on, and `main`, where every connection is one more input."""
    return (*(f"{_PREFIX}{number}" for number in range(1, count + 1)), MAIN)


def by_input(context: NodeContext, items: Items, count: int) -> list[list[Pair]]:
    """Return the items of each input, at least `count` of them; what leads to one input in several ways comes in order.

    The connections to `main` take the numbers that no connection names, in their order.
    """
    found: dict[int, list[Pair]] = {}
    unnamed: list[list[Pair]] = []
    for branch in context.branches:
        pairs = [(item, branch.start + offset) for offset, item in enumerate(branch.items)]
        if branch.handle.startswith(_PREFIX):
            found.setdefault(int(branch.handle.removeprefix(_PREFIX)), []).extend(pairs)
        else:
            unnamed.append(pairs)
    if not context.branches:
        unnamed.append([(item, index) for index, item in enumerate(items)])
    number = 1
    for pairs in unnamed:
        while number in found:
            number += 1
        found[number] = pairs
    return [found.get(number, []) for number in range(1, max(count, *found) + 1)]


def two_inputs(context: NodeContext, items: Items) -> tuple[list[Pair], list[Pair]]:
    """Return the items of two inputs. Raises `NodeError` (`too_many_inputs`) where there are more."""
    inputs = by_input(context, items, 2)
    if len(inputs) > 2:
        raise NodeError(f"two inputs are wanted, there are {len(inputs)}", "too_many_inputs", {"inputs": len(inputs)})
    return inputs[0], inputs[1]
