import orjson
import pytest

from nodes.ai_extract import NODE_TYPE, schema_of
from tests.models import WordModels
from tests.unit.nodes.conftest import findings
from workflow.models import Role
from workflow.schemas import violations

FIELDS = [
    {"name": "invoice", "description": "its number", "required": True},
    {"name": "total", "type": "number"},
    {"name": "due", "type": "date"},
    {"name": "currency", "one_of": ["EUR", "USD"]},
    {"name": "parts", "type": "strings"},
]
FOUND = {"invoice": "RE-7", "total": 120.5, "due": "2027-03-01", "currency": None, "parts": ["a"]}
CONFIG = {"text": "{{ $json.mail }}", "fields": FIELDS}


async def test_the_fields_of_every_item_are_read_from_its_text_alone(run_node, context):
    context.models = WordModels(says=lambda _: orjson.dumps(FOUND).decode())

    given = await run_node(NODE_TYPE, {**CONFIG, "instructions": "In English."}, [{"mail": "one"}, {"mail": "two"}])

    assert [item["json"]["data"] for item in given["main"]] == [FOUND, FOUND]
    assert [item["paired_item"] for item in given["main"]] == [0, 1]
    asked = sorted(context.models.asked, key=lambda request: request.messages[-1].content)
    assert [request.messages[-1].content for request in asked] == ["one", "two"]
    assert asked[0].messages[0].role is Role.SYSTEM
    assert asked[0].messages[0].content.endswith("In English.")
    assert asked[0].schema == schema_of(FIELDS)


async def test_a_schema_of_ones_own(run_node, context):
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
    context.models = WordModels(says=lambda _: '{"x": 1}')

    given = await run_node(NODE_TYPE, {"text": "t", "schema": schema}, [{}])

    assert given["main"][0]["json"]["data"] == {"x": 1}


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({}, True),
        ({"total": None, "due": None, "parts": None, "currency": "EUR"}, True),
        ({"invoice": None}, False),
        ({"due": "1 March"}, False),
        ({"total": "120"}, False),
        ({"currency": "GBP"}, False),
        ({"more": 1}, False),
    ],
)
def test_what_fits_the_fields(changes, fits):
    assert (violations({**FOUND, **changes}, schema_of(FIELDS)) == []) is fits


def test_every_field_is_named_so_that_strict_providers_take_the_schema():
    schema = schema_of(FIELDS)
    assert schema["required"] == [field["name"] for field in FIELDS]
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"text": "t"}, "nothing_to_extract"),
        ({"text": "t", "fields": FIELDS, "schema": {"type": "object"}}, "nothing_to_extract"),
        ({"text": "t", "fields": [{"name": "a"}, {"name": "a"}]}, "duplicate_field"),
        ({"text": "t", "schema": {"type": "nonsense"}}, "invalid_answer_schema"),
        ({"text": "t", "fields": [{"name": "a b"}]}, "invalid_config"),
    ],
)
def test_what_is_found_before(config, code):
    assert code in [found for found, _ in findings(NODE_TYPE, config)]
