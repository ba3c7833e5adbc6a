"""`ai.chunk`: text cut into passages that a model can embed."""

import asyncio
from typing import Any

from nodes.passages import cut, token_counter
from workflow.errors import NodeError
from workflow.knowledge import Page
from workflow.spec import (
    MAIN,
    Config,
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

SPEC = NodeSpec(
    type="ai.chunk",
    title="Cut into passages",
    category="ai",
    description=(
        "Cuts texts into passages of at most so many tokens, at the seams of paragraphs and sentences. Items that follow one another with "
        "the same `document_id` or `name` are the pages of one text; a passage never reaches over the end of a page. Gives an item for "
        "every passage with `content`, `chunk_index`, `start`, `end`, `tokens` and `page`, and the other fields of its page."
    ),
    yields=True,
    may_move=True,
    each_item=True,
    timeout_ms=300_000,
    aliases=("chunk", "text_splitter"),
    examples=(
        Example(
            title="Passages of at most six tokens",
            config={"text": "{{ $json.text }}", "tokens": 6, "overlap": 0},
            items=[{"name": "a", "text": "One sentence here. Another one there."}],
        ),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "text": {"type": "string", "title": "Text", "description": "The text of the page that an item is."},
            "tokens": {
                "type": "integer",
                "minimum": 1,
                "maximum": 8_192,
                "default": 200,
                "title": "Tokens",
                "description": "The longest passage, as the tokenizer of the default embedding model counts.",
            },
            "overlap": {
                "type": "integer",
                "minimum": 0,
                "maximum": 4_096,
                "default": 30,
                "title": "Overlap",
                "description": "About how many tokens of a passage the next one begins with.",
            },
        },
        "required": ["text"],
        "additionalProperties": False,
    },
)
FIELDS = ("text", "page")


def check(config: JsonObject) -> list[Problem]:
    """Find overlaps that leave nothing to go on with."""
    tokens, overlap = config.get("tokens", 200), config.get("overlap", 30)
    if isinstance(tokens, int) and isinstance(overlap, int) and overlap >= tokens:
        return [Problem("overlap_too_large", "the overlap must be smaller than a passage", "overlap")]
    return []


async def run(_context: NodeContext, config: Config, items: Items) -> Outputs:
    """Cut the texts, one after the other, in a thread."""
    whole = config.whole
    tokens, overlap = whole.get("tokens", 200), whole.get("overlap", 30)
    if overlap >= tokens:
        raise NodeError("the overlap must be smaller than a passage", "overlap_too_large", {"retryable": False})
    texts = [config.of(index)["text"] for index in range(len(items))]
    given: Items = []
    for group in _groups(items):
        pages = [Page(_page(items[index]["json"]), texts[index]) for index in group]
        found = await asyncio.to_thread(cut, pages, tokens=tokens, overlap=overlap, count=token_counter())
        about = {name: value for name, value in items[group[0]]["json"].items() if name not in FIELDS}
        by_page = {page.number: index for page, index in zip(pages, group, strict=True)}
        for passage in found.passages:
            json = {
                **about,
                "content": passage.content,
                "chunk_index": passage.index,
                "start": passage.start,
                "end": passage.end,
                "tokens": passage.tokens,
                "page": passage.page,
            }
            given.append(Item(json=json, paired_item=by_page[passage.page]))
    return {MAIN: given}


def _groups(items: Items) -> list[list[int]]:
    """Return the indexes of the items that are pages of one text, text by text."""
    groups: list[list[int]] = []
    last: Any = None
    for index, item in enumerate(items):
        key = item["json"].get("document_id") or item["json"].get("name")
        if groups and key is not None and key == last:
            groups[-1].append(index)
        else:
            groups.append([index])
        last = key
    return groups


def _page(json: JsonObject) -> int | None:
    page = json.get("page")
    return page if isinstance(page, int) else None


NODE_TYPE = NodeType(SPEC, run, check)
