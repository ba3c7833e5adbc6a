"""Reading and compiling documents off the event loop: a large graph must not hold up other requests.

Parsing and writing back a document cost about a quarter of compiling it, so all of it goes to the thread. There is one thread: each
more that computes would take the interpreter's lock from the loop for another 5 ms at a time.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from workflow.compile import FINDINGS_MAX, Compiled, Compiler
from workflow.document import Document, parse_document
from workflow.errors import InvalidDefinition, Overloaded
from workflow.findings import Severity

T = TypeVar("T")

SIZE_INLINE_MAX = 20
"""A document as small as this compiles in about a millisecond, less than it costs to go to a thread and back under load."""

PENDING_SIZE_MAX = 100_000
"""Nodes that may wait for the thread at once: about four seconds of work, while more would only wait longer."""


@dataclass(frozen=True, slots=True)
class Read:
    """A document that compiles: as it was parsed, as it is stored, and with what warnings."""

    document: Document
    stored: dict[str, Any]
    warnings: list[dict[str, str]]

    @property
    def triggered(self) -> bool:
        """Whether something starts it."""
        return all(warning["code"] != "no_trigger" for warning in self.warnings)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What validating a document found: errors first, at most as many as `FINDINGS_MAX`."""

    valid: bool
    findings: list[dict[str, str]]


class DocumentReader:
    """Parses and compiles documents; close it at the end.

    Every method raises `Overloaded` for a large document while too many of them wait.
    """

    def __init__(self, compiler: Compiler) -> None:
        self._compiler = compiler
        self._pending = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compile")

    async def read(self, written: Any) -> Read:
        """Return the document, parsed and compiled. Raises `InvalidDefinition`."""
        return await self._where_it_fits([written], lambda: self._read(written))

    async def compiled(self, written: Any) -> Document:
        """Return the document, which compiles, for those who do not store it. Raises `InvalidDefinition`."""
        return await self._where_it_fits([written], lambda: self._compiled(written)[0])

    async def read_all(self, written: list[Any]) -> list[Read | InvalidDefinition]:
        """Return each document, or what is wrong with it."""

        def each() -> list[Read | InvalidDefinition]:
            return [self._read_or_error(one) for one in written]

        return await self._where_it_fits(written, each)

    async def validate(self, written: Any) -> Verdict:
        """Return everything found in a document, well-formed or not."""
        return await self._where_it_fits([written], lambda: self._validate(written))

    async def apart(self, written: list[Any], work: Callable[..., T], *, beside: int = 0) -> T:
        """Return what a computation makes of the parsed documents. Raises `InvalidDefinition`.

        `beside` is how much it computes beside that, in nodes that could be compiled in the same time.
        """
        return await self._where_it_fits(written, lambda: work(*map(parse_document, written)), beside)

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _where_it_fits(self, written: list[Any], work: Callable[[], T], beside: int = 0) -> T:
        size = sum(map(document_size, written)) + beside
        if size <= SIZE_INLINE_MAX:
            return work()
        if self._pending and self._pending + size > PENDING_SIZE_MAX:
            raise Overloaded("too many large documents are being compiled just now", fields={"retry_after_s": 2})
        self._pending += size
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            self._pending -= size

    def _read(self, written: Any) -> Read:
        document, compiled = self._compiled(written)
        return Read(document, document.model_dump(mode="json"), [finding.as_dict() for finding in compiled.warnings])

    def _compiled(self, written: Any) -> tuple[Document, Compiled]:
        document = parse_document(written)
        return document, self._compiler.compile(document)

    def _read_or_error(self, written: Any) -> Read | InvalidDefinition:
        try:
            return self._read(written)
        except InvalidDefinition as error:
            return error

    def _validate(self, written: Any) -> Verdict:
        try:
            findings = self._compiler.validate(parse_document(written))
        except InvalidDefinition as error:
            return Verdict(valid=False, findings=error.fields["findings"])
        valid = all(finding.severity is not Severity.ERROR for finding in findings)
        return Verdict(valid=valid, findings=[finding.as_dict() for finding in findings[:FINDINGS_MAX]])


def document_size(written: Any) -> int:
    """Return how many nodes, or how many connections where there are more, a document has, before it is parsed."""
    if not isinstance(written, dict):
        return 0
    return max((len(value) for value in written.values() if isinstance(value, list)), default=0)
