import enum
import json
import math
import sys
import uuid

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow.errors import BadInput
from workflow.values import DEPTH_MAX, decode, encode

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
NUMBERS = st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | NUMBERS | TEXT | st.sampled_from(["\\u0000", "\\", "[" * 200, "null", "1" * 30])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(TEXT, inner, max_size=6), max_leaves=60
)
POISON = [
    (math.nan, "nan_not_allowed"),
    (math.inf, "nan_not_allowed"),
    (-math.inf, "nan_not_allowed"),
    ("a\0b", "nul_not_allowed"),
    ("\\\0", "nul_not_allowed"),
    (2**64, "number_out_of_range"),
    (-(2**63) - 1, "number_out_of_range"),
    ("\ud800", "not_json"),
    (b"bytes", "not_json"),
    ({1: 2}, "not_json"),
    ({1}, "not_json"),
    (object(), "not_json"),
]


def nested(depth, leaf=None):
    value = leaf
    for level in range(depth):
        value = [value] if level % 2 else {"k": value}
    return value


def hidden(draw, poison, value):
    """Put the poison at some place in the value."""
    places = [[poison, value], {"k": value, "p": poison}, [value, {"a": [poison]}], (value, (poison,)), {"p": [poison]}]
    return draw(st.sampled_from(places))


@given(VALUES)
def test_what_is_written_reads_back_equal(value):
    data = encode(value)
    assert decode(data) == value
    assert json.loads(data) == value


@given(VALUES)
def test_whatever_json_writes_is_read(value):
    assert decode(json.dumps(value).encode()) == value


@given(st.data(), st.sampled_from(POISON), VALUES)
def test_what_cannot_be_stored_is_refused_wherever_it_is(data, poison, value):
    bad, code = poison
    with pytest.raises(BadInput) as caught:
        encode(hidden(data.draw, bad, value))
    assert caught.value.code == code


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data):
    try:
        value = decode(data)
    except BadInput as error:
        assert error.code in {"not_json", "nan_not_allowed", "nul_not_allowed", "too_deep", "number_out_of_range"}  # noqa: PT017
    else:
        assert decode(encode(value)) == value


@given(
    st.integers(-(10**40), 10**40), st.sampled_from(["%d", "[%d]", '{"a": %d}', '["1e5", %d ]', '{"%d":1}', '["%d"]'])
)
def test_integers_are_exact_or_refused(number, shape):
    data = (shape % number).encode()
    inside = -(2**63) <= number < 2**64 or '"%d"' in shape
    if inside:
        assert decode(data) == json.loads(data)
    else:
        with pytest.raises(BadInput) as caught:
            decode(data)
        assert caught.value.code == "number_out_of_range"


@given(VALUES.filter(lambda value: isinstance(value, list | dict)), st.integers(0, 3))
def test_the_limit_of_depth_is_exact(value, excess):
    wide = [value, nested(DEPTH_MAX - 1 + excess)]
    if excess == 0:
        assert decode(encode(wide)) == wide
        return
    for refused in (lambda: encode(wide), lambda: decode(orjson.dumps(wide))):
        with pytest.raises(BadInput) as caught:
            refused()
        assert caught.value.code == "too_deep"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"[" * 100_000, "too_deep"),
        (b'{"a":' * 100_000, "too_deep"),
        (b"[" * 100_000 + b"]" * 100_000, "too_deep"),
        (b"[" * 150 + b"]" * 150, "too_deep"),
        (b"NaN", "nan_not_allowed"),
        (b'{"a": -Infinity}', "nan_not_allowed"),
        (b"[Infinity]", "nan_not_allowed"),
        (b'"\\u0000"', "nul_not_allowed"),
        (b'{"\\u0000": 1}', "nul_not_allowed"),
        (b'"\\\\\\u0000"', "nul_not_allowed"),
        (b'"\0"', "not_json"),
        (b'"\\ud800"', "not_json"),
        (b'"\xed\xa0\x80"', "not_json"),
        (b"\xff", "not_json"),
        (b"", "not_json"),
        (b"{", "not_json"),
        (b"[1,]", "not_json"),
        (b"1e999", "number_out_of_range"),
        (b"-1e999", "number_out_of_range"),
        (b"9" * 400, "number_out_of_range"),
        (b"9" * 100_000, "number_out_of_range"),
        (b"18446744073709551616", "number_out_of_range"),
        (b"-9223372036854775809", "number_out_of_range"),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else value,
)
def test_reading_refuses(data, code):
    with pytest.raises(BadInput) as caught:
        decode(data)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b'"\\\\u0000"', "\\u0000"),
        (b"18446744073709551615", 2**64 - 1),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"1.12345678901234567890123", 1.1234567890123457),
        (b"1234567890123456789012345.5", 1.2345678901234568e24),
        (b"12345678901234567890123e2", 1.2345678901234568e24),
        (b'"' + b"[" * 500 + b'"', "[" * 500),
        (b"1e-999", 0.0),
    ],
)
def test_reading_accepts(data, value):
    assert decode(data) == value


def test_writing_survives_what_has_no_end():
    endless = []
    endless.append(endless)
    for value in (endless, nested(100_000), nested(DEPTH_MAX + 1)):
        with pytest.raises(BadInput) as caught:
            encode(value)
        assert caught.value.code == "too_deep"


def test_writing_turns_plain_types_of_ours_into_json():
    class Color(enum.Enum):
        RED = "red"

    class Bad(enum.Enum):
        NAN = math.nan

    assert encode((1, Color.RED, uuid.UUID(int=1))) == b'[1,"red","00000000-0000-0000-0000-000000000001"]'
    with pytest.raises(BadInput):
        encode([Bad.NAN])


def test_many_brackets_side_by_side_are_not_deep():
    wide = [{"a": [[]]} for _ in range(1_000)]
    assert decode(encode(wide)) == wide
    assert sys.getrecursionlimit() < 10_000, "depth is not bought with a higher limit"
