"""The storm's own node type is found where it is installed, as that of any other package would be, and nowhere else."""

import subprocess
import sys
from pathlib import Path

from nodes.catalog import load_catalog
from tests.storm.once import ONCE, catalog, installed
from workflow.spec import Effect

LOOK = f"from nodes.catalog import load_catalog; print(load_catalog().get({ONCE!r}).spec.effect)"


def said(*command: str | Path) -> str:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_environment_of_a_storm_has_its_node_type_and_ours_has_not(tmp_path: Path) -> None:
    command = installed(tmp_path / "environment")

    assert said(command.with_name("python"), "-P", "-c", LOOK) == Effect.AT_MOST_ONCE.value
    assert "up" in said(command, "--help")
    assert load_catalog().get(ONCE) is None
    assert catalog().get(ONCE) is not None
    assert said(command.with_name("python"), "-c", "import sys; print(sys.prefix)") != sys.prefix
