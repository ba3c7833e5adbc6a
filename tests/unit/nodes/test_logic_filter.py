from nodes.lineage import carried
from nodes.logic_filter import NODE_TYPE


async def test_keeps_and_discards(run_node):
    config = {"conditions": [{"left": "{{ $json.n }}", "operator": "greater_than", "right": 1}]}
    outputs = await run_node(NODE_TYPE, config, [{"n": 1}, {"n": 2}, {"n": 3}])
    assert outputs == {
        "main": [{"json": {"n": 2}, "paired_item": 1}, {"json": {"n": 3}, "paired_item": 2}],
        "discarded": [{"json": {"n": 1}, "paired_item": 0}],
    }


def test_what_goes_on_keeps_its_files():
    file = {"data": "", "mime_type": "text/plain", "size_bytes": 0}
    assert carried({"json": {}, "binary": {"f": file}}, 3)["binary"] == {"f": file}
