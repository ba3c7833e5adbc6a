"""Runs the examples on a Rayloom that is up: `python examples/run.py` for all of them, or with their names.

For each it collects the input (`collect.py`), or starts the service that the example asks (`service.py`), and gives both to
`rayloom run`.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
RAYLOOM = Path(sys.executable).with_name("rayloom")
ORDER = ("installed_packages", "word_frequencies", "batches", "file_report", "paged_service", "questions")
LIMIT_S = 240


def base_url() -> str:
    """Return where the API of this host's Rayloom is. Raises `SystemExit` when it is not up."""
    asked = subprocess.run([RAYLOOM, "status", "--json"], capture_output=True, text=True, timeout=LIMIT_S, check=False)
    try:
        return str(json.loads(asked.stdout)["keeper"]["base_url"])
    except (ValueError, KeyError, TypeError):
        raise SystemExit(f"Rayloom is not up: {(asked.stderr or asked.stdout).strip()}") from None


@contextmanager
def given(example: Path, api: str) -> Iterator[str]:
    """Lend the input of an example as JSON; a service that it asks lives as long as the block."""
    service = example / "service.py"
    if not service.exists():
        yield subprocess.run(
            [sys.executable, example / "collect.py"], stdout=subprocess.PIPE, text=True, timeout=LIMIT_S, check=True
        ).stdout
        return
    with subprocess.Popen([sys.executable, service, "--api", api], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline() if process.stdout else ""
        finally:
            process.terminate()


def run(name: str, api: str) -> bool:
    """Run an example and show its report; whether it completed."""
    print(f"\n=== {name}", flush=True)
    with given(HERE / name, api) as document, tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(document)
        file.flush()
        command = [RAYLOOM, "run", HERE / name / "workflow.json", "--input", f"@{file.name}", "--watch"]
        done = subprocess.run(command, timeout=LIMIT_S, check=False)
    if done.returncode and (HERE / name / "service.py").exists():
        print(
            "Was this Rayloom started with `make run`? Only then may workflows ask a service of this machine: make stop"
        )
    return done.returncode == 0


def main(names: list[str]) -> int:
    """Run the examples with these names, or all."""
    unknown = set(names) - set(ORDER)
    if unknown:
        print(f"There is no example {', '.join(sorted(unknown))}; there are {', '.join(ORDER)}.")
        return 2
    api = base_url()
    failed = [name for name in names or ORDER if not run(name, api)]
    if failed:
        print(f"\nThese did not complete: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
