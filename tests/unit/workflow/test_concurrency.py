"""Concurrency keys as they are worked out of an input."""

from uuid import UUID

import orjson
import pytest

from tests.contract.making import an_id
from workflow.concurrency import KEY_CHARS_MAX, ConcurrencyTemplate, concurrency_findings, shown_key
from workflow.document import ConcurrencySettings
from workflow.ports import OnLimit


def key_of(template: str, given: object, workflow_id: UUID | None = None, name: str = "w") -> str:
    settings = ConcurrencySettings(key=template, limit=3)
    found = ConcurrencyTemplate(settings, workflow_id, name).of(given)
    assert found is not None
    return found.key


@pytest.mark.parametrize(
    ("template", "given", "shown"),
    [
        ("", {"a": 1}, ""),
        ("fixed", None, "fixed"),
        ("{{ $json.customer }}", {"customer": "ada"}, "ada"),
        ("{{ $json.customer }}", [{"customer": "ada"}, {"customer": "bob"}], "ada"),
        ("{{ $json.customer.id }}-{{ $json.region }}", {"customer": {"id": 7}, "region": "eu"}, "7-eu"),
        ("{{ $json.customer.id }}-{{ $json.region }}", {"region": "eu"}, "-eu"),
        ("{{ $json.customer }}", None, ""),
        ("{{ $json.customer }}", {"customer": None}, ""),
        ("{{ $json.customer }}", {"customer": True}, "true"),
        ("{{ $json.customer }}", {"customer": 1e-9}, "1e-9"),
        ("{{ $json.toString }}", {"a": 1}, ""),
        ("{{ $json.customer }}", {"customer": "{{ $json.b }}", "b": 1}, "{{ $json.b }}"),
    ],
)
def test_the_key_is_the_template_filled_in_with_what_is_missing_left_out(template: str, given: object, shown: str):
    assert shown_key(key_of(template, given)) == shown


def test_keys_of_workflows_and_of_names_are_apart():
    one, other = an_id(), an_id()
    keys = [key_of("k", None, one), key_of("k", None, other), key_of("k", None, name="a"), key_of("k", None, name="b")]
    spoken = key_of("k", None, name=f'{one}","k')

    assert len({*keys, spoken}) == 5
    assert key_of("k", None, one, name="x") == key_of("k", None, one, name="y")


def test_a_long_key_is_cut_and_stays_apart_from_others():
    keys = [shown_key(key_of("{{ $json.a }}", {"a": "x" * 500 + end})) for end in "ab"]

    assert [len(key) for key in keys] == [KEY_CHARS_MAX] * 2
    assert len(set(keys)) == 2


def test_without_a_limit_there_is_no_key():
    assert ConcurrencyTemplate(ConcurrencySettings(key="k"), None, "w").of({}) is None


def test_limit_and_policy_go_with_the_key():
    settings = ConcurrencySettings(limit=4, on_limit=OnLimit.REJECT)
    found = ConcurrencyTemplate(settings, None, "w").of(None)

    assert found is not None
    assert (found.limit, found.on_limit, orjson.loads(found.key)) == (4, OnLimit.REJECT, ["name:w", ""])


@pytest.mark.parametrize(
    ("template", "code"),
    [
        ("{{ $json.a.toUpperCase() }}", "concurrency_key_not_plain"),
        ("{{ $node.Fetch.json.id }}", "concurrency_key_not_plain"),
        ("{{ $json.a", "expression_unclosed"),
        ("{{ }}", "expression_syntax"),
    ],
)
def test_what_cannot_be_worked_out_when_it_is_accepted_is_a_finding(template: str, code: str):
    [finding] = concurrency_findings(ConcurrencySettings(key=template, limit=1))

    assert (finding.code, finding.field) == (code, "settings.concurrency.key")


@pytest.mark.parametrize("template", ["", "k", "{{ $json.a }}", "{{ $json['a b'][0] }}:{{ $json?.c }}"])
def test_plain_paths_are_no_finding(template: str):
    assert list(concurrency_findings(ConcurrencySettings(key=template, limit=1))) == []
