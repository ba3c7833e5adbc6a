from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

import nodes
from nodes import catalog, trigger_manual
from nodes.catalog import load_catalog
from workflow.errors import Bug
from workflow.spec import NodeSpec, NodeType


async def _run(_context, _config, items):
    return {"main": items}


def node_type(name):
    return NodeType(NodeSpec(type=name, title="t", category="c", description="d", config_schema={}), _run)


FOREIGN = node_type("acme.one")
SEVERAL = (node_type("acme.two"), node_type("acme.three"))
TWIN = node_type("trigger.manual")
NOTHING = object()
MIXED = [FOREIGN, 5]


@pytest.fixture
def entry_point(monkeypatch):
    """Pretend that another package declares an entry point which names something in this module."""
    monkeypatch.setitem(__import__("sys").modules, "acme_nodes", __import__("sys").modules[__name__])

    def declare(attribute):
        points = [EntryPoint("acme", f"acme_nodes:{attribute}", catalog.ENTRY_POINT_GROUP)]
        monkeypatch.setattr(catalog, "entry_points", lambda *, group: points if group == "rayloom.nodes" else [])

    return declare


def test_finds_the_types_of_this_package_by_itself():
    found = [each.spec.type for each in load_catalog()]
    assert found == sorted(found)
    assert {"trigger.manual", "data.set", "logic.if", "logic.merge", "action.code", "action.respond"} <= set(found)


def test_every_module_with_a_category_prefix_has_a_node_type():
    files = {path.stem for path in Path(nodes.__path__[0]).glob("*_*.py") if not path.stem.startswith("_")}
    assert {each.spec.type.replace(".", "_") for each in load_catalog()} >= files


def test_no_name_means_two_types():
    names = [name for each in load_catalog() for name in (each.spec.type, *each.spec.aliases)]
    assert len(names) == len(set(names))


def test_finds_types_of_other_packages(entry_point):
    entry_point("FOREIGN")
    assert load_catalog().get("acme.one") is FOREIGN
    entry_point("SEVERAL")
    assert load_catalog().get("acme.three") is SEVERAL[1]


@pytest.mark.parametrize("attribute", ["NOTHING", "MIXED", "no_such_name"])
def test_an_entry_point_that_is_no_node_type_is_a_bug(entry_point, attribute):
    entry_point(attribute)
    with pytest.raises(Bug, match="entry point acme") as caught:
        load_catalog()
    assert caught.value.code == "bad_entry_point"


def test_the_same_name_twice_is_a_bug_that_names_both_places(entry_point):
    entry_point("TWIN")
    with pytest.raises(Bug, match=r"nodes\.trigger_manual and in entry point acme") as caught:
        load_catalog()
    assert caught.value.code == "duplicate_node_type"


@pytest.mark.parametrize("each", list(load_catalog()), ids=lambda each: each.spec.type)
def test_specs_are_complete(each):
    spec = each.spec
    assert spec.title
    assert spec.description
    assert spec.type.startswith(spec.category + ".")
    Draft202012Validator.check_schema(spec.config_schema)
    assert spec.config_schema["additionalProperties"] is False
    for name, schema in spec.config_schema["properties"].items():
        assert schema.get("title"), name
        assert schema.get("description"), name
        if "default" in schema:
            Draft202012Validator(schema).validate(schema["default"])
    assert spec.trigger == (spec.inputs == ())


def test_node_types_are_what_their_modules_say():
    assert load_catalog().get("trigger.manual") is trigger_manual.NODE_TYPE
