"""All tests, in pytest processes of their own: `python -m tests.run_all`.

Those that neither kill processes nor start a whole Rayloom come first, in three lanes side by side, each with what it needs to itself;
what they print comes when they have ended. The others follow one after the other. Ends with one line alone:
`N passed, N failed, N skipped`; errors count as failed. Exit code 0 only when nothing failed.
"""

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_PROXY = "tests/chaos/test_default_proxy.py"
NOTHING_COLLECTED = 5
QUIET = "not chaos and not e2e"
OTHERS = ("tests/integration", "--ignore=tests/integration/store", "--ignore=tests/integration/api")
GROUP_LIMIT_S = 600


@dataclass(frozen=True)
class Group:
    """Tests of one pytest process."""

    name: str
    arguments: tuple[str, ...]
    needs: str = "tests"

    @property
    def present(self) -> bool:
        return (ROOT / self.needs).exists()


@dataclass
class Counts:
    """What became of tests."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, other: "Counts") -> None:
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


LANES = (
    (Group("unit, simulation", ("-m", QUIET, "tests/unit", "tests/simulation")),),
    (Group("the API", ("-m", QUIET, "tests/integration/api")),),
    (
        Group("contract, the store", ("-m", QUIET, "tests/contract", "tests/integration/store")),
        Group("actors, the cluster, examples", ("-m", QUIET, *OTHERS)),
    ),
)
"""Groups that bear company: those of a lane one after the other, the lanes side by side."""
GROUPS = (
    Group("a Ray head", ("-m", "chaos", "tests/integration/cluster"), "tests/integration/cluster"),
    Group("end to end", ("-m", "e2e", "tests/e2e"), "tests/e2e"),
    Group("chaos, HAProxy", ("-m", "chaos", f"--ignore={DEFAULT_PROXY}", "tests/chaos"), "tests/chaos"),
    Group("chaos, Ray's proxy", ("-m", "chaos", DEFAULT_PROXY), DEFAULT_PROXY),
)


def run(group: Group, folder: Path, output: IO[bytes] | None = None) -> tuple[Counts, float]:
    """Run a group; its output goes where ours goes, or into a file."""
    report = folder / f"{group.name}.xml"
    began_s = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", "--durations=5", f"--junitxml={report}", *group.arguments]
    pytest = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output)
    try:
        code = pytest.wait(timeout=GROUP_LIMIT_S)
    except subprocess.TimeoutExpired:
        # As with Ctrl-C: its fixtures end what they have started.
        pytest.send_signal(signal.SIGINT)
        try:
            pytest.wait(timeout=60)
        except subprocess.TimeoutExpired:
            pytest.kill()
            pytest.wait()
        code = -1
    return counted(report, code), time.monotonic() - began_s


def run_lane(lane: Sequence[Group], folder: Path) -> list[tuple[Group, Counts, float]]:
    """Run the groups of a lane; what each prints comes as a whole when it has ended."""
    found = []
    for group in filter(lambda group: group.present, lane):
        with (folder / f"{group.name}.txt").open("w+b") as output:
            counts, took_s = run(group, folder, output)
            output.seek(0)
            said = output.read().decode(errors="replace")
        print(f"\n=== {group.name}\n{said}", flush=True)
        found.append((group, counts, took_s))
    return found


def counted(report: Path, code: int) -> Counts:
    """Return what the report says. A process that ended badly counts as a failure, whatever it reported."""
    counts = Counts()
    if report.exists():
        for suite in ElementTree.parse(report).getroot().iter("testsuite"):
            number = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
            failed = number["failures"] + number["errors"]
            passed = number["tests"] - failed - number["skipped"]
            counts.add(Counts(passed=passed, failed=failed, skipped=number["skipped"]))
    if code not in (0, NOTHING_COLLECTED) and not counts.failed:
        counts.failed += 1
    return counts


def main() -> int:
    """Run every group, whatever became of the ones before."""
    total = Counts()
    lines = []
    with tempfile.TemporaryDirectory(prefix="rayloom-tests-") as folder:
        with ThreadPoolExecutor(len(LANES)) as lanes:
            found = [each for lane in lanes.map(lambda lane: run_lane(lane, Path(folder)), LANES) for each in lane]
        for group in filter(lambda group: group.present, GROUPS):
            print(f"\n=== {group.name}", flush=True)
            found.append((group, *run(group, Path(folder))))
    for group, counts, took_s in found:
        total.add(counts)
        lines.append(f"{took_s:6.1f} s  {group.name}: {counts}")
    print("\n=== all", *lines, "", total, sep="\n", flush=True)
    return 1 if total.failed or not total.passed else 0


if __name__ == "__main__":
    sys.exit(main())
