import time

import pytest

from nodes.data_html_extract import NODE_TYPE
from tests.unit.nodes.conftest import findings
from workflow.errors import NodeError

PAGE = """<!DOCTYPE html><html><body><h1> A  <b>big</b>
title </h1><p class=x data-n=1>one<script>evil()</script> <i>in</i></p><p class="x y">two</p><p>&amp;&nbsp;&#228;<br>z
<img src=a.png hidden></body>"""

CASES = [
    ({"selector": "h1"}, "A big title"),
    ({"selector": "h1", "trim": False}, " A  big\ntitle "),
    ({"selector": "p.x", "list": True}, ["one in", "two"]),
    ({"selector": "p.x", "skip": "i"}, "one"),
    ({"selector": "p:nth-of-type(3)"}, "& ä z"),
    ({"selector": "p.x.y", "take": "html"}, '<p class="x y">two</p>'),
    ({"selector": "h1 > b", "take": "inner_html"}, "big"),
    ({"selector": "p", "take": "attribute", "attribute": "data-n", "list": True}, ["1", None, None]),
    ({"selector": "img", "take": "attribute", "attribute": "src"}, "a.png"),
    ({"selector": "table"}, None),
    ({"selector": "table", "list": True}, []),
    (
        {"selector": "p:has(i), h1", "list": True, "take": "object", "values": [{"into": "i", "selector": "i"}]},
        [{"i": None}, {"i": "in"}],
    ),
]


async def extracted(run_node, page, value):
    outputs = await run_node(NODE_TYPE, {"values": [{"into": "o.v", **value}], "keep_input": False}, [{"data": page}])
    return outputs["main"][0]["json"]["o"]["v"]


@pytest.mark.parametrize(("value", "expected"), CASES)
async def test_takes(run_node, value, expected):
    assert await extracted(run_node, PAGE, value) == expected


@pytest.mark.parametrize("page", ["", "text", "<", "<p", "</p>", "\x01", "<p>" * 1000])
async def test_pages_that_are_hardly_any(run_node, page):
    assert await extracted(run_node, page, {"selector": "h1"}) is None


ATTACKS = [
    "<div>" * 60_000,
    "<p>" * 70_000,
    "<a " + " ".join(f"x{n}=1" for n in range(20_000)) + ">",
    "<a " + "".join(f'x{n}="1"' for n in range(20_000)),
    "<b><i>" * 4_000,
    "x" * 10_000_001,
]


@pytest.mark.parametrize("page", ATTACKS, ids=lambda page: page[:8])
async def test_attacks_are_refused_soon(run_node, page):
    began_s = time.process_time()
    with pytest.raises(NodeError) as caught:
        await extracted(run_node, page, {"selector": "div div p"})
    assert caught.value.code in {"html_too_complex", "text_too_long"}
    assert time.process_time() - began_s < 2


ALLOWED = [
    "<div>" * 4_900,
    "<a " + " x=1" * 4_000 + ">",
    "<a href='data:" + "x" * 1_000_000 + "'>",
    "<p>a<br>" * 25_000,
    "<" * 1_000_000,
]


@pytest.mark.parametrize("page", ALLOWED, ids=lambda page: page[:8])
async def test_what_is_allowed_is_done_soon(run_node, page):
    began_s = time.process_time()
    await extracted(run_node, page, {"selector": "div div p, p:has(b), div:has(b)"})
    assert time.process_time() - began_s < 3


async def test_other_values_still_see_what_one_skips(run_node):
    values = [{"into": "a", "selector": "p", "skip": "i"}, {"into": "b", "selector": "i"}]
    outputs = await run_node(NODE_TYPE, {"values": values, "keep_input": False}, [{"data": PAGE}])
    assert outputs["main"][0]["json"] == {"a": "one", "b": "in"}


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ([{"into": "a", "selector": "p["}], "selector_invalid"),
        ([{"into": "a", "selector": "p", "skip": ">>"}], "selector_invalid"),
        ([{"into": "a..b", "selector": "p"}], "path_empty"),
        (
            [{"into": "a", "selector": "p", "take": "object", "values": [{"into": "a", "selector": ":nope"}]}],
            "selector_invalid",
        ),
        ([{"into": "a", "selector": "p", "take": "attribute"}], "missing_config"),
        ([{"into": "a", "selector": "p", "take": "object"}], "missing_config"),
        ([], "invalid_config"),
    ],
)
def test_config_that_is_refused(values, code):
    assert [found for found, _ in findings(NODE_TYPE, {"values": values})] == [code]
