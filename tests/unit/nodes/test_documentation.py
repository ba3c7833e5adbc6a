"""`docs/nodes.md` is what the specs say, and says something about everything."""

from pathlib import Path

from nodes.catalog import load_own
from nodes.documentation import page


def test_the_page_is_fresh():
    assert Path("docs/nodes.md").read_text() == page(), "run `make docs`"


def test_every_type_has_a_section_with_its_fields_and_a_worked_example():
    text = page()
    for node_type in load_own():
        spec = node_type.spec
        section = text.split(f"\n## {spec.type}\n")[1].split("\n## ")[0]
        assert spec.description in section
        for name in spec.config_schema.get("properties", {}):
            assert f"| `{name}` |" in section
        assert spec.examples, f"{spec.type} has no example"
        assert section.count("\nExample: ") == len(spec.examples)
