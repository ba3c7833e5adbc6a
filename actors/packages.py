"""Proof that the packages found under our generic names are ours.

`store`, `cluster`, `actors` and `configs` are also names of distributions on PyPI: installed beside us they overwrite
files without a word, and a folder of that name in the working directory shadows the installed one, on Ray's workers
even under `python -P`. Nothing but the standard library and our errors, so that it can run first thing in any
process.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import packages_distributions
from pathlib import Path

from workflow.errors import Conflict

NAMES = ("workflow", "nodes", "store", "actors", "cluster", "serve_app", "configs")
DISTRIBUTION = "rayloom"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is wrong with one of our names. `code` is `clash`, `missing` or `shadowed`."""

    code: str
    name: str
    message: str


def verify_packages(
    names: Iterable[str] = NAMES,
    *,
    path: list[str] | None = None,
    owners: Mapping[str, list[str]] | None = None,
    loaded: Callable[[str], str | None] | None = None,
) -> list[Finding]:
    """Return what is wrong: an empty list when every name is ours. The arguments replace the interpreter's own state
    in tests.

    No other distribution may claim a name, none may be missing or without `__init__.py`, all must lie in one folder,
    and a package that is imported already must come from there.
    """
    claimed = packages_distributions() if owners is None else owners
    seen = _file_of if loaded is None else loaded
    findings: list[Finding] = []
    homes: dict[str, Path] = {}
    for name in names:
        findings.extend(
            Finding(code="clash", name=name, message=f"the distribution {stranger} also installs a package {name}")
            for stranger in sorted({one for one in claimed.get(name, ()) if one.lower() != DISTRIBUTION})
        )
        spec = PathFinder.find_spec(name, path) or _from_hooks(name, path)
        if spec is None or spec.origin is None:
            findings.append(
                Finding(code="missing", name=name, message=f"the package {name} is missing or has no __init__.py")
            )
            continue
        homes[name] = Path(spec.origin).resolve().parent.parent
        imported = seen(name)
        if imported is not None and Path(imported).resolve() != Path(spec.origin).resolve():
            findings.append(Finding(code="shadowed", name=name, message=f"{name} was imported from {imported}"))
    return [*findings, *_apart(homes)]


def require_own_packages() -> None:
    """Raise `Conflict` when a package found under one of our names is not ours."""
    if findings := verify_packages():
        raise Conflict("; ".join(finding.message for finding in findings), "foreign_packages")


def _apart(homes: Mapping[str, Path]) -> list[Finding]:
    places = list(homes.values())
    usual = max(places, key=places.count, default=None)
    return [
        Finding(code="shadowed", name=name, message=f"{name} is found in {place}, the others in {usual}")
        for name, place in homes.items()
        if place != usual
    ]


def _from_hooks(name: str, path: list[str] | None) -> ModuleSpec | None:
    # An editable install may resolve names by a finder of its own instead of by a folder on the path.
    if path is not None:
        return None
    for finder in sys.meta_path:
        if finder is not PathFinder and (spec := finder.find_spec(name, None)) is not None:
            return spec
    return None


def _file_of(name: str) -> str | None:
    module = sys.modules.get(name)
    return getattr(module, "__file__", None)
