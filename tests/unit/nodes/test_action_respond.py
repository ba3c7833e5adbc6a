import pytest

from nodes.action_respond import NODE_TYPE
from tests.unit.nodes.conftest import findings

CASES = [
    ({}, [{"a": 1}, {"a": 2}], 200, {"a": 1}),
    ({"respond_with": "first_item"}, [], 200, None),
    ({"respond_with": "all_items", "status_code": 201}, [{"a": 1}, {"a": 2}], 201, [{"a": 1}, {"a": 2}]),
    ({"respond_with": "all_items"}, [], 200, []),
    ({"respond_with": "json", "body": {"n": "{{ $json.a }}"}}, [{"a": 1}, {"a": 2}], 200, {"n": 1}),
    ({"respond_with": "json", "body": None, "status_code": 204}, [{"a": 1}], 204, None),
    ({"respond_with": "json", "body": "{{ $json.a }}"}, [], 200, None),
]


@pytest.mark.parametrize(("config", "objects", "status_code", "body"), CASES)
async def test_answers(run_node, config, objects, status_code, body):
    outputs = await run_node(NODE_TYPE, config, objects)
    assert outputs == {"main": [{"json": {"status_code": status_code, "body": body}}]}


@pytest.mark.parametrize("config", [{"respond_with": "json"}, {"status_code": 99}, {"status_code": "200"}])
def test_config_that_the_schema_refuses(config):
    assert findings(NODE_TYPE, config)


def test_declares_that_it_responds_and_its_body_is_checked():
    assert NODE_TYPE.spec.responds
    found = findings(NODE_TYPE, {"respond_with": "json", "body": ["{{ x"]})
    assert found == [("expression_unclosed", "body[0]")]
