"""Prints texts to ask questions about as a JSON list: Rayloom's own pages, and the READMEs of some of the installed packages."""

import json
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

PAGES = Path(__file__).resolve().parents[2] / "docs"
GENERATED = {"nodes.md", "states.md"}
PACKAGES_MAX = 20
CHARS_MAX = 2_500


def pages() -> Iterator[dict[str, str]]:
    """Yield Rayloom's pages that people wrote."""
    for path in sorted(PAGES.glob("*.md")):
        if path.name not in GENERATED:
            yield {"name": f"rayloom/{path.name}", "text": path.read_text()}


def readmes() -> Iterator[dict[str, str]]:
    """Yield the beginnings of the READMEs of packages that have one."""
    found = {distribution.metadata["Name"]: distribution for distribution in distributions()}
    told = 0
    for name in sorted(filter(None, found), key=str.lower):
        text = str(found[name].metadata.get_payload() or found[name].metadata["Description"] or "")
        if len(text) > 500 and told < PACKAGES_MAX:
            told += 1
            yield {"name": f"{name}/README", "text": text[:CHARS_MAX]}


if __name__ == "__main__":
    print(json.dumps([*pages(), *readmes()]))
