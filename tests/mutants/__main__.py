"""Tries every mutant: `python -m tests.mutants [--only NAME ...] [--jobs N] [--output FILE]`.

First the sources as they are must pass the tests that are to notice the mutants. Then each mutant must make one of its tests
fail. Exit code 1 when one survives, is stale (its old text is not there exactly once) or does not work at all.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from tests.mutants.mutant import Mutant
from tests.mutants.table import MUTANTS
from tests.mutants.trying import Fate, Trial, attempt, copy_sources, run_tests

ROOT = Path(__file__).resolve().parents[2]
SAID_MAX = 90


def main() -> int:
    """Try the mutants that the command line names, or all."""
    arguments = _arguments()
    chosen = [mutant for mutant in MUTANTS if not arguments.only or mutant.name in arguments.only]
    if unknown := set(arguments.only) - {mutant.name for mutant in MUTANTS}:
        print(f"there is no mutant {', '.join(sorted(unknown))}")
        return 2
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rayloom-mutants-") as folder:
        # Tests that hand files to PostgreSQL's user walk through here.
        Path(folder).chmod(0o755)
        base = Path(folder) / "as-it-is"
        copy_sources(ROOT, base)
        control_s = _control(base, chosen)
        if control_s is None:
            return 1
        trials = _try_all(base, Path(folder), chosen, arguments.jobs)
    seconds = time.monotonic() - began_s
    killed = sum(trial.fate is Fate.KILLED for trial in trials)
    print(f"\n{killed} of {len(trials)} mutants were noticed, in {seconds:.0f} s")
    for trial in trials:
        if trial.fate is not Fate.KILLED:
            print(f"{trial.fate.value}: {trial.name}: {_why(trial.name)} {trial.said}")
    if arguments.output:
        figures = {"mutants": len(trials), "killed": killed, "seconds": seconds, "control_seconds": control_s}
        trials_with_why = [{**asdict(trial), "why": _why(trial.name)} for trial in trials]
        arguments.output.write_text(json.dumps({**figures, "trials": trials_with_why}, indent=1) + "\n")
    return 0 if killed == len(trials) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description="Break the engine, see tests notice.")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these mutants alone")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once")
    parser.add_argument("--output", type=Path, help="a file for the results as JSON")
    return parser.parse_args()


def _control(base: Path, chosen: Sequence[Mutant]) -> float | None:
    """Run the tests of all mutants on the sources as they are; how long it took, or None when they do not pass."""
    began_s = time.monotonic()
    tests = sorted({test for mutant in chosen for test in mutant.tests})
    print(f"the sources as they are, {len(tests)} tests or files of tests ... ", end="", flush=True)
    tested = run_tests(base, tests)
    if tested.code != 0 or tested.not_run:
        print(f"do not pass:\n{tested.output}")
        return None
    seconds = time.monotonic() - began_s
    print(f"{tested.passed} pass, in {seconds:.0f} s\n", flush=True)
    return seconds


def _try_all(base: Path, folder: Path, chosen: Sequence[Mutant], jobs: int) -> list[Trial]:
    width = max(len(mutant.name) for mutant in chosen)
    trials = []
    with ThreadPoolExecutor(max(1, jobs)) as threads:
        for trial in threads.map(lambda mutant: attempt(base, folder, mutant), chosen):
            test = trial.test.removeprefix("tests.")
            print(f"{trial.name:{width}}  {trial.fate.value:8} {trial.seconds:5.1f} s  {test}", flush=True)
            print(f"{'':{width}}  {trial.said[:SAID_MAX]}", flush=True)
            trials.append(trial)
    return trials


def _why(name: str) -> str:
    return next(mutant.why for mutant in MUTANTS if mutant.name == name)


if __name__ == "__main__":
    sys.exit(main())
