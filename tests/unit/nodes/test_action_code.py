import pytest

from nodes.action_code import NODE_TYPE
from workflow.errors import NodeError

ALL = [
    ("python", "return [{'n': item['n'] * 2} for item in items]", [{"n": 2}, {"n": 4}]),
    ("javascript", "return items.map(item => ({n: item.n * 2}))", [{"n": 2}, {"n": 4}]),
    ("python", "return {'sum': sum(i['n'] for i in items)}", [{"sum": 3}]),
    ("javascript", "return {sum: items[0].n + items[1].n}", [{"sum": 3}]),
    ("python", "return []", []),
    ("javascript", "return []", []),
]
EACH = [
    ("python", "return {'n': item['n'] * 2} if item['n'] > 1 else None"),
    ("javascript", "return item.n > 1 ? {n: item.n * 2} : null"),
]
WRONG = [
    ("python", "all_items", "x = 1", "return a list of objects, or one object, not null (is there a `return`?)", None),
    ("javascript", "all_items", "return 5", "not a number", None),
    ("python", "all_items", "return [{}, 'x']", "element 1 is a string", None),
    ("javascript", "all_items", "return [[]]", "element 0 is a list", None),
    ("python", "each_item", "return [item] if item['n'] == 2 else item", "not a list (item 1)", 1),
    ("javascript", "each_item", "return item.n === 2 ? true : item", "not a boolean (item 1)", 1),
    ("python", "all_items", "return {'when': {1, 2}}", "not JSON serializable", None),
    ("javascript", "each_item", "return {n: item.n === 2 ? 1n : 1}", "(item 1)", 1),
]
BROKEN = [
    ("python", "x = 1\nif x\n  return []", 2),
    ("python", "x = '''\n\n'''\ny = (", 4),
    ("python", "  return []", 1),
    ("python", "return [\x00]", None),
    ("javascript", "let x = 1\nlet y = (;", 2),
    ("javascript", "return {a: 1", None),
    ("javascript", "await 1", 1),
]


@pytest.mark.parametrize(("language", "code", "expected"), ALL)
async def test_all_items(run_node, language, code, expected):
    outputs = await run_node(NODE_TYPE, {"language": language, "code": code}, [{"n": 1}, {"n": 2}])
    assert outputs == {"main": [{"json": each} for each in expected]}


@pytest.mark.parametrize(("language", "code"), EACH)
async def test_each_item_keeps_where_it_came_from(run_node, language, code):
    config = {"language": language, "mode": "each_item", "code": code}
    outputs = await run_node(NODE_TYPE, config, [{"n": 1}, {"n": 2}, {"n": 3}])
    assert outputs == {"main": [{"json": {"n": 4}, "paired_item": 1}, {"json": {"n": 6}, "paired_item": 2}]}


@pytest.mark.parametrize(("language", "mode", "code", "message", "item_index"), WRONG)
async def test_result_of_the_wrong_shape(run_node, language, mode, code, message, item_index):
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, {"language": language, "mode": mode, "code": code}, [{"n": 1}, {"n": 2}])
    assert caught.value.code == "code_result_invalid"
    assert message in caught.value.message
    assert caught.value.fields.get("item_index") == item_index
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("language", "code"),
    [
        ("python", "print('seen', item['n'])\nif item['n'] == 2:\n    raise ValueError('no twos')\nreturn item"),
        ("javascript", "console.log('seen', item.n)\nif (item.n === 2)\n    throw new Error('no twos')\nreturn item"),
    ],
)
async def test_error_names_line_and_item_and_keeps_the_logs(run_node, context, language, code):
    with pytest.raises(NodeError) as caught:
        await run_node(
            NODE_TYPE, {"language": language, "mode": "each_item", "code": code}, [{"n": 1}, {"n": 2}, {"n": 3}]
        )
    assert caught.value.code == "code_error"
    assert "no twos (line 3, item 1)" in caught.value.message
    assert (caught.value.fields["line"], caught.value.fields["item_index"]) == (3, 1)
    assert "logs" not in caught.value.fields
    assert context.logs == ["seen 1\nseen 2"]


@pytest.mark.parametrize("language", ["python", "javascript"])
async def test_prints_into_the_logs(run_node, context, language):
    code = {"python": "print('a', 1)\nreturn []", "javascript": "console.log('a', 1)\nreturn []"}[language]
    await run_node(NODE_TYPE, {"language": language, "code": code}, [])
    assert context.logs == ["a 1"]


async def test_the_nodes_own_limit_holds_too(run_node, context):
    context.timeout_ms = 100
    with pytest.raises(NodeError) as caught:
        await run_node(NODE_TYPE, {"code": "while True: pass", "timeout_ms": 60_000}, [])
    assert (caught.value.code, caught.value.fields) == ("code_timeout", {"timeout_ms": 100})


@pytest.mark.parametrize(("language", "code", "line"), BROKEN)
def test_check_finds_syntax_errors_at_the_users_line(language, code, line):
    [problem] = NODE_TYPE.check({"language": language, "code": code})
    assert (problem.code, problem.field) == ("code_syntax", "code")
    if line is not None:
        assert f"line {line})" in problem.message


@pytest.mark.parametrize("code", ["}), (() => { for (;;) {} })(), (function () {", "}; for (;;) {} ; { (function(){"])
def test_check_runs_nothing_even_of_code_that_leaves_its_function(code):
    NODE_TYPE.check({"language": "javascript", "code": code})


@pytest.mark.parametrize("language", ["python", "javascript"])
def test_check_survives_any_nesting(language):
    assert NODE_TYPE.check({"language": language, "code": "return " + "(" * 20_000 + "1" + ")" * 20_000})


def test_check_leaves_missing_code_to_the_schema():
    assert NODE_TYPE.check({}) == []
