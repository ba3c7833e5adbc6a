"""What is said of documents and collections: names, tags and metadata, and their limits. The API and nodes hold to the same ones."""

from typing import Any
from uuid import UUID

from workflow.errors import Unprocessable
from workflow.knowledge import NAME_CHARS_MAX
from workflow.values import encode

TAGS_MAX = 50
TAG_CHARS_MAX = 100
METADATA_BYTES_MAX = 16 * 1024
COLLECTION_NAME_CHARS_MAX = 100


def document_name(name: object) -> str:
    """Return a document's name. Raises `Unprocessable` (`name_invalid`)."""
    text = name.strip() if isinstance(name, str) else ""
    if not 1 <= len(text) <= NAME_CHARS_MAX or not text.isprintable():
        raise Unprocessable(f"`name` has 1 to {NAME_CHARS_MAX} printable characters", "name_invalid")
    return text


def tags_of(tags: object) -> list[str]:
    """Return tags, each once. Raises `Unprocessable` (`tags_invalid`)."""
    if not isinstance(tags, list) or len(tags) > TAGS_MAX or not all(_is_tag(tag) for tag in tags):
        message = f"`tags` is a list of up to {TAGS_MAX} texts of 1 to {TAG_CHARS_MAX} characters"
        raise Unprocessable(message, "tags_invalid")
    return list(dict.fromkeys(tags))


def _is_tag(tag: object) -> bool:
    return isinstance(tag, str) and 1 <= len(tag) <= TAG_CHARS_MAX and "\0" not in tag


def metadata_of(metadata: object) -> dict[str, Any]:
    """Return metadata. Raises `Unprocessable` (`metadata_invalid`), `BadInput` where they are no JSON that can be stored."""
    if not isinstance(metadata, dict) or len(encode(metadata)) > METADATA_BYTES_MAX:
        raise Unprocessable(f"`metadata` is an object of up to {METADATA_BYTES_MAX} bytes", "metadata_invalid")
    return metadata


def collection_name(name: str) -> str:
    """Return a collection's name. Raises `ValueError` for one that nobody could see or tell from an id."""
    if not name.strip() or not name.isprintable() or "/" in name or len(name) > COLLECTION_NAME_CHARS_MAX:
        raise ValueError(
            f"a name has 1 to {COLLECTION_NAME_CHARS_MAX} printable characters, not all blank, without `/`"
        )
    if id_in(name) is not None:
        raise ValueError("a name that reads like an id could be taken for that of another collection")
    return name


def id_in(text: str) -> UUID | None:
    """Return the id that a text is, if it is one, in any of its spellings."""
    try:
        return UUID(text)
    except ValueError:
        return None
