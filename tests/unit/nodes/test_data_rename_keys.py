import copy

import pytest

from nodes.data_rename_keys import NODE_TYPE, words_of
from tests.unit.nodes.conftest import findings
from workflow.errors import NodeError

CASES = [
    ({"a": "b"}, {"a": 1}, {"b": 1}),
    ({"a": "b", "b": "a"}, {"a": 1, "b": 2}, {"b": 1, "a": 2}),
    ({"a": "b"}, {"a": 1, "b": 2}, {"b": 1}),
    ({"o.x": "o.y"}, {"o": {"x": 1, "z": 2}}, {"o": {"y": 1, "z": 2}}),
    ({"o.x": "x"}, {"o": {"x": 1}}, {"o": {}, "x": 1}),
    ({"gone": "b"}, {"a": 1, "b": 2}, {"a": 1, "b": 2}),
    ({"a": "a"}, {"a": None}, {"a": None}),
    ({"a": "a.b"}, {"a": 1}, {"a": {"b": 1}}),
]


@pytest.mark.parametrize(("names", "before", "after"), CASES)
async def test_by_name(run_node, names, before, after):
    kept = copy.deepcopy(before)
    assert await run_node(NODE_TYPE, {"names": names}, [before]) == {"main": [{"json": after, "paired_item": 0}]}
    assert before == kept


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("userID", "user ID"),
        ("HTTPServer2Go", "HTTP Server2 Go"),
        ("first_name", "first name"),
        ("  A-b c ", "A b c"),
        ("Größe", "Größe"),
        ("", ""),
    ],
)
def test_words(name, words):
    assert words_of(name) == words.split()


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("lower", "user id"),
        ("upper", "USER ID"),
        ("camel", "userId"),
        ("pascal", "UserId"),
        ("snake", "user_id"),
        ("kebab", "user-id"),
        ("keep", "User ID"),
    ],
)
async def test_by_rule(run_node, case, expected):
    outputs = await run_node(NODE_TYPE, {"case": case, "suffix": "!"}, [{"User ID": {"In Side": [{"A B": 1}]}}])
    assert outputs["main"][0]["json"] == {expected + "!": {"In Side": [{"A B": 1}]}}


async def test_inside(run_node):
    outputs = await run_node(NODE_TYPE, {"case": "snake", "deep": True}, [{"aB": [{"cD": {"eF": 1}}, 2]}])
    assert outputs["main"][0]["json"] == {"a_b": [{"c_d": {"e_f": 1}}, 2]}


async def test_two_that_would_be_the_same(run_node, context):
    outputs = await run_node(NODE_TYPE, {"case": "lower"}, [{"A": 1, "a": 2}, {"A": 3}], keep_going=True)
    assert outputs["main"] == [{"json": {"a": 3}, "paired_item": 1}]
    assert context.failed[0].code == "names_clash"
    with pytest.raises(NodeError):
        await run_node(NODE_TYPE, {"case": "lower"}, [{"A": 1, "a": 2}])


@pytest.mark.parametrize("config", [{"names": {"a": ""}}, {"names": {"a": "c", "b": "c"}}, {"case": "title"}])
def test_config_that_is_refused(config):
    assert findings(NODE_TYPE, config)
