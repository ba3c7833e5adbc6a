"""Templates in their worker: what they see, what is wrong with them, and that bombs end with their worker."""

import pytest

from nodes.sandbox.templates import TEXT_CHARS_MAX, template_error
from workflow.errors import NodeError
from workflow.spec import CodeLimits

LIMITS = CodeLimits(timeout_ms=5_000, memory_bytes=64 * 2**20)
DATA = {"json": {"name": "Ada", "lines": [{"n": 1}, {"n": 2}], "nothing": None}, "tone": "kind"}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("Dear {{ json.name }}, be {{ tone }}.", "Dear Ada, be kind."),
        ("{% for line in json.lines %}{{ loop.index }}={{ line.n }};{% endfor %}", "1=1;2=2;"),
        ("{% if json.absent %}x{% else %}none{% endif %}", "none"),
        ("{{ json.absent | default('there') }} {{ json.name | upper }}", "there ADA"),
        ("<b>{{ json.name }}</b> & 'so'", "<b>Ada</b> & 'so'"),
        ("{{ json.lines | tojson }}", '[{"n": 1}, {"n": 2}]'),
        ("", ""),
        ("ü {{ '€' }}", "ü €"),
    ],
)
async def test_a_template_is_filled_in(sandbox, template, text):
    assert await sandbox.render(template, DATA, LIMITS) == text


@pytest.mark.parametrize(
    ("template", "code"),
    [
        ("{{ json.absent }}", "template_failed"),
        ("{{ absent.field }}", "template_failed"),
        ("line\n{{ json.name | nonsense }}", "template_failed"),
        ("{% for x in range(9000) %}{% for y in range(9000) %}{% endfor %}{% endfor %}", "template_too_large"),
        ("{{ 'x' * 1000000000000 }}", None),
        (
            "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
            None,
        ),
        ("{% for i in range(9000) %}" + "x" * 1_000 + "{% endfor %}", "template_too_large"),
        ("{% include 'secrets' %}", "template_failed"),
        ("{{ json.__class__ }}", "template_failed"),
    ],
)
async def test_a_template_that_cannot_be_filled_in_fails_and_harms_nothing(sandbox, template, code):
    with pytest.raises(NodeError) as caught:
        await sandbox.render(template, DATA, LIMITS)

    assert caught.value.code == code if code else caught.value.code in ("template_failed", "template_too_large")
    assert not caught.value.retryable
    assert await sandbox.render("{{ tone }}", DATA, LIMITS) == "kind"


async def test_the_line_of_an_error_is_told(sandbox):
    with pytest.raises(NodeError) as caught:
        await sandbox.render("one\ntwo\n{{ json.absent }}", DATA, LIMITS)
    assert caught.value.fields["line"] == 3
    assert "line 3" in caught.value.message


def test_the_syntax_is_looked_at_without_executing_anything():
    assert template_error("{% for x in range(1000000000) %}{{ x }}{% endfor %}") == ""
    assert template_error("{% if %}").startswith("line 1")
    assert template_error("{{ 'x' * 10 ") != ""
    assert TEXT_CHARS_MAX < 8_000_000
