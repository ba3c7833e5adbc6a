"""A document as it may leave the installation: without secrets, and without ids that mean something only here."""

import re
from collections.abc import Sequence
from typing import Any

FORMAT = "rayloom.workflow"
FORMAT_VERSION = 1

IDS_OF_NODES = frozenset({"credentials"})
IDS_OF_SETTINGS = frozenset({"error_workflow"})
_SECRET = re.compile(
    r"pass(word|wd|phrase)|secret|api[_-]?key|access[_-]?key|private[_-]?key|authorization|cookie|token$|bearer",
    re.IGNORECASE,
)
# Shapes that are secrets whatever they stand under: a login in an address, a header's token, keys of well-known makes.
_SHAPES = re.compile(
    r"(?<=://)[^/\s:@{}]+:[^/\s@{}]+(?=@)|\b(?<=bearer )[\w.~+/-]{8,}=*|\b(?<=basic )[\w+/]{8,}=*|\bsk-[\w-]{16,}"
    r"|\bgh[pousr]_\w{16,}|\bxox[abprs]-[\w-]{10,}|\bAKIA[0-9A-Z]{16}\b|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}"
    r"|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,20}PRIVATE KEY-----)?",
    re.IGNORECASE,
)
_REFERENCE = re.compile(r"(workflow|credential)s?(_?id)?", re.IGNORECASE)
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def portable(definition: dict[str, Any], before: Sequence[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """Return a copy to be taken elsewhere, and the places in it that were emptied, with those that were so before.

    Emptied are references to credentials and to other workflows; texts under a name that says secret (or beside one, as in
    `{"name": "Authorization", "value": "…"}`), unless they are expressions, which only name a secret; and in every text what has
    the shape of a secret.
    """
    removed = list(before)
    nodes = []
    for node in definition.get("nodes", ()):
        place = f"nodes.{node.get('id', '')}"
        nodes.append(_emptied(_without(node, IDS_OF_NODES, place, removed), place, removed))
    settings = _without(definition.get("settings", {}), IDS_OF_SETTINGS, "settings", removed)
    return {**definition, "nodes": nodes, "settings": settings}, removed


def _without(part: dict[str, Any], names: frozenset[str], place: str, removed: list[str]) -> dict[str, Any]:
    removed.extend(f"{place}.{name}" for name in part if name in names and part[name])
    return {name: value for name, value in part.items() if name not in names}


def _emptied(value: Any, place: str, removed: list[str]) -> Any:
    if isinstance(value, list):
        return [_emptied(one, f"{place}.{index}", removed) for index, one in enumerate(value)]
    if isinstance(value, str):
        kept_text, count = _SHAPES.subn("", value)
        removed.extend([place] * bool(count))
        return kept_text
    if not isinstance(value, dict):
        return value
    named = next((value[key] for key in ("name", "key", "header") if isinstance(value.get(key), str)), "")
    kept = {}
    for name, one in value.items():
        speaking = named if name == "value" else name
        if isinstance(one, str) and _is_private(speaking, one):
            kept[name] = ""
            removed.append(f"{place}.{name}")
        else:
            kept[name] = _emptied(one, f"{place}.{name}", removed)
    return kept


def _is_private(name: str, value: str) -> bool:
    if not value or "{{" in value:
        return False
    return bool(_SECRET.search(name) or (_REFERENCE.fullmatch(name) and _ID.fullmatch(value)))
