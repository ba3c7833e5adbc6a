"""Patterns of users' schemas: JavaScript's, searched by an engine that takes no more time than the text is long."""

import pytest

from workflow.schemas.patterns import BadPattern, pattern_of


@pytest.mark.parametrize(
    ("source", "found", "missing"),
    [
        ("", ["", "a"], []),
        ("^a|b$", ["ax", "xb"], ["xa", "bx"]),
        (r"a\/b", ["a/b"], ["ab"]),
        (r"^[\w-.]+$", ["a-b.c", "é"], ["a b"]),
        (r"^[.-\w]+$", ["a-b.c"], ["a b"]),
        (r"^[^[]$", ["a", "]"], ["["]),
        (r"^[[\]]+$", ["[]"], ["a"]),
        (r"^[a&&b]+$", ["a&b"], ["c"]),
        (r"^[~~a]$", ["~", "a"], ["b"]),
        (r"^[]$", [], ["", "]", "a"]),
        (r"^[^]$", ["\n", "]"], [""]),
        (r"^a{2,3}$", ["aa", "aaa"], ["a", "aaaa"]),
        (r"^a{2}{2}$", ["aaaa"], ["aa"]),
        (r"^a{$", ["a{"], ["a"]),
        (r"^{a}$", ["{a}"], ["a"]),
        (r"^a{,3}$", ["a{,3}"], ["aa"]),
        (r"^\u00e9\u{e9}\x41$", ["ééA"], ["eeA"]),
        (r"^\p{Lu}\P{Lu}$", ["Éé"], ["éÉ"]),
        (r"^(?:a|b)(?<n>c)$", ["ac", "bc"], ["c"]),
        (r"(?i)^a(?i:B)$", ["ab", "AB"], ["a"]),
        (r"^a$", ["a"], ["a\n", "\na"]),
        (r"^\d$", ["7", "٣"], ["x"]),
    ],
)
def test_what_a_pattern_finds(source: str, found: list[str], missing: list[str]):
    pattern = pattern_of(source)
    assert [text for text in found if not pattern.found_in(text)] == []
    assert [text for text in missing if pattern.found_in(text)] == []


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("(", "unclosed group"),
        (")", "unopened group"),
        ("[a", "unclosed character class"),
        ("\\", "incomplete escape sequence"),
        ("a{2,1}", "invalid repetition"),
        ("*", "missing expression"),
        ("(?=a)", "look-around"),
        ("(?<!a)", "look-around"),
        (r"(a)\1", "backreferences"),
        (r"\Z", "unrecognized escape"),
        ("(?x)a # (", "unrecognized kind of group"),
        ("(" * 300 + ")" * 300, "nested"),
        ("a{99999999999999999999}", "too large"),
        ("(a{1000}){1000}", "too large"),
        ("((((a{9}){99}){99}){99}){99}", "too large"),
        (r"(\w{100}){10}", "too large"),
        (r"([^\p{L}]{100}){100}", "too large"),
    ],
)
def test_what_is_no_pattern_is_refused_with_a_reason(source: str, why: str):
    with pytest.raises(BadPattern, match=why):
        pattern_of(source)


@pytest.mark.parametrize(
    ("source", "width"),
    [("abc", 3), ("a{5}b", 6), ("(ab){3}c", 7), ("(a|[bc]{2}){2}", 6), (r"\u{1F600}\p{L}", 2), ("a*", 1)],
)
def test_a_pattern_is_as_wide_as_it_is_written_out(source: str, width: int):
    pattern = pattern_of(source)
    assert pattern.width == width
    assert pattern.search_us("x" * 1_000) == 1 + 4 * width
