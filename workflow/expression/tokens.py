"""JavaScript as tokens: enough to find where a placeholder ends and which names it uses. It does not judge grammar."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import NoReturn

CLOSE = "}}"

_SPACE = re.compile(r"[\s\ufeff]+")
_NAME = re.compile(r"#?(?:[^\W\d]|\$)[\w$\u200c\u200d]*")
_NUMBER = re.compile(r"0[xXbBoO][0-9a-fA-F_]+n?|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d[\d_]*)?n?")
_DOUBLE = re.compile(r'"(?:[^"\\\n\r]|\\(?:\r\n|[\s\S]))*+"')
_SINGLE = re.compile(r"'(?:[^'\\\n\r]|\\(?:\r\n|[\s\S]))*+'")
_REGEX = re.compile(r"/(?:[^/\\\[\n\r]|\\[^\n\r]|\[(?:[^\]\\\n\r]|\\[^\n\r])*+\])++/[\w$]*")
_TEMPLATE = re.compile(r"(?:[^`\\$]|\\[\s\S]|\$(?!\{))*+")
_PUNCTUATION = re.compile(
    r">>>=|\.\.\.|===|!==|\*\*=|<<=|>>=|>>>|&&=|\|\|=|\?\?=|=>|==|!=|<=|>=|&&|\|\||\?\?|\?\.(?!\d)|\+\+|--"
    r"|\+=|-=|\*=|/=|%=|&=|\|=|\^=|<<|>>|\*\*|[{}()\[\];,<>+\-*/%&|^!~?:=.@]"
)
_COMMENT = re.compile(r"//[^\n\r\u2028\u2029]*|/\*[\s\S]*?\*/")
_BEFORE_REGEX = frozenset(
    "await case delete do else extends in instanceof new of return throw typeof void yield".split()  # noqa: SIM905
)
_STATEMENTS = frozenset(("if", "while", "for", "with"))
_CLOSING: Mapping[str, str] = MappingProxyType({"{": "}", "(": ")", "[": "]", "${": "}"})


class Kind(Enum):
    """What a token is."""

    NAME = auto()
    NUMBER = auto()
    STRING = auto()
    REGEX = auto()
    PUNCTUATION = auto()
    TEMPLATE = auto()
    """A whole template literal, or its beginning up to the first `${`."""
    TEMPLATE_REST = auto()
    """What follows a `${…}` in a template literal."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token and where it begins in the whole string."""

    kind: Kind
    text: str
    start: int


class Refused(Exception):
    """The text is not an expression: a stable code, a sentence, a position from 0."""

    def __init__(self, code: str, message: str, position: int) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.position = position


class _Scanner:
    """Reads tokens from `position` up to the `}}` that no bracket inside the expression accounts for."""

    def __init__(self, text: str, start: int) -> None:
        self.text = text
        self.opened_at = start
        self.position = start + 2
        self.tokens: list[Token] = []
        self.brackets: list[tuple[str, bool]] = []
        self.after_statement_head = False

    def scan(self) -> int:
        text = self.text
        while self.position < len(text):
            self._skip()
            if not self.brackets and text.startswith(CLOSE, self.position):
                return self.position
            if self.position < len(text):
                self._token()
        raise Refused(
            "expression_unclosed", f"position {self.opened_at}: this {{{{ is never closed by }}}}", self.opened_at
        )

    def _skip(self) -> None:
        while True:
            found = _SPACE.match(self.text, self.position) or _COMMENT.match(self.text, self.position)
            if found is None:
                if self.text.startswith("/*", self.position):
                    self._refuse("this comment is never closed")
                return
            self.position = found.end()

    def _token(self) -> None:
        text, position = self.text, self.position
        if found := _NAME.match(text, position):
            self._add(Kind.NAME, found.end())
        elif found := _DOUBLE.match(text, position) or _SINGLE.match(text, position):
            self._add(Kind.STRING, found.end())
        elif text[position] == "`":
            self._template(Kind.TEMPLATE, position + 1)
        elif text[position] == "/" and self._regex_may_start():
            self._regex()
        elif found := _NUMBER.match(text, position):
            self._add(Kind.NUMBER, found.end())
        elif found := _PUNCTUATION.match(text, position):
            self._punctuation(found[0])
        elif text[position] in "'\"":
            self._refuse("this string does not end on its line")
        elif text[position] == "\\":
            self._refuse("names cannot be written with escapes")
        else:
            self._refuse(f"{text[position]!r} cannot stand here")

    def _add(self, kind: Kind, end: int) -> None:
        self.tokens.append(Token(kind, self.text[self.position : end], self.position))
        self.position = end
        self.after_statement_head = False

    def _punctuation(self, mark: str) -> None:
        if self.text.startswith("<!--", self.position) or (mark == "--" and self._begins_html_comment()):
            self._refuse("comments in the way of HTML cannot be used")
        statement_head = False
        if mark in "{([":
            head = bool(self.tokens) and mark == "(" and self.tokens[-1].text in _STATEMENTS
            self.brackets.append((mark, head))
        elif mark in "})]":
            if not self.brackets or _CLOSING[self.brackets[-1][0]] != mark:
                self._refuse(f"nothing is open that this {mark} could close")
            opened, statement_head = self.brackets.pop()
            if opened == "${":
                self._template(Kind.TEMPLATE_REST, self.position + 1)
                return
        self._add(Kind.PUNCTUATION, self.position + len(mark))
        self.after_statement_head = statement_head

    def _begins_html_comment(self) -> bool:
        if not self.text.startswith("-->", self.position):
            return False
        line_start = self.text.rfind("\n", 0, self.position) + 1
        return not self.text[line_start : self.position].strip()

    def _template(self, kind: Kind, position: int) -> None:
        found = _TEMPLATE.match(self.text, position)
        end = found.end() if found else position
        if self.text.startswith("`", end):
            self._add(kind, end + 1)
        elif self.text.startswith("${", end):
            self._add(kind, end + 2)
            self.brackets.append(("${", False))
        else:
            self._refuse("this template literal is never closed")

    def _regex_may_start(self) -> bool:
        if not self.tokens:
            return True
        last = self.tokens[-1]
        if last.kind is Kind.NAME:
            return last.text in _BEFORE_REGEX and not (len(self.tokens) > 1 and self.tokens[-2].text in (".", "?."))
        if last.kind is Kind.PUNCTUATION:
            return last.text not in (")", "]", "}", "++", "--") or self.after_statement_head
        return last.kind in (Kind.TEMPLATE, Kind.TEMPLATE_REST) and last.text.endswith("${")

    def _regex(self) -> None:
        found = _REGEX.match(self.text, self.position)
        if found is None:
            self._refuse("this regular expression does not end on its line")
        self._add(Kind.REGEX, found.end())

    def _refuse(self, reason: str) -> NoReturn:
        if self.text.find(CLOSE, self.opened_at) < 0:
            message = f"position {self.opened_at}: this {{{{ is never closed by }}}}"
            raise Refused("expression_unclosed", message, self.opened_at)
        raise Refused("expression_syntax", f"position {self.position}: {reason}", self.position)


def scan(text: str, start: int) -> tuple[tuple[Token, ...], int]:
    """Read the placeholder that opens at `start`; return its tokens and the position of the `}}` that ends it.

    Raises `Refused` with code `expression_unclosed` or `expression_syntax`.
    """
    scanner = _Scanner(text, start)
    end = scanner.scan()
    return tuple(scanner.tokens), end
