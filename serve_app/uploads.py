"""Files that come with a request: bounded, one file, a few fields, nothing believed of what the client says about it."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from nodes.parsing import file_type_of
from serve_app.bodies import read_body
from workflow.errors import BadInput, TooLarge, Unprocessable
from workflow.knowledge import FileType
from workflow.labels import TAGS_MAX, document_name, metadata_of, tags_of
from workflow.values import decode

ENVELOPE_BYTES = 64 * 1024
"""What the fields beside the file and the boundaries may take."""
FILE = "file"
TAGS = "tags"
FIELDS = frozenset({"name", "collection", TAGS, "metadata"})
PARSED_FORM = "rayloom.form"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a form: a file with the name that it came under, or a field, whose content is UTF-8."""

    name: str
    content: bytes
    file_name: str | None = None


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


async def read_form(request: Request, file_bytes_max: int) -> tuple[Part, ...]:
    """Return the parts of a form in their order; a request's form is taken apart once. Raises `BadInput`, `TooLarge`."""
    kept: tuple[Part, ...] | None = request.scope.get(PARSED_FORM)
    if kept is not None:
        return kept
    body = await read_body(request, file_bytes_max + ENVELOPE_BYTES)
    if not is_multipart(request):
        raise BadInput("send the document as multipart/form-data with a part `file`", "multipart_expected")

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield body
        yield b""

    try:
        parser = MultiPartParser(
            request.headers, pieces(), max_files=1, max_fields=TAGS_MAX + len(FIELDS), max_part_size=ENVELOPE_BYTES
        )
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise BadInput(f"the form cannot be read: {error}", "multipart_invalid") from error
    try:
        parts = tuple([await _part(name, value) for name, value in form.multi_items()])
    finally:
        await form.close()
    request.scope[PARSED_FORM] = parts
    return parts


async def _part(name: str, value: UploadFile | str) -> Part:
    if isinstance(value, UploadFile):
        return Part(name, await value.read(), value.filename or "")
    try:
        return Part(name, value.encode())
    except UnicodeEncodeError as error:
        raise BadInput(f"the part {name!r} of the form is no text", "multipart_invalid") from error


def form_digest(parts: Sequence[Part]) -> bytes:
    """Return what two forms have in common that say the same, whatever their boundary is."""
    digests = sha256()
    for part in parts:
        kind = b"field" if part.file_name is None else b"file"
        names = [name.encode("utf-8", "surrogatepass") for name in (part.name, part.file_name or "")]
        for each in (kind, *names, part.content):
            digests.update(sha256(each).digest())
    return digests.digest()


async def read_upload(request: Request, file_bytes_max: int) -> Upload:
    """Return the file of a form. Raises `BadInput`, `TooLarge`, `Unprocessable`."""
    parts = await read_form(request, file_bytes_max)
    files = [part for part in parts if part.name == FILE and part.file_name is not None]
    if not files:
        raise BadInput("the form has no file: its part is called `file`", "file_missing")
    content, file_name = files[0].content, files[0].file_name or ""
    if len(content) > file_bytes_max:
        message = f"the file has {len(content)} bytes, more than the {file_bytes_max} that are allowed"
        raise TooLarge(message, "file_too_large", {"bytes": len(content), "bytes_max": file_bytes_max})
    fields = _fields([part for part in parts if part is not files[0]])
    said = {name: values[0] for name, values in fields.items()}
    name = document_name(said.get("name") or _last_part(file_name))
    return Upload(
        name=name,
        file_type=file_type_of(file_name or name, content),
        content=content,
        collection=said.get("collection", ""),
        tags=tags_of([tag for text in fields.get(TAGS, ()) for tag in _listed(text)]),
        metadata=metadata_of(_json(said["metadata"], "metadata") if said.get("metadata") else {}),
    )


def _fields(parts: Sequence[Part]) -> dict[str, list[str]]:
    """Return the texts of the parts beside the file, by name. Raises `Unprocessable`."""
    found: dict[str, list[str]] = {}
    for part in parts:
        name = part.name
        if name not in FIELDS or part.file_name is not None:
            known = {"unknown": [name], "known": sorted(FIELDS)}
            raise Unprocessable(f"the form has a part that is not known here: {name!r}", "unknown_field", known)
        if b"\0" in part.content:
            raise Unprocessable(f"`{name}` contains the NUL character", "nul_not_allowed")
        if name in found and name != TAGS:
            raise Unprocessable(f"the form has the part {name!r} more than once", "repeated_field", {"field": name})
        found.setdefault(name, []).append(part.content.decode())
    return found


def _last_part(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2]


def _listed(text: str) -> list[Any]:
    """Return a list that is written as JSON, or with commas between."""
    if text.lstrip().startswith("["):
        found: list[Any] = _json(text, TAGS)
        return found
    return [part.strip() for part in text.split(",") if part.strip()]


def _json(text: str, name: str) -> Any:
    try:
        return decode(text.encode())
    except BadInput as error:
        if error.code != "not_json":
            raise
        raise Unprocessable(f"`{name}` is {error.message}", f"{name}_invalid") from error
