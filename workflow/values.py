"""JSON at the border: what enters is checked once, so that everything inside can be stored.

PostgreSQL's jsonb refuses NUL characters and lone surrogates, JSON has no NaN, and orjson writes NaN as null without
a word. One value that the database refuses would fail the whole batch it is written in, so it is refused here, by name.

Limits: objects and lists nest at most `DEPTH_MAX` deep; integers fit 64 bits (-2^63 to 2^64-1); every other number fits
a double. How large a value may be is for whoever stores it to say (jsonb ends at 256 MiB per string and container).
"""

import math
import re
from typing import Any

import orjson

from workflow.errors import BadInput

DEPTH_MAX = 100
"""How deep objects and lists may nest. orjson itself stops at 254 when writing and at 1,024 when reading."""

_INTEGER_MIN = -(2**63)
_INTEGER_MAX = 2**64 - 1
_OPTIONS = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS

# An even number of backslashes before it means that the escape is real and not text that looks like one.
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_LONG_INTEGER = re.compile(rb"(?<![0-9.eE+-])-?[0-9]{19,}(?![0-9.eE])")
_NAN = re.compile(rb"NaN|Infinity")

_DIGITS_ALIKE = bytes.maketrans(b"123456789", b"000000000")
_LONG_DIGITS = b"0" * 19
_ORJSON_DEPTH_MAX = 254


def encode(value: Any) -> bytes:
    """Write `value` as JSON that PostgreSQL's jsonb holds. Tuples become lists; UUIDs and enums their plain value.

    Raises `BadInput` with code `nan_not_allowed`, `nul_not_allowed`, `too_deep` (also for a value that contains
    itself), `number_out_of_range` or `not_json` (other types, keys that are not strings, lone surrogates).
    """
    try:
        data = orjson.dumps(value, option=_OPTIONS)
    except orjson.JSONEncodeError as error:
        raise _write_refusal(str(error)) from None
    if b"null" in data and _holds_nan(value):
        raise BadInput("NaN and infinite numbers are not JSON", "nan_not_allowed")
    _check_text(data, value)
    return data


def decode(data: bytes) -> Any:
    """Read JSON that came from outside. Of equal keys in one object the last wins.

    Raises `BadInput` with the codes of `encode`. Safe for any input: the parser is bounded by itself, so the depth is
    looked at only in what it accepted.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _read_refusal(data, error) from None
    _check_text(data, value)
    if _LONG_DIGITS in data.translate(_DIGITS_ALIKE):
        _check_integers(data)
    return value


def decode_doubles(data: bytes) -> Any:
    """Read JSON whose numbers are all doubles, as an engine of JavaScript writes it; how deep it nests is not looked at.

    Raises `BadInput` with the codes of `encode`.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise _read_refusal(data, error) from None
    if b"\\" in data and _NUL.search(data):
        raise BadInput("strings must not contain the NUL character", "nul_not_allowed")
    return value


def storable(text: str) -> str:
    """Return a text that came without JSON as PostgreSQL can keep it: no NUL, no lone surrogates."""
    return text.encode("utf-8", "replace").decode().replace("\x00", "\N{REPLACEMENT CHARACTER}")


def _check_text(data: bytes, value: Any) -> None:
    """Refuse valid JSON text that holds a NUL character or nests too deep."""
    if b"\\" in data and _NUL.search(data):
        raise BadInput("strings must not contain the NUL character", "nul_not_allowed")
    # Fewer brackets than levels cannot nest too deep; most values stop here.
    if data.count(b"[") + data.count(b"{") > DEPTH_MAX:
        _check_depth(value)


def _check_depth(value: Any) -> None:
    """Refuse what nests too deep: wrapped up until just `DEPTH_MAX` levels are left, orjson tells at its own speed."""
    for _ in range(_ORJSON_DEPTH_MAX - DEPTH_MAX):
        value = [value]
    try:
        orjson.dumps(value, option=_OPTIONS)
    except orjson.JSONEncodeError:
        raise _too_deep_error() from None


def _check_integers(data: bytes) -> None:
    """Refuse integers beyond 64 bits, which orjson reads as floats that are a little off."""
    for match in _LONG_INTEGER.finditer(_STRING.sub(b'""', data)):
        # 20 digits and a sign hold every 64-bit integer, and int() of thousands of digits is slow.
        if len(match[0]) > 21 or not _INTEGER_MIN <= int(match[0]) <= _INTEGER_MAX:
            raise BadInput("integers must fit 64 bits", "number_out_of_range")


def _holds_nan(value: Any) -> bool:
    """Whether a NaN or infinite number is anywhere in it; the value is known to be finite in depth."""
    pending = [value]
    while pending:
        current = pending.pop()
        if isinstance(current, float):
            if not math.isfinite(current):
                return True
        elif isinstance(current, dict):
            pending.extend(current.values())
        elif isinstance(current, list | tuple):
            pending.extend(current)
        elif current is not None and not isinstance(current, str | int) and hasattr(current, "value"):
            pending.append(current.value)
    return False


def _too_deep_error() -> BadInput:
    return BadInput(f"objects and lists may nest at most {DEPTH_MAX} deep", "too_deep")


def _write_refusal(reason: str) -> BadInput:
    if "Recursion limit" in reason:
        return _too_deep_error()
    if "64-bit" in reason:
        return BadInput("integers must fit 64 bits", "number_out_of_range")
    return BadInput(f"not JSON: {reason}", "not_json")


def _read_refusal(data: bytes, error: orjson.JSONDecodeError) -> BadInput:
    reason = str(error)
    if "depth limit" in reason:
        return _too_deep_error()
    if "infinity" in reason:
        return BadInput("a number is too large for a double", "number_out_of_range")
    if _NAN.match(data, error.pos) or _NAN.match(data, error.pos + 1):
        return BadInput("NaN and infinite numbers are not JSON", "nan_not_allowed")
    return BadInput(f"not JSON: {reason}", "not_json")
