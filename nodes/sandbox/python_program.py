"""The program that a worker runs around a user's Python: a function with the user's text as its body.

The result becomes JSON inside the worker. A list that holds one list a thousand times is small there and fills this
process when it is sent as objects: two lines of code were seen to take 6 GB here. As JSON it counts against the
worker's memory limit.
"""

import ast
import io
import re
import tokenize

from nodes.sandbox.failures import RESULT_BYTES_MAX, UserError

ARGUMENTS = "_rayloom_arguments"
INDEX = "_rayloom_index"
BODY = "_rayloom_body"

_FIRST_LINE = 3
"""The program's line where the user's text begins; the `pass` before it allows an empty body and fixes the indent."""

# Everything that the last line needs is bound before the body runs, so the body cannot swap it for something else.
_ALL = """
import json as _rayloom_json
(lambda text, length=len: text if length(text) <= {limit} else "")(
    _rayloom_json.dumps({body}(**_rayloom_json.loads({arguments})))
)
"""
_EACH = """
import json as _rayloom_json
def _rayloom_each(elements, body, dumps):
    global {index}
    texts = []
    for position, element in enumerate(elements):
        {index} = position
        texts.append(dumps(body(element)))
    {index} = -1
    return "[" + ",".join(texts) + "]"
(lambda text, length=len: text if length(text) <= {limit} else "")(
    _rayloom_each(_rayloom_json.loads({arguments})[{each!r}], {body}, _rayloom_json.dumps)
)
"""


def program(body: str, names: list[str], each: str) -> str:
    """Return the program whose value is the JSON of what `body` returns, or "" if that is too long.

    `names` are the arguments in order; with `each` the body takes that one alone. Raises `SyntaxError` as `check` does.
    """
    parameters = [each] if each else names
    template = _EACH if each else _ALL
    end = template.format(body=BODY, arguments=ARGUMENTS, index=INDEX, each=each, limit=RESULT_BYTES_MAX)
    return _function(body, parameters) + end


def syntax_error(body: str, names: list[str]) -> UserError | None:
    """Look whether `body` parses as the body of a Python function, without running anything. Lines are the user's."""
    try:
        ast.parse(_function(body, names), "code")
    except SyntaxError as error:
        return _described(error, body)
    except (ValueError, RecursionError, MemoryError) as error:
        return UserError("SyntaxError", str(error) or "the code nests too deep")
    return None


def user_line(program_line: int, body: str) -> int | None:
    """Return the line of the user's text for a line of the program, if it is one."""
    line = program_line - _FIRST_LINE + 1
    return line if 1 <= line <= _line_count(body) else None


def _described(error: SyntaxError, body: str) -> UserError:
    line = None if error.lineno is None else max(1, min(error.lineno - _FIRST_LINE + 1, _line_count(body)))
    return UserError("SyntaxError", error.msg, line)


def _function(body: str, parameters: list[str]) -> str:
    return f"def {BODY}({', '.join(parameters)}):\n pass\n{_indented(body)}\n"


def _line_count(body: str) -> int:
    return _normal(body).count("\n") + 1


def _normal(body: str) -> str:
    return body.replace("\r\n", "\n").replace("\r", "\n")


def _indented(body: str) -> str:
    """Indent every line by one column, but for those that begin inside a string."""
    lines = _normal(body).split("\n")
    inside = _inside_strings("\n".join(lines)) if re.search(r'"""|\'\'\'|\\\n', body) else set()
    return "\n".join(line if number in inside else " " + line for number, line in enumerate(lines, 1))


def _inside_strings(text: str) -> set[int]:
    inside: set[int] = set()
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.end[0] > token.start[0] and token.type not in {tokenize.NEWLINE, tokenize.NL}:
                inside.update(range(token.start[0] + 1, token.end[0] + 1))
    except (tokenize.TokenError, SyntaxError):
        # It does not parse with any indentation; the parser says so better.
        return inside
    return inside
