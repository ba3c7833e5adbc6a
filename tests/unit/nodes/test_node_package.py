"""A second package, installed for real, adds node types through its entry point; its examples hold."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path("examples/node_package")
ASK = """
import json, sys
sys.path.insert(0, ".")
from nodes.catalog import load_catalog
from workflow.compile import Compiler
from workflow.document import parse_document
catalog = load_catalog()
document = {"name": "w", "nodes": [{"id": "a", "type": "example.lasting", "config": {"duration_ms": -1}}]}
found = Compiler(catalog, nodes_max=10).validate(parse_document(document))
print(json.dumps({"types": [t.spec.type for t in catalog], "findings": [[f.code, f.field] for f in found]}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package beside us, into a folder of its own."""
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(target), str(PACKAGE)], check=True, timeout=100, capture_output=True)
    return target


def test_its_types_are_in_the_catalogue_and_compile_checks_their_config(installed: Path):
    asked = subprocess.run(
        [sys.executable, "-c", ASK],
        env={**os.environ, "PYTHONPATH": str(installed)},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    answer = json.loads(asked.stdout)
    assert {"example.distance", "example.lasting", "trigger.manual"} <= set(answer["types"])
    assert answer["findings"][0] == ["invalid_config", "config.duration_ms"]


async def test_its_examples_give_what_they_say(installed: Path, run_node, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(installed))
    import rayloom_example_nodes

    for node_type in rayloom_example_nodes.NODE_TYPES:
        for example in node_type.spec.examples:
            outputs = await run_node(node_type, example.config, list(example.items))
            assert {handle: [i["json"] for i in items] for handle, items in outputs.items()} == example.outputs
