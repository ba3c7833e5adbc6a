"""Tries mutants: a throw-away copy of the sources for each, one place changed, its tests run there."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from xml.etree import ElementTree

from tests.mutants.mutant import Mutant

COPIED = ("workflow", "nodes", "store", "actors", "cluster", "serve_app", "configs", "docs", "tests", "pyproject.toml")
TEST_LIMIT_S = 45
MUTANT_LIMIT_S = 240
SLIPS = (
    *("SyntaxError", "NameError", "UnboundLocalError", "TypeError", "AttributeError", "ImportError", "ModuleNotFound"),
    *(
        f"psycopg.errors.{name}"
        for name in ("Syntax", "Undefined", "Ambiguous", "Datatype", "Indeterminate", "Duplicate")
    ),
    "psycopg.ProgrammingError",
)
"""A test that fails with one of these says that the mutant does not work at all, not that it was noticed."""


class Fate(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    SURVIVED = "SURVIVED"
    STALE = "STALE"
    BROKEN = "BROKEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """How a mutant was tried: `test` is the one that failed, `said` the first line of what it said."""

    name: str
    fate: Fate
    test: str = ""
    said: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """What a run of pytest gave. `failed` is the first test that failed, not one whose fixtures did."""

    code: int
    passed: int
    not_run: int
    failed: str
    said: str
    output: str


def copy_sources(root: Path, target: Path) -> None:
    """Copy what tests need, with times, so that compiled files stay good."""
    target.mkdir(parents=True)
    for name in COPIED:
        if (root / name).is_dir():
            shutil.copytree(root / name, target / name)
        else:
            shutil.copy2(root / name, target / name)


def attempt(base: Path, folder: Path, mutant: Mutant) -> Trial:
    """Apply the mutant to a copy of `base` made in `folder` and run its tests there."""
    if mutant.places(base) != 1:
        return Trial(name=mutant.name, fate=Fate.STALE, said=f"its old text is not once in {mutant.file}")
    began_s = time.monotonic()
    copy = folder / mutant.name
    copy_sources(base, copy)
    try:
        mutant.apply(copy)
        tested = run_tests(copy, mutant.tests)
    finally:
        shutil.rmtree(copy, ignore_errors=True)
    seconds = time.monotonic() - began_s
    return Trial(name=mutant.name, fate=fate_of(tested), test=tested.failed, said=tested.said, seconds=seconds)


def fate_of(tested: Tested) -> Fate:
    """Judge: killed is only what made a test fail by what it asks, or by not ending."""
    if tested.code == 0:
        return Fate.SURVIVED
    if not tested.failed or tested.said.startswith(SLIPS):
        return Fate.BROKEN
    return Fate.KILLED


def run_tests(copy: Path, tests: Sequence[str]) -> Tested:
    """Run pytest in a copy of the sources until the first failure."""
    report, output = copy / "report.xml", copy / "output.txt"
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", f"--timeout={TEST_LIMIT_S}"]
    with output.open("wb") as out:
        pytest = subprocess.Popen(
            [*command, f"--junitxml={report}", *tests],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy)},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            code = pytest.wait(timeout=MUTANT_LIMIT_S)
        except subprocess.TimeoutExpired:
            code = _stopped(pytest)
    passed, not_run, failed, said = _read(report)
    text = output.read_text(errors="replace")
    return Tested(code=code, passed=passed, not_run=not_run, failed=failed, said=said, output=text)


def _stopped(pytest: "subprocess.Popen[bytes]") -> int:
    # As with Ctrl-C: its fixtures end what they have started.
    pytest.send_signal(signal.SIGINT)
    try:
        return pytest.wait(timeout=30)
    except subprocess.TimeoutExpired:
        pytest.kill()
        return pytest.wait()


def _read(report: Path) -> tuple[int, int, str, str]:
    if not report.exists():
        return 0, 0, "", "pytest reported nothing"
    passed = not_run = 0
    failed, said = "", ""
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        where = f"{case.get('classname', '')}::{case.get('name', '')}"
        failure, other = case.find("failure"), case.find("error")
        if failure is not None:
            failed, said = failed or where, said or failure.get("message", "").partition("\n")[0]
        elif other is not None:
            said = said or f"{where}: {other.get('message', '')}".partition("\n")[0]
        elif case.find("skipped") is not None:
            not_run += 1
        else:
            passed += 1
    return passed, not_run, failed, said
