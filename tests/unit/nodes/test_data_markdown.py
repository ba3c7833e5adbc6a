import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from selectolax.lexbor import LexborHTMLParser

from nodes.data_markdown import NODE_TYPE
from tests.unit.nodes.conftest import findings
from workflow.errors import NodeError


async def converted(run_node, operation, text, **options):
    outputs = await run_node(NODE_TYPE, {"operation": operation, "keep_input": False, **options}, [{"data": text}])
    return outputs["main"][0]["json"]["data"]


TO_HTML = [
    ("a **b** ~~c~~", {}, "<p>a <strong>b</strong> <s>c</s></p>\n"),
    ("a\nb", {}, "<p>a\nb</p>\n"),
    ("a\nb", {"line_breaks": True}, "<p>a<br>\nb</p>\n"),
    ("<b onclick='x()'>a</b>", {}, "<p>&lt;b onclick='x()'&gt;a&lt;/b&gt;</p>\n"),
    ("<b onclick='x()'>a</b>", {"html": "clean"}, "<p><b>a</b></p>\n"),
    ("[a](javascript:alert(1))", {}, "<p>[a](javascript:alert(1))</p>\n"),
    ("<script>alert(1)</script>x", {"html": "clean"}, "x"),
    ("[a](https://x.y)", {}, '<p><a href="https://x.y" rel="noopener noreferrer">a</a></p>\n'),
    ("", {}, ""),
]


@pytest.mark.parametrize(("text", "options", "expected"), TO_HTML)
async def test_to_html(run_node, text, options, expected):
    assert await converted(run_node, "to_html", text, **options) == expected


async def test_tables(run_node):
    html = await converted(run_node, "to_html", "|a|b|\n|-|-:|\n|1|2|")
    cells = LexborHTMLParser(html).css("table td")
    assert [cell.text() for cell in cells] == ["1", "2"]


TO_MARKDOWN = [
    ("<h1>A</h1><p>b <i>c</i></p>", {}, "# A\n\nb *c*"),
    ("<h1>A</h1>", {"headings": "underlined"}, "A\n="),
    ("<p><a href='/x'>a</a> <b>c</b></p>", {"leave_out": ["a"]}, "a **c**"),
    ("<script>alert(1)</script><style>b</style>x", {}, "x"),
    ("<pre><code>a\n b</code></pre>", {}, "```\na\n b\n```"),
    ("<table><tr><th>a</th></tr><tr><td>1</td></tr></table>", {}, "| a |\n| --- |\n| 1 |"),
    ("a * b_c", {}, "a \\* b\\_c"),
]


@pytest.mark.parametrize(("html", "options", "expected"), TO_MARKDOWN)
async def test_to_markdown(run_node, html, options, expected):
    assert await converted(run_node, "to_markdown", html, **options) == expected


PIECES = st.sampled_from(
    [
        "<script>",
        "</p>",
        "<img src=x onerror=y>",
        "[a](",
        "javascript:x)",
        "<a href='data:text/html,x'>",
        "<svg/onload=x>",
        "`",
        "*",
        "\n",
        "<!--",
        "-->",
        "<b",
        ">",
        '"',
        "<iframe>",
        "![x](",
        "&lt;script&gt;",
        "<style>@import x</style>",
        "<form action=x><input>",
    ]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.lists(PIECES, max_size=12).map("".join), html=st.sampled_from(["escape", "clean"]))
async def test_html_is_always_safe(run_node, text, html):
    page = LexborHTMLParser(await converted(run_node, "to_html", text, html=html))
    assert page.css("script, iframe, style, svg, form, input, object, embed") == []
    for node in page.css("*"):
        for name, value in node.attributes.items():
            assert not name.startswith("on")
            assert not (value or "").strip().lower().startswith(("javascript:", "data:"))


ATTACKS = [
    "[" * 50_000,
    "*a " * 50_000,
    "> " * 50_000,
    "`a``b" * 20_000,
    "![[" * 20_000,
    "<div>" * 4_000,
    "<a " * 20_000,
]


@pytest.mark.parametrize("text", ATTACKS, ids=lambda text: text[:6])
@pytest.mark.parametrize("options", [{}, {"html": "clean"}])
async def test_attacks_end_soon(run_node, text, options):
    began_s = time.process_time()
    await converted(run_node, "to_html", text, **options)
    assert time.process_time() - began_s < 4


@pytest.mark.parametrize(
    ("operation", "text", "code"),
    [
        ("to_markdown", "<div>" * 4_000, "html_too_complex"),
        ("to_markdown", "<div>" * 100_000, "html_too_complex"),
        ("to_html", "x" * 1_000_001, "text_too_long"),
        ("to_html", None, "text_missing"),
    ],
)
async def test_errors(run_node, operation, text, code):
    with pytest.raises(NodeError) as caught:
        await converted(run_node, operation, text)
    assert caught.value.code == code


@pytest.mark.parametrize("config", [{}, {"operation": "to_pdf"}, {"operation": "to_markdown", "leave_out": ["<a>"]}])
def test_config_that_is_refused(config):
    assert findings(NODE_TYPE, config)
