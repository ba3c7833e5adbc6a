"""Every example on a whole Rayloom of its own, started with what the Makefile lets workflows reach."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.instance import RunningInstance

ROOT = Path(__file__).resolve().parents[2]
ALLOWED = re.compile(r"^run: export RAYLOOM_OUTBOUND__ALLOW \?= (.+)$", re.MULTILINE)

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(500)]


@pytest.fixture(scope="module")
def instance() -> Iterator[RunningInstance]:
    found = ALLOWED.search((ROOT / "Makefile").read_text())
    assert found is not None
    made = RunningInstance(POOL__SIZE=2, OUTBOUND__ALLOW=found[1])
    try:
        made.up()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def said(instance: RunningInstance) -> str:
    return instance.script(ROOT / "examples" / "run.py", limit_s=240)


def report(said: str, name: str) -> str:
    return said.partition(f"=== {name}\n")[2].partition("\n=== ")[0]


def test_all_of_them_complete(said: str):
    assert len(re.findall(r"^execution \S+ completed in ", said, re.MULTILINE)) == said.count("\n=== ") >= 5


def test_the_shares_are_counted_in_ray_tasks(said: str):
    counted = report(said, "word_frequencies")
    assert len(re.findall(r"Count share \d .* task \d+", counted)) == 4
    assert re.search(r"[\d.]+ s of work in [\d.]+ s: [\d.]+ times as fast", counted)


def test_a_round_is_caught_and_the_loop_goes_on(said: str):
    assert re.search(r"\d+ completed, \d+ failed \(handled\)", report(said, "batches"))


def test_the_service_and_the_own_api_are_asked(said: str):
    paged = report(said, "paged_service")
    assert re.search(r"ready +ready\n +operations +\d+ under \d+ paths", paged)
    assert re.search(r"\d+ of \d+ items failed", paged)
    assert "http_404" in paged
