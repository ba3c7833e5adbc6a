"""What an expression uses, told from its tokens: which nodes, which fields of `$json`, whether it needs all items.

Code is never made from strings at run time (the engine refuses it) and names cannot be written with escapes, so a name
that is not among the tokens is not used.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from workflow.expression.paths import access, node_name, string_value
from workflow.expression.tokens import Kind, Token

_ZONE = re.compile(r"[A-Z][A-Za-z_]+(?:/[A-Z][A-Za-z0-9_+-]+)+")


@dataclass(frozen=True, slots=True)
class Uses:
    """What an expression uses. `fields` are the fields of `$json` that it needs, None for all of it."""

    nodes: frozenset[str]
    dynamic_at: int | None
    """Where it refers to a node by a name that is not written out (a position in the whole string)."""
    fields: frozenset[str] | None
    binary: bool
    items: bool
    zones: frozenset[str]
    """Time zones that are written out."""


def uses_of(tokens: tuple[Token, ...]) -> Uses:
    """Tell what an expression uses. It errs on the side of more."""
    nodes: set[str] = set()
    dynamic_at: int | None = None
    texts = {token.text for token in tokens}
    for position in _uses(tokens, "$node", "$"):
        named = node_name(tokens, position)
        if named is not None:
            nodes.add(named[0])
        elif dynamic_at is None:
            dynamic_at = tokens[position].start
    inputs = list(_uses(tokens, "$input"))
    return Uses(
        nodes=frozenset(nodes),
        dynamic_at=dynamic_at,
        fields=None if inputs else _json_fields(tokens),
        binary="$binary" in texts or bool(inputs),
        items="$items" in texts or any(not _is_item(tokens, position) for position in inputs),
        zones=frozenset(
            value
            for token in tokens
            if token.kind is Kind.STRING and (value := string_value(token)) and _ZONE.fullmatch(value)
        ),
    )


def _uses(tokens: tuple[Token, ...], *names: str) -> Iterator[int]:
    """Find where a name stands for itself and not for a property of something else."""
    for position, token in enumerate(tokens):
        behind_dot = position > 0 and tokens[position - 1].text in (".", "?.")
        if token.kind is Kind.NAME and token.text in names and not behind_dot:
            yield position


def _is_item(tokens: tuple[Token, ...], position: int) -> bool:
    return [token.text for token in tokens[position + 1 : position + 3]] == [".", "item"]


def _json_fields(tokens: tuple[Token, ...]) -> frozenset[str] | None:
    fields = set()
    for position in _uses(tokens, "$json"):
        step = access(tokens, position + 1)
        if step is None or step[0] == "__proto__" or _is_called(tokens, step[2]):
            return None
        fields.add(str(step[0]))
    return frozenset(fields)


def _is_called(tokens: tuple[Token, ...], position: int) -> bool:
    """Whether what ends here is called, with the object that it came from as `this`; brackets around it do not hinder."""
    while position < len(tokens) and tokens[position].text == ")":
        position += 1
    texts = [token.text for token in tokens[position : position + 2]]
    if not texts:
        return False
    return texts[0] == "(" or texts == ["?.", "("] or tokens[position].kind is Kind.TEMPLATE
