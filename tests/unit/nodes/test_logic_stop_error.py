import pytest

from nodes.logic_stop_error import NODE_TYPE
from tests.unit.nodes.conftest import findings
from workflow.errors import NodeError


async def test_fails_with_what_the_config_says(run_node):
    config = {"message": "no {{ $json.a }}", "code": "gone", "fields": {"which": "{{ $json.a }}"}}
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, config, [{"a": 5}])
    assert caught.value == NodeError("no 5", "gone", {"which": 5})


@pytest.mark.parametrize("config", [{}, {"message": ""}, {"message": "m", "code": "Not A Code"}])
def test_config_that_the_schema_refuses(config):
    assert findings(NODE_TYPE, config)
