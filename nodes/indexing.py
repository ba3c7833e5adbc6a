"""What `ai.index` is given, checked before anything of it is kept: within the limits of uploads, and of what the database holds."""

import math
from array import array
from collections.abc import Mapping, Sequence
from typing import Any

from nodes.fields import MISSING, Path, read
from nodes.passages import SEPARATOR, joined
from workflow.errors import InvalidRequest, NodeError
from workflow.knowledge import TEXT_CHARS_MAX, IndexedPassage, Passage
from workflow.labels import document_name, id_in, metadata_of
from workflow.spec import JsonObject

UNNAMED = "text"
NUMBER_MAX = 2**31 - 1
VECTOR_LEAST, VECTOR_MOST = 1e-15, 1e15
"""What the largest number of a vector may be: within these, the database computes cosines without losing them in single precision."""


def indexed_passages(items: Sequence[JsonObject], vector: Path) -> tuple[str, list[IndexedPassage]]:
    """Return the text of a document and its passages with their places in it.

    Raises `NodeError`: `no_vector`, `vector_invalid`, `no_content`, `passage_invalid`, `duplicate_chunk_index`, `text_too_large`.
    """
    vectors = [_vector(item, vector) for item in items]
    passages: list[Passage] = []
    for number, item in enumerate(items):
        passages.append(_passage(item, number, passages[-1].end + len(SEPARATOR) if passages else 0))
    places: set[int] = set()
    for passage in passages:
        if passage.index in places:
            message = f"two passages of the document have the `chunk_index` {passage.index}"
            raise _refused(message, "duplicate_chunk_index", chunk_index=passage.index)
        places.add(passage.index)
    whole = joined(passages)
    if len(whole.text) > TEXT_CHARS_MAX:
        raise _refused(f"the passages are a text of more than {TEXT_CHARS_MAX} characters", "text_too_large")
    pairs = zip(whole.passages, vectors, strict=True)
    return whole.text, [IndexedPassage(passage=passage, vector=each) for passage, each in pairs]


def document_of(item: JsonObject) -> str:
    """Return what the items of one document have in common."""
    named = item.get("document_id")
    return f"id:{id_in(str(named)) or named}" if named else f"name:{str(item.get('name') or UNNAMED).strip()}"


def page_count(item: JsonObject) -> int | None:
    """Return how many pages the document of an item has, if it has any. Raises `NodeError` (`passage_invalid`)."""
    return _whole(item, "page_count", NUMBER_MAX)


def said_of(item: JsonObject, config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return name and metadata of a document that is made of passages. Raises `NodeError` with the codes of an upload."""
    try:
        return document_name(item.get("name") or UNNAMED), metadata_of(config.get("metadata") or {})
    except InvalidRequest as error:
        raise _refused(error.message, error.code) from error


def _passage(item: JsonObject, number: int, behind: int) -> Passage:
    content = item.get("content")
    if not isinstance(content, str) or not content.strip():
        raise _refused("an item has no `content`: `ai.chunk` gives it", "no_content")
    index, tokens = _whole(item, "chunk_index", NUMBER_MAX), _whole(item, "tokens", NUMBER_MAX)
    start, end = _whole(item, "start", TEXT_CHARS_MAX), _whole(item, "end", TEXT_CHARS_MAX)
    if end is not None and end < (start or 0):
        raise _refused(f"a passage ends at {end}, before it starts", "passage_invalid", field="end")
    begin = behind if start is None else start
    return Passage(
        index=number if index is None else index,
        content=content,
        start=begin,
        end=begin + len(content),
        tokens=tokens or 0,
        page=_whole(item, "page", NUMBER_MAX),
    )


def _whole(item: JsonObject, name: str, most: int) -> int | None:
    value = item.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        message = f"`{name}` of a passage is a whole number from 0 to {most}, or null; this is {str(value)[:100]!r}"
        raise _refused(message, "passage_invalid", field=name)
    return value


def _vector(item: JsonObject, path: Path) -> Sequence[float]:
    found = read(item, path)
    if found is MISSING or not isinstance(found, list) or not found or not all(map(_is_number, found)):
        raise _refused("an item has no vector: `ai.embed` gives one", "no_vector")
    vector = array("d", found)
    most = max(map(abs, vector))
    if not all(map(math.isfinite, vector)) or not VECTOR_LEAST <= most <= VECTOR_MOST:
        message = f"the largest number of a vector is between {VECTOR_LEAST} and {VECTOR_MOST}; this one's is {most}"
        raise _refused(message, "vector_invalid")
    return vector


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refused(message: str, code: str, **fields: Any) -> NodeError:
    return NodeError(message, code, {**fields, "retryable": False})
