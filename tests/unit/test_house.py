"""House rules that no linter knows: sizes, names, folders."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("workflow", "nodes", "store", "actors", "cluster", "serve_app", "configs")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
NAMES_REFUSED = {"utils", "helpers", "common", "manager", "base"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_of_a_size_that_a_person_reads(path: Path):
    text = path.read_text()
    functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    too_long = [f.name for f in functions if (f.end_lineno or f.lineno) - f.lineno >= FUNCTION_LINES_MAX]

    assert len(text.splitlines()) <= FILE_LINES_MAX
    assert too_long == []
    assert path.stem not in NAMES_REFUSED


def test_every_package_says_what_it_means():
    for package in PACKAGES:
        assert ast.get_docstring(ast.parse((ROOT / package / "__init__.py").read_text())), package


def test_statuses_are_written_in_one_place():
    """SQL that sets an execution's status outside the store's statements would be a way around the fence."""
    writing = [p for p in SOURCES if "UPDATE executions" in p.read_text() and p.parent.name != "store"]

    assert writing == []
