"""Regular expressions of users: JavaScript's, run in the sandbox, where one that never ends can be stopped."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple, TypeAlias

from workflow.errors import NodeError
from workflow.spec import CodeLimits, NodeContext

_TIME_MS_MAX = 10_000
_MEMORY_BYTES = 256 * 2**20
_CHARS_MAX = 4_000_000
"""How much text goes into one evaluation."""

_BODY = """
// Unicode mode knows \\p{L} and whole characters, but refuses needless escapes such as \\@ that people write.
const compiled = (source, flags) => {
  try { return new RegExp(source, flags + "u") } catch { return new RegExp(source, flags) }
};
return groups.map(({source, flags, texts}) => {
  try {
    const pattern = compiled(source, flags);
    return texts.map(text => pattern.test(text) ? "1" : "0").join("");
  } catch (error) {
    return "!" + error.message;
  }
});
"""


class Question(NamedTuple):
    """Whether a pattern is found somewhere in a text."""

    pattern: str
    ignore_case: bool
    text: str


Answers: TypeAlias = Mapping[Question, bool | str]
"""What was found; a pattern that is none gives a sentence instead."""


async def answered(context: NodeContext, questions: Iterable[Question]) -> Answers:
    """Answer all the questions. Raises the sandbox's `NodeError`s, `code_timeout` for a pattern that takes too long."""
    answers: dict[Question, bool | str] = {}
    batch: list[Question] = []
    chars = 0
    for question in dict.fromkeys(questions):
        batch.append(question)
        chars += len(question.text)
        if chars > _CHARS_MAX:
            answers.update(await _evaluated(context, batch))
            batch, chars = [], 0
    if batch:
        answers.update(await _evaluated(context, batch))
    return answers


async def _evaluated(context: NodeContext, batch: list[Question]) -> dict[Question, bool | str]:
    groups: dict[tuple[str, bool], list[Question]] = {}
    for question in batch:
        groups.setdefault((question.pattern, question.ignore_case), []).append(question)
    asked = [
        {"source": pattern, "flags": "i" if ignore_case else "", "texts": [each.text for each in group]}
        for (pattern, ignore_case), group in groups.items()
    ]
    limits = CodeLimits(timeout_ms=min(_TIME_MS_MAX, context.timeout_ms), memory_bytes=_MEMORY_BYTES)
    try:
        result = await context.sandbox.javascript(_BODY, {"groups": asked}, limits)
    except NodeError as error:
        message = f"matching regular expressions: {error.message}"
        raise NodeError(message, error.code, error.fields) from error
    answers: dict[Question, bool | str] = {}
    for group, found in zip(groups.values(), result.value, strict=True):
        if found.startswith("!"):
            answers.update((question, found[1:]) for question in group)
        else:
            answers.update((question, mark == "1") for question, mark in zip(group, found, strict=True))
    return answers
