"""Files that come with a request: bounded, one file, a few fields, nothing believed of what the client says about it."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from nodes.parsing import file_type_of
from serve_app.bodies import read_body
from workflow.errors import BadInput, Unprocessable
from workflow.knowledge import NAME_CHARS_MAX, FileType

ENVELOPE_BYTES = 64 * 1024
"""What the fields beside the file and the boundaries may take."""
FIELDS = frozenset({"name", "collection", "tags", "metadata"})
TAGS_MAX = 50
TAG_CHARS_MAX = 100
METADATA_BYTES_MAX = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file with what is said of it."""

    name: str
    file_type: FileType
    content: bytes
    collection: str
    tags: list[str]
    metadata: dict[str, Any]


def is_multipart(request: Request) -> bool:
    """Whether the body is a form with files."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == "multipart/form-data"


async def read_upload(request: Request, bytes_max: int) -> Upload:
    """Return the file of a form. Raises `BadInput`, `TooLarge`, `Unprocessable`."""
    body = await read_body(request, bytes_max + ENVELOPE_BYTES)
    if not is_multipart(request):
        raise BadInput("send the document as multipart/form-data with a part `file`", "multipart_expected")

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield body
        yield b""

    try:
        parser = MultiPartParser(
            request.headers, pieces(), max_files=1, max_fields=len(FIELDS), max_part_size=ENVELOPE_BYTES
        )
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise BadInput(f"the form cannot be read: {error}", "multipart_invalid") from error
    try:
        return await _upload(dict(form.multi_items()))
    finally:
        await form.close()


async def _upload(form: dict[str, UploadFile | str]) -> Upload:
    file = form.pop("file", None)
    if not isinstance(file, UploadFile):
        raise BadInput("the form has no file: its part is called `file`", "file_missing")
    fields: dict[str, str] = {}
    for name, value in form.items():
        if name not in FIELDS or not isinstance(value, str):
            known = {"unknown": [name], "known": sorted(FIELDS)}
            raise Unprocessable(f"the form has a part that is not known here: {name!r}", "unknown_field", known)
        if "\0" in value:
            raise Unprocessable(f"`{name}` contains the NUL character", "nul_not_allowed")
        fields[name] = value
    name = document_name(fields.get("name") or _last_part(file.filename or ""))
    content = await file.read()
    return Upload(
        name=name,
        file_type=file_type_of(file.filename or name, content),
        content=content,
        collection=fields.get("collection", ""),
        tags=tags_of(_listed(fields.get("tags", ""))),
        metadata=metadata_of(_json(fields.get("metadata", ""), "metadata") if fields.get("metadata") else {}),
    )


def _last_part(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def document_name(name: object) -> str:
    """Return a document's name. Raises `Unprocessable`."""
    text = name.strip() if isinstance(name, str) else ""
    if not 1 <= len(text) <= NAME_CHARS_MAX or not text.isprintable():
        raise Unprocessable(f"`name` has 1 to {NAME_CHARS_MAX} printable characters", "name_invalid")
    return text


def tags_of(tags: object) -> list[str]:
    """Return tags. Raises `Unprocessable`."""
    if not isinstance(tags, list) or len(tags) > TAGS_MAX or not all(_is_tag(tag) for tag in tags):
        message = f"`tags` is a list of up to {TAGS_MAX} texts of 1 to {TAG_CHARS_MAX} characters"
        raise Unprocessable(message, "tags_invalid")
    return list(dict.fromkeys(tags))


def _is_tag(tag: object) -> bool:
    return isinstance(tag, str) and 1 <= len(tag) <= TAG_CHARS_MAX and "\0" not in tag


def metadata_of(metadata: object) -> dict[str, Any]:
    """Return metadata. Raises `Unprocessable`."""
    if not isinstance(metadata, dict) or len(orjson.dumps(metadata)) > METADATA_BYTES_MAX:
        raise Unprocessable(f"`metadata` is an object of up to {METADATA_BYTES_MAX} bytes", "metadata_invalid")
    if b"\\u0000" in orjson.dumps(metadata):
        raise Unprocessable("`metadata` contains the NUL character", "nul_not_allowed")
    return metadata


def _listed(text: str) -> Any:
    """Return a list that is written as JSON, or with commas between."""
    if text.lstrip().startswith("["):
        return _json(text, "tags")
    return [part.strip() for part in text.split(",") if part.strip()]


def _json(text: str, name: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError as error:
        raise Unprocessable(f"`{name}` is not JSON: {error}", f"{name}_invalid") from error
