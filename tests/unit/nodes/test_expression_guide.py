"""Every example of the guide is run, and every function of the library is in the guide."""

import json
import re
from pathlib import Path

from tests.unit.nodes.scripting import frame, javascript
from workflow.config import NodeView

GUIDE = (Path(__file__).parents[3] / "docs" / "expressions.md").read_text()
ITEM = {
    "name": "Ada Lovelace",
    "price": 12.5,
    "qty": 3,
    "tags": ["b", "a", "b"],
    "people": [{"name": "Bo", "age": 30}, {"name": "Al", "age": 25}],
    "when": "2024-05-06T07:08:09Z",
}
ROW = re.compile(r"^\| .* \| `(.+)` \| `(.+)` \|$", re.MULTILINE)
PRELUDE = Path(__file__).parents[3] / "nodes" / "sandbox" / "prelude"


async def test_the_examples_are_true(sandbox):
    examples = ROW.findall(GUIDE)
    assert len(examples) >= 60
    seen = frame(
        ITEM,
        nodes={"Fetch": NodeView(outputs={"main": [{"json": {"status": 200}}]})},
        timezone="Europe/Berlin",
        variables={"currency": "EUR"},
    )
    found = await javascript(sandbox, [source for source, _ in examples], seen)
    wrong = [
        (source, value, gives)
        for (source, gives), [value] in zip(examples, found, strict=True)
        if json.loads(gives) != value
    ]
    assert wrong == []


async def test_every_function_is_in_the_guide(sandbox):
    names = re.findall(
        r"^  ([a-zA-Z]\w*)(?:: |,$)", (PRELUDE / "functions.js").read_text().split("library, {")[1], re.MULTILINE
    )
    names += re.findall(
        r"^library\.([$\w]+) =", "".join(path.read_text() for path in PRELUDE.glob("*.js")), re.MULTILINE
    )
    assert len(names) > 50
    assert [name for name in names if not re.search(rf"(?<!\w){re.escape(name)}\b", GUIDE)] == []
    assert await javascript(sandbox, [f"typeof {name}" for name in names], frame({})) == [["function"]] * len(names)


async def test_every_row_of_a_table_has_an_example():
    rows = [
        line for line in GUIDE.splitlines() if line.startswith("| ") and not re.search(r"\| (example|gives) \|", line)
    ]
    assert [line for line in rows if not ROW.match(line)] == []
