"""Reading workflows from request bodies: the document, what is said about it, and the drafts made of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from fastapi import Request

from serve_app.bodies import read_body, require_known
from serve_app.compiling import Read, document_size
from serve_app.services import Services
from store.workflow_rows import Draft
from workflow.errors import BadInput, InvalidDefinition, TooLarge, Unprocessable
from workflow.portable import FORMAT, FORMAT_VERSION
from workflow.values import decode

WRAPPED_FIELDS = frozenset({"definition", "description", "tags"})
CHANGE_FIELDS = frozenset({"change_message"})
IMPORT_FIELDS = frozenset({"format", "format_version", "name", "description", "tags", "definition", "removed"})
TAGS_MAX = 50
TAG_CHARS_MAX = 100
DESCRIPTION_CHARS_MAX = 10_000
MESSAGE_CHARS_MAX = 500
IMPORTS_MAX = 100
IMPORTED_SIZE_PER_NODES_MAX = 4
"""An import may have this many times the nodes of the largest workflow: all of it compiles within one request."""


@dataclass(frozen=True, slots=True)
class Writing:
    """A draft with the warnings of compiling it, and what its author says of the change."""

    draft: Draft
    warnings: list[dict[str, str]]
    change_message: str = ""


async def read_writing(
    request: Request, services: Services, workspace_id: UUID, *, changed: UUID | None = None
) -> Writing:
    """Return the workflow in a body. The next version of a workflow that is `changed` may bring a `change_message`.

    Raises `BadInput`, `TooLarge`, `InvalidDefinition`, `Unprocessable`.
    """
    value = decode(await read_body(request, services.config.limits.body_bytes_max))
    if not isinstance(value, dict):
        raise BadInput("the body must be a JSON object", "body_not_an_object")
    beside = WRAPPED_FIELDS | (frozenset() if changed is None else CHANGE_FIELDS)
    if "definition" in value:
        require_known(value, beside)
        written = value["definition"]
    else:  # what is not known beside a document is for the document to accept or refuse: it has other spellings
        written = {name: part for name, part in value.items() if name not in beside}
    described, message = _described(value), "" if changed is None else change_message(value)
    read = await services.documents.read(written, workspace_id, changed)
    return Writing(replace(draft_of(read), **described), read.warnings, message)


async def read_unchecked(request: Request, services: Services) -> Any:
    """Return the document in a body, whatever is wrong with it. Raises `BadInput` for what is not JSON, `TooLarge`."""
    value = decode(await read_body(request, services.config.limits.body_bytes_max))
    return value["definition"] if isinstance(value, dict) and "definition" in value else value


async def read_imports(request: Request, services: Services, workspace_id: UUID) -> list[Writing]:
    """Return the workflows of an import, in order. Raises `Unprocessable` with what is wrong with each that is not valid."""
    limits = services.config.limits
    value = decode(await read_body(request, limits.body_bytes_max))
    entries = value if isinstance(value, list) else [value]
    if not 1 <= len(entries) <= IMPORTS_MAX:
        raise Unprocessable(f"an import has 1 to {IMPORTS_MAX} workflows", "import_count", {"count": len(entries)})
    described = [_import_described(entry, index) for index, entry in enumerate(entries)]
    written = [_import_document(entry) for entry in entries]
    size_max = limits.nodes_max * IMPORTED_SIZE_PER_NODES_MAX
    if (size := sum(map(document_size, written))) > size_max:
        raise TooLarge(
            f"the import has {size} nodes, more than the {size_max} that are allowed at once", "import_too_large"
        )
    found = await services.documents.read_all(written, workspace_id)
    wrong = [
        {"index": index, "message": error.message, **error.fields}
        for index, error in enumerate(found)
        if isinstance(error, InvalidDefinition)
    ]
    if wrong:
        message = f"workflow {wrong[0]['index']} of the import: {wrong[0]['message']}; nothing was imported"
        raise Unprocessable(message, "import_invalid", {"workflows": wrong})
    read = [one for one in found if isinstance(one, Read)]
    return [Writing(replace(draft_of(one), **about), one.warnings) for one, about in zip(read, described, strict=True)]


def draft_of(read: Read) -> Draft:
    """Return the draft that a document makes, with nothing said about it."""
    stored = read.stored
    return Draft(
        name=read.document.name,
        nodes=stored["nodes"],
        connections=stored["connections"],
        settings=stored["settings"],
        viewport=stored["viewport"],
        input_schema=stored["input_schema"],
        triggered=read.triggered,
    )


def change_message(asked: Mapping[str, Any]) -> str:
    """Return what the author says of a change. Raises `Unprocessable`."""
    message = asked.get("change_message", "")
    if not isinstance(message, str) or len(message) > MESSAGE_CHARS_MAX:
        raise Unprocessable(
            f"`change_message` is a text of at most {MESSAGE_CHARS_MAX} characters", "change_message_invalid"
        )
    return message


def if_match(request: Request) -> int | None:
    """Return the version in `If-Match`, None for any. Raises `Unprocessable`."""
    text = request.headers.get("if-match", "").strip().removeprefix("W/").strip('"')
    if not text or text == "*":
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise Unprocessable("If-Match is the number of a version", "if_match_invalid")
    return int(text)


def _described(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a draft that stand beside the document, as far as they are there. Raises `Unprocessable`."""
    said: dict[str, Any] = {}
    if "description" in asked:
        description = asked["description"]
        if not isinstance(description, str) or len(description) > DESCRIPTION_CHARS_MAX:
            raise Unprocessable(
                f"`description` is a text of at most {DESCRIPTION_CHARS_MAX} characters", "invalid_fields"
            )
        said["description"] = description
    if "tags" in asked:
        tags = asked["tags"]
        if not isinstance(tags, list) or not all(
            isinstance(tag, str) and 1 <= len(tag) <= TAG_CHARS_MAX for tag in tags
        ):
            raise Unprocessable(f"`tags` is a list of texts of 1 to {TAG_CHARS_MAX} characters", "invalid_fields")
        said["tags"] = list(dict.fromkeys(tags))
        if len(said["tags"]) > TAGS_MAX:
            raise Unprocessable(f"a workflow has at most {TAGS_MAX} tags", "invalid_fields")
    return said


def _import_described(entry: Any, index: int) -> dict[str, Any]:
    """Return what an import says of a workflow beside its document. Raises `BadInput`, `Unprocessable`."""
    if not isinstance(entry, dict):
        raise BadInput(f"workflow {index} of the import is not a JSON object", "body_not_an_object")
    if "definition" not in entry:
        return _described({name: value for name, value in entry.items() if name in WRAPPED_FIELDS})
    require_known(entry, IMPORT_FIELDS)
    if (entry.get("format", FORMAT), entry.get("format_version", FORMAT_VERSION)) != (FORMAT, FORMAT_VERSION):
        message = f"workflow {index} is not of the format {FORMAT!r}, version {FORMAT_VERSION}"
        raise Unprocessable(message, "import_format", {"format": FORMAT, "format_version": FORMAT_VERSION})
    if not isinstance(entry.get("name", ""), str):
        raise Unprocessable(f"`name` of workflow {index} is not a text", "invalid_fields")
    return _described(entry)


def _import_document(entry: dict[str, Any]) -> Any:
    if "definition" not in entry:
        return {name: value for name, value in entry.items() if name not in WRAPPED_FIELDS}
    definition = entry["definition"]
    if isinstance(definition, dict) and "name" in entry:
        return {**definition, "name": entry["name"]}
    return definition
