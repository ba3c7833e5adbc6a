"""The examples compile without findings, and do on this machine what they say."""

import importlib.util
import json
import math
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet
from pytest_httpserver import HTTPServer

from cluster.validating import validate_here
from tests.integration.examples.conftest import EXAMPLES, RunExample, collected, definition

NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/workflow.json"))


def script(name: str, file: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / name / file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def runner() -> ModuleType:
    return script(".", "run.py")


def test_the_runner_knows_every_example():
    assert sorted(runner().ORDER) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_compiles_without_findings(name: str):
    assert validate_here(definition(name)) == {"valid": True, "findings": []}


async def test_installed_packages(run_example: RunExample):
    ran = await run_example("installed_packages", given := collected("installed_packages"))

    assert ran.status == "completed"
    licensed = [each for each in given if each["licence"]]
    assert sum(len(group["packages"]) for group in ran.items("licences")) == len(licensed)
    assert "Required most" in ran.report


async def test_word_frequencies(run_example: RunExample):
    ran = await run_example("word_frequencies", given := collected("word_frequencies"))

    assert ran.status == "completed"
    assert {f"count{share}" for share in range(1, 5)} <= set(ran.tasks)
    licences = [re.sub(r"https?://[^ \n]*", " ", each["text"].lower()) for each in given if each["kind"] == "licence"]
    words = Counter(word for text in licences for word in re.findall("[a-z]{4,}", text))
    rows = {
        each["text"]: each["count"]
        for each in ran.items("order")
        if (each["what"], each["kind"]) == ("word", "licence")
    }
    assert rows == words
    assert f"Licences: {words.total()} words, {len(words)} different" in ran.report
    assert "times as fast as one after the other" in ran.report


async def test_batches(run_example: RunExample):
    ran = await run_example("batches", given := collected("batches"))

    assert ran.status == "completed"
    rounds = math.ceil(len(given) / 8)
    assert ran.statuses("batch") == ["completed"] * rounds
    assert ran.report.startswith(f"{len(given)} packages in {rounds} rounds")
    # Some versions are no three numbers: their batches are read again, one by one; all others are not.
    assert Counter(ran.statuses("strict"))["failed"] == Counter(ran.statuses("lenient"))["completed"] > 0
    versions = {each["name"]: each["version"] for each in given}
    assert {each["name"]: each["version"] for each in ran.items("judge")} == versions
    unmet = {
        wanted["name"]
        for each in given
        for wanted in each["requires"]
        if wanted["name"] in versions
        and not SpecifierSet(wanted["specifier"]).contains(versions[wanted["name"]], prereleases=True)
    }
    assert {each["name"] for each in ran.items("judge") if each["unmet"]} == unmet


async def test_file_report(run_example: RunExample):
    ran = await run_example("file_report", given := collected("file_report"))

    assert ran.status == "completed"
    assert {each["format"] for each in given} == {"html", "xml", "csv"}
    for each in given:
        assert f"| {each['file']} |" in ran.report
    assert ran.output["html"].startswith("<h1>Documents on this machine</h1>")
    iris = next(each for each in ran.items("tables") if each["file"].endswith("iris.csv"))
    assert (iris["rows"], iris["columns"], iris["numbers"]) == (150, 5, 750)


@pytest.fixture
def service(httpserver: HTTPServer) -> Iterator[dict[str, str]]:
    """The example's service, and in place of Rayloom's API a server that answers the same."""
    httpserver.expect_request("/health/ready").respond_with_json({"status": "ready"})
    api = {"openapi": "3.1.0", "paths": {"/a": {"get": {}, "post": {}, "parameters": []}, "/b": {"delete": {}}}}
    httpserver.expect_request("/openapi.json").respond_with_json(api)
    command = [sys.executable, EXAMPLES / "paged_service" / "service.py", "--api", httpserver.url_for("").rstrip("/")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.terminate()


def described() -> list[dict[str, Any]]:
    """Describe what is installed in a process of its own: other tests of this one may have put folders on the path."""
    program = (
        "import json, runpy, sys; from importlib.metadata import distributions; "
        "describe = runpy.run_path(sys.argv[1])['describe']; print(json.dumps([describe(d) for d in distributions()]))"
    )
    command = [sys.executable, "-P", "-c", program, EXAMPLES / "paged_service" / "service.py"]
    found: list[dict[str, Any]] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return found


async def test_paged_service(run_example: RunExample, service: dict[str, str]):
    module = script("paged_service", "service.py")
    packages = {each["name"]: each for each in described()}

    ran = await run_example("paged_service", service)

    assert ran.status == "completed"
    assert "operations  3 under 2 paths" in ran.report
    (pages,) = ran.runs["packages"]
    assert {each["name"] for each in ran.items("packages")} == set(packages)
    assert pages.attempt == 1 + math.ceil(len(packages) / module.PAGE_SIZE) // module.BUSY_EVERY > 1
    required = Counter(wanted["name"] for each in packages.values() for wanted in each["requires"])
    assert {each["name"] for each in ran.items("found")} == set(required) & set(packages)
    missing = {each["name"]: each for each in ran.items("missing")}
    assert set(missing) == set(required) - set(packages)
    assert {each["code"] for each in missing.values()} == {"http_404"}
    for each in [*ran.items("found"), *missing.values()]:
        assert each["dependants"] == required[each["name"]]


def test_the_service_ends_by_itself():
    command = [sys.executable, EXAMPLES / "paged_service" / "service.py", "--idle-s", "0.3"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    assert json.loads(done.stdout)["service"].startswith("http://127.77.0.1:")


def test_an_example_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]):
    assert runner().main(["nothing"]) == 2
    assert "nothing" in capsys.readouterr().out
