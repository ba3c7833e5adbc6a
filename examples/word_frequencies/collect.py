"""Prints texts of the installed packages as a JSON list: READMEs, licences and Python modules, dealt into four shares.

The engine's default limit of an execution's input is 4 MiB, so files are taken, the smallest first, until 3 MB are full.
"""

import json
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

SHARES = 4
TOTAL_BYTES_MAX = 3_000_000
KIND_BYTES_MAX = TOTAL_BYTES_MAX // 3
FILE_BYTES_MAX = 60_000


def kind_of(name: str) -> str:
    """Return what kind of text a file is, by its name; nothing for other files."""
    upper = name.upper()
    if upper.startswith(("LICENSE", "LICENCE", "COPYING", "NOTICE")) and not upper.endswith(".PY"):
        return "licence"
    return "module" if upper.endswith(".PY") else ""


def texts(distribution: Distribution) -> Iterator[dict[str, str]]:
    """Yield a distribution's texts: the README that its metadata holds, and its files."""
    package = distribution.metadata["Name"]
    readme = distribution.metadata.get_payload()
    if isinstance(readme, str) and readme.strip():
        yield {"kind": "readme", "package": package, "text": readme[:FILE_BYTES_MAX]}
    for file in distribution.files or ():
        kind = kind_of(file.name)
        if kind and 500 < (file.size or 0) <= FILE_BYTES_MAX:
            try:
                text = Path(str(file.locate())).read_text("utf-8", "replace")
            except OSError:
                continue  # listed, but removed since
            yield {"kind": kind, "package": package, "text": text}


def chosen() -> Iterator[dict[str, str]]:
    """Yield as many texts of every kind as fit, at most a few of one kind and package, so that no package prevails."""
    left = dict.fromkeys(("licence", "readme", "module"), KIND_BYTES_MAX)
    found = {d.metadata["Name"].lower(): d for d in distributions() if d.metadata["Name"]}
    for _, distribution in sorted(found.items()):
        count = dict.fromkeys(left, 0)
        for text in texts(distribution):
            kind, size = text["kind"], len(json.dumps(text["text"]))
            if size <= left[kind] and count[kind] < 4:
                left[kind] -= size
                count[kind] += 1
                yield text


def dealt(found: list[dict[str, str]]) -> list[dict[str, object]]:
    """Deal the texts, the longest first, each to the share that is the shortest so far."""
    lengths = [0] * SHARES
    result: list[dict[str, object]] = []
    for text in sorted(found, key=lambda each: len(each["text"]), reverse=True):
        share = lengths.index(min(lengths))
        lengths[share] += len(text["text"])
        result.append({"share": share, **text})
    return result


if __name__ == "__main__":
    print(json.dumps(dealt(list(chosen()))))
