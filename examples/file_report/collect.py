"""Prints HTML, XML and CSV files of this machine as a JSON list: from the installed packages, and from /usr/share."""

import json
import sysconfig
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path

FORMATS = {".html": "html", ".xml": "xml", ".svg": "xml", ".xsd": "xml", ".csv": "csv"}
FILE_BYTES_MAX = 150_000
PER_FORMAT = 12
PER_FOLDER = 5
LOOKED_AT_MAX = 20_000
SHARED = ("mime/packages", "xml", "dbus-1", "doc")
PASSED_OVER = frozenset({"test", "tests", "site-packages", "dist-packages"})


def folders() -> Iterator[tuple[Path, str]]:
    """Yield where files are looked for, and what such a place is called in the report."""
    for place in dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib")):
        yield Path(place), Path(place).name
    for name in SHARED:
        yield Path("/usr/share") / name, f"share/{name}"


def candidates(folder: Path, suffix: str) -> Iterator[Path]:
    """Yield the files of a folder with this suffix, in order; links, tests and what is too large are left out."""
    files = (path for path in islice(folder.rglob(f"*{suffix}"), LOOKED_AT_MAX) if not path.is_symlink())
    for path in sorted(files):
        inside = path.relative_to(folder).parts
        if PASSED_OVER.isdisjoint(inside) and path.is_file() and 0 < path.stat().st_size <= FILE_BYTES_MAX:
            yield path


def documents(wanted: str) -> Iterator[dict[str, str]]:
    """Yield the documents of a format, a few of each folder, so that no package prevails."""
    seen: dict[tuple[str, str], int] = {}
    known: set[Path] = set()
    suffixes = [suffix for suffix, name in FORMATS.items() if name == wanted]
    for folder, name in folders():
        for path in chain.from_iterable(candidates(folder, suffix) for suffix in suffixes):
            inside = path.relative_to(folder)
            place = (name, inside.parts[0])
            if path in known or seen.get(place, 0) >= PER_FOLDER:
                continue
            try:
                text = path.read_text("utf-8")
            except (OSError, UnicodeDecodeError):
                continue
            known.add(path)
            seen[place] = seen.get(place, 0) + 1
            yield {"format": wanted, "file": f"{name}/{inside}", "text": text}


if __name__ == "__main__":
    formats = dict.fromkeys(FORMATS.values())
    print(json.dumps([each for name in formats for each in islice(documents(name), PER_FORMAT)]))
