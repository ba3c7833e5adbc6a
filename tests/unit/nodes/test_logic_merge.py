import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodes.logic_merge import NODE_TYPE
from tests.unit.nodes.conftest import findings
from workflow.errors import NodeError
from workflow.spec import Branch, Config

A = [{"k": 1, "a": "x"}, {"k": 2, "a": "y"}, {"k": 2, "a": "z"}, {"a": "none"}]
B = [{"k": 2, "b": 5}, {"k": 2, "b": 6}, {"k": 3, "b": 7}, {"k": None, "b": 8}]


def drawn(outputs):
    return [(item["json"], item["paired_item"]) for item in outputs["main"]]


def short(outputs):
    """`y5` is the item made of the one with a=y and the one with b=5."""
    return " ".join(f"{item['json'].get('a', '')}{item['json'].get('b', '')}" for item in outputs["main"])


@pytest.mark.parametrize("config", [{}, {"mode": "append"}])
async def test_appends_in_the_order_given(run_node, config):
    outputs = await run_node(NODE_TYPE, config, inputs=[[{"from": "a"}], [], [{"from": "b"}]])
    assert drawn(outputs) == [({"from": "a"}, 0), ({"from": "b"}, 1)]


async def test_the_order_of_the_inputs_counts_not_that_of_the_connections(run_node):
    outputs = await run_node(
        NODE_TYPE,
        {"inputs": 3},
        inputs=[[{"n": 3}], [{"n": 1}], [{"n": 2}], [{"n": 31}]],
        handles=["input:3", "input:1", "main", "input:3"],
    )
    assert drawn(outputs) == [({"n": 1}, 1), ({"n": 2}, 2), ({"n": 3}, 0), ({"n": 31}, 3)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [({"a": 1, "n": "b"}, [0, 2])]),
        ({"clash": "prefer_first"}, [({"a": 1, "n": "a"}, [0, 2])]),
        ({"clash": "suffix"}, [({"a": 1, "n_1": "a", "n_2": "b"}, [0, 2])]),
        ({"include_unpaired": True}, [({"a": 1, "n": "b"}, [0, 2]), ({"a": 2}, [1])]),
    ],
)
async def test_by_position(run_node, options, expected):
    inputs = [[{"a": 1, "n": "a"}, {"a": 2}], [{"n": "b"}]]
    assert drawn(await run_node(NODE_TYPE, {"mode": "by_position", **options}, inputs=inputs)) == expected


JOINS = [
    ({}, "y5 y6 z5 z6"),
    ({"multiple": "first"}, "y5 z5"),
    ({"join": "left"}, "x y5 y6 z5 z6 none"),
    ({"join": "right"}, "y5 z5 y6 z6 7 8"),
    ({"join": "outer"}, "x y5 y6 z5 z6 none 7 8"),
    ({"join": "anti"}, "x none 7 8"),
    ({"join": "anti", "output_from": "input:1"}, "x none"),
    ({"join": "anti", "output_from": "input:2"}, "7 8"),
    ({"join": "inner", "output_from": "input:1"}, "y z"),
    ({"join": "inner", "output_from": "input:2"}, "5 6"),
]


@pytest.mark.parametrize(("options", "expected"), JOINS)
async def test_by_key(run_node, options, expected):
    outputs = await run_node(NODE_TYPE, {"mode": "by_key", "keys": ["k"], **options}, inputs=[A, B])
    assert short(outputs) == expected
    for item in outputs["main"]:
        assert len(item["paired_item"]) == ("a" in item["json"]) + ("b" in item["json"])
        assert item["paired_item"] == sorted(item["paired_item"])


async def test_keys_are_strict_unless_said_otherwise(run_node):
    inputs = [
        [{"k": "5", "a": "x"}, {"k": True, "a": "y"}],
        [{"k": 5.0, "b": 1}, {"k": 1, "b": 2}, {"k": "true", "b": 3}],
    ]
    config = {"mode": "by_key", "keys": ["k"]}
    assert short(await run_node(NODE_TYPE, config, inputs=inputs)) == ""
    assert short(await run_node(NODE_TYPE, {**config, "types": "loose"}, inputs=inputs)) == "x1 y3"


