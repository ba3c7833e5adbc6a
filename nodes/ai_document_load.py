"""`ai.document_load`: the text of documents, page by page."""

import base64
import binascii
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from nodes.parsing import file_type_of
from nodes.retrieval import document_id
from workflow.errors import BadInput, NodeError, NotFound
from workflow.http import HttpRequest
from workflow.knowledge import NAME_CHARS_MAX, DocumentFile
from workflow.spec import (
    MAIN,
    Config,
    Effect,
    Example,
    Item,
    Items,
    JsonObject,
    NodeContext,
    NodeSpec,
    NodeType,
    Outputs,
    Problem,
)

FILE_BYTES_MAX = 50 * 1024 * 1024
SOURCES = ("document_id", "url", "binary")

SPEC = NodeSpec(
    type="ai.document_load",
    title="Load a document",
    category="ai",
    description=(
        "Reads PDF, DOCX, HTML, Markdown, text, CSV and JSON: an uploaded document, an address, or a file of the item. Gives an item for "
        "every page with `text`, `page`, `name` and `file_type`. Files are read in a process of their own with limits of memory and time, "
        "so a hostile one fails alone."
    ),
    effect=Effect.EFFECT,
    yields=True,
    each_item=True,
    timeout_ms=300_000,
    aliases=("document_loader", "load_document"),
    examples=(
        Example(
            title="An uploaded document",
            config={"document_id": "{{ $json.document_id }}"},
            items=[{"document_id": "0190a3c2-0000-7000-8000-000000000001"}],
        ),
        Example(title="A page of the web", config={"url": "https://example.org/terms.html"}, items=[{}]),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "document_id": {"type": "string", "title": "Document", "description": "The id of an uploaded document."},
            "url": {"type": "string", "title": "Address", "description": "Where a file is to be had."},
            "binary": {
                "type": "string",
                "minLength": 1,
                "title": "File",
                "description": "The name of a file of the item.",
            },
        },
        "additionalProperties": False,
    },
)


def check(config: JsonObject) -> list[Problem]:
    """Find configs that name no source, or several."""
    named = [name for name in SOURCES if config.get(name)]
    if len(named) == 1:
        return []
    return [
        Problem("source_unclear", f"one of {', '.join(SOURCES)} says where the document is; {len(named)} are given")
    ]


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Load the document of every item; items fail one by one."""
    given: Items = []
    for index, item in enumerate(items):
        with context.item(index):
            given.extend(await _pages(context, config.of(index), item, index))
    return {MAIN: given}


async def _pages(context: NodeContext, config: Mapping[str, Any], item: Item, index: int) -> Items:
    if context.files is None:
        raise NodeError("no files are read here: this needs an instance", "needs_instance", {"retryable": False})
    file = await _file(context, config, item)
    found = await context.files.read(file.file_type, file.content, context.timeout_ms)
    about: JsonObject = {"name": file.name, "file_type": file.file_type.value, "page_count": found.page_count}
    if config.get("document_id"):
        about["document_id"] = config["document_id"]
    return [
        Item(json={**about, "page": page.number, "text": page.text}, paired_item=index)
        for page in found.pages
        if page.text.strip()
    ]


async def _file(context: NodeContext, config: Mapping[str, Any], item: Item) -> DocumentFile:
    if config.get("document_id"):
        try:
            return await context.knowledge.file(document_id(config["document_id"]))
        except NotFound as error:
            raise NodeError(error.message, "document_not_found", {**error.fields, "retryable": False}) from error
    if config.get("url"):
        request = HttpRequest(
            method="GET", url=config["url"], timeout_ms=context.timeout_ms, response_bytes_max=FILE_BYTES_MAX
        )
        answer = await context.http.send(request)
        if answer.status >= 400:
            fields = {"status": answer.status, "retryable": answer.status >= 500}
            raise NodeError(f"{config['url'][:200]} answers {answer.status}", f"http_{answer.status}", fields)
        name = PurePosixPath(urlsplit(answer.url).path).name[-NAME_CHARS_MAX:] or "page.html"
        return _typed(name, answer.body)
    return _typed(*_binary(item, config["binary"]))


def _binary(item: Item, name: str) -> tuple[str, bytes]:
    found = item.get("binary", {}).get(name)
    if found is None:
        raise NodeError(f"the item has no file {name!r}", "file_not_found", {"retryable": False})
    try:
        return found.get("file_name") or name, base64.b64decode(found["data"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise NodeError(f"the file {name!r} is not base64", "file_corrupt", {"retryable": False}) from error


def _typed(name: str, content: bytes) -> DocumentFile:
    try:
        return DocumentFile(name=name, file_type=file_type_of(name, content), content=content)
    except BadInput as error:
        raise NodeError(error.message, error.code, {**error.fields, "retryable": False}) from error


NODE_TYPE = NodeType(SPEC, run, check)
