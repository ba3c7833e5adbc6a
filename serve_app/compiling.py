"""Compiling documents off the event loop: a large graph must not hold up other requests."""

import asyncio

from workflow.compile import Compiler
from workflow.document import Document

NODES_INLINE_MAX = 20
"""A document as small as this compiles in about a millisecond, less than it costs to go to a thread and back under load."""


async def compile_document(compiler: Compiler, document: Document) -> list[dict[str, str]]:
    """Return the warnings. Raises `InvalidDefinition`."""
    if len(document.nodes) <= NODES_INLINE_MAX:
        compiled = compiler.compile(document)
    else:
        compiled = await asyncio.to_thread(compiler.compile, document)
    return [finding.as_dict() for finding in compiled.warnings]