async def test_inner_objects(run_node):
    inputs = [[{"o": {"a": 1, "n": {"x": 1}}}], [{"o": {"b": 2, "n": {"y": 2}}}]]
    outputs = await run_node(NODE_TYPE, {"mode": "by_position", "deep": True}, inputs=inputs)
    assert drawn(outputs) == [({"o": {"a": 1, "b": 2, "n": {"x": 1, "y": 2}}}, [0, 1])]
    assert inputs[0] == [{"o": {"a": 1, "n": {"x": 1}}}]


async def test_all_combinations(run_node):
    outputs = await run_node(
        NODE_TYPE, {"mode": "all_combinations"}, inputs=[[{"a": 1}, {"a": 2}], [{"b": 1}, {"b": 2}]]
    )
    assert short(outputs) == "11 12 21 22"
    assert outputs["main"][2]["paired_item"] == [1, 2]


@pytest.mark.parametrize("config", [{"mode": "all_combinations"}, {"mode": "by_key", "keys": ["k"]}])
async def test_what_would_be_too_many_items_is_refused(run_node, config):
    many = [{"k": 1}] * 501
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, config, inputs=[many, many])
    assert caught.value.code == "too_many_items"


@pytest.mark.parametrize(("number", "expected"), [(1, [({"a": 1}, 0)]), (2, [])])
async def test_chooses_a_branch(run_node, number, expected):
    outputs = await run_node(NODE_TYPE, {"mode": "choose_branch", "input": number}, inputs=[[{"a": 1}], []])
    assert drawn(outputs) == expected


async def test_waits(run_node):
    outputs = await run_node(NODE_TYPE, {"mode": "wait"}, inputs=[[{"a": 1}, {"a": 2}], [], [{"a": 3}]])
    assert drawn(outputs) == [({}, [0, 2])]


async def test_files_of_both_go_on(run_node, context):

    file = {"data": "", "mime_type": "text/plain", "size_bytes": 0}
    items = [{"json": {}, "binary": {"a": file}}, {"json": {}, "binary": {"b": file}}]
    context.branches = [
        Branch(handle="main", source_id="s", source_handle="main", items=items[n : n + 1], start=n) for n in range(2)
    ]
    outputs = await NODE_TYPE.run(context, Config({"mode": "by_position"}), items)
    assert set(outputs["main"][0]["binary"]) == {"a", "b"}


async def test_by_key_takes_two_inputs(run_node):
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, {"mode": "by_key", "keys": ["k"]}, inputs=[[{}], [{}], [{}]])
    assert caught.value.code == "too_many_inputs"


ROWS = st.lists(st.integers(0, 4), max_size=8)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(left=ROWS, right=ROWS, how=st.sampled_from(["inner", "left", "right", "outer"]))
async def test_joins_as_sql_does(run_node, sql, left, right, how):
    first = [{"k": k, "a": n} for n, k in enumerate(left)]
    second = [{"k": k, "b": n} for n, k in enumerate(right)]
    outputs = await run_node(NODE_TYPE, {"mode": "by_key", "keys": ["k"], "join": how}, inputs=[first, second])
    ours = [(r["k"], r.get("a", -1), r.get("b", -1)) for r in (item["json"] for item in outputs["main"])]
    kind = {"outer": "full"}.get(how, how)
    columns = "coalesce(a.k, b.k), coalesce(a.n, -1), coalesce(b.n, -1)"
    expected = sql(f"select {columns} from a {kind} join b on a.k = b.k", a=pairs(left), b=pairs(right))
    assert sorted(ours) == sorted(expected)


def pairs(keys):
    return ["k", "n"], [(k, n) for n, k in enumerate(keys)]


@pytest.mark.parametrize(
    "config",
    [
        {"mode": "zip"},
        {"mode": "by_key"},
        {"mode": "by_key", "keys": []},
        {"mode": "by_key", "keys": ["a..b"]},
        {"mode": "by_key", "keys": [{"first": "a"}]},
        {"mode": "by_key", "keys": ["k"], "inputs": 3},
        {"mode": "choose_branch", "input": 3},
        {"inputs": 11},
        {"inputs": "{{ $json.n }}"},
    ],
)
def test_config_that_is_refused(config):
    assert findings(NODE_TYPE, config)


def test_handles_follow_the_config():
    assert NODE_TYPE.inputs({"inputs": 3}) == ("input:1", "input:2", "input:3", "main")
    assert NODE_TYPE.spec.inputs == NODE_TYPE.inputs({})
