"""Reading and compiling documents off the event loop: a large graph must not hold up other requests.

Parsing and writing back a document cost about a quarter of compiling it, so all of it goes to the thread. There is one thread: each
more that computes would take the interpreter's lock from the loop for another 5 ms at a time.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from uuid import UUID

from serve_app.calling import CallChecks
from workflow.compile import FINDINGS_MAX, Compiled, Compiler, refused
from workflow.document import Document, parse_document
from workflow.errors import InvalidDefinition, Overloaded
from workflow.findings import Finding, Severity
from workflow.sub_workflows import Call

T = TypeVar("T")

SIZE_INLINE_MAX = 20
"""A document as small as this compiles in about a millisecond, less than it costs to go to a thread and back under load."""

PENDING_SIZE_MAX = 100_000
"""Nodes that may wait for the thread at once: about four seconds of work, while more would only wait longer."""


@dataclass(frozen=True, slots=True)
class Read:
    """A document that compiles: as it was parsed, as it is stored, with what warnings, and what it executes."""

    document: Document
    stored: dict[str, Any]
    warnings: list[dict[str, str]]
    calls: Sequence[Call]

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

    Every method raises `Overloaded` for a large document while too many of them wait. What is to be stored, or might be, is also held
    against the workflows of its workspace that it executes; those methods raise `StoreUnavailable`, too. `own` is the workflow that the
    document is a version of, if it is one already.
    """

    def __init__(self, compiler: Compiler, checks: CallChecks) -> None:
        self._compiler = compiler
        self._checks = checks
        self._pending = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="compile")

    async def read(self, written: Any, workspace_id: UUID, own: UUID | None = None) -> Read:
        """Return the document, parsed and compiled. Raises `InvalidDefinition`."""
        read = await self._where_it_fits([written], lambda: self._read(written))
        (judged,) = await self._judged([written], [read], workspace_id, own)
        if isinstance(judged, InvalidDefinition):
            raise judged
        return judged

    async def compiled(self, written: Any) -> Document:
        """Return the document, which compiles, for those who do not store it. Raises `InvalidDefinition`."""
        return await self._where_it_fits([written], lambda: self._compiled(written)[0])

    async def read_all(self, written: list[Any], workspace_id: UUID) -> list[Read | InvalidDefinition]:
        """Return each document, or what is wrong with it."""

        def each() -> list[Read | InvalidDefinition]:
            return [self._read_or_error(one) for one in written]

        return await self._judged(written, await self._where_it_fits(written, each), workspace_id, None)

    async def validate(self, written: Any, workspace_id: UUID, own: UUID | None = None) -> Verdict:
        """Return everything found in a document, well-formed or not."""
        try:
            findings, calls = await self._where_it_fits([written], lambda: self._validate(written))
        except InvalidDefinition as error:
            return Verdict(valid=False, findings=error.fields["findings"])
        judge = await self._checks.judge(workspace_id, own, calls)
        findings += await self._where_it_fits([written], lambda: judge(calls))
        findings.sort(key=lambda finding: finding.severity is not Severity.ERROR)
        valid = all(finding.severity is not Severity.ERROR for finding in findings)
        return Verdict(valid=valid, findings=[finding.as_dict() for finding in findings[:FINDINGS_MAX]])

    async def apart(self, written: list[Any], work: Callable[..., T], *, beside: int = 0) -> T:
        """Return what a computation makes of the parsed documents. Raises `InvalidDefinition`.

        `beside` is how much it computes beside that, in nodes that could be compiled in the same time.
        """
        return await self._where_it_fits(written, lambda: work(*map(parse_document, written)), beside)

    async def shown(self, definition: Mapping[str, Any], show: Callable[[dict[str, Any]], T]) -> T:
        """Return what is made of a stored document, which is not parsed."""
        return await self._where_it_fits([definition], lambda: show(dict(definition)))

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

    async def _judged(
        self, written: list[Any], found: Sequence[Read | InvalidDefinition], workspace_id: UUID, own: UUID | None
    ) -> list[Read | InvalidDefinition]:
        """Hold what was read against what it executes, with one look at all of that."""
        calls = [call for one in found if isinstance(one, Read) for call in one.calls]
        if not calls:
            return list(found)
        judge = await self._checks.judge(workspace_id, own, calls)

        def each() -> list[Read | InvalidDefinition]:
            return [_with(one, judge(one.calls)) if isinstance(one, Read) else one for one in found]

        return await self._where_it_fits(written, each)

    def _read(self, written: Any) -> Read:
        document, compiled = self._compiled(written)
        warnings = [finding.as_dict() for finding in compiled.warnings]
        return Read(document, document.model_dump(mode="json"), warnings, self._checks.calls_of(document))

    def _compiled(self, written: Any) -> tuple[Document, Compiled]:
        document = parse_document(written)
        return document, self._compiler.compile(document)

    def _read_or_error(self, written: Any) -> Read | InvalidDefinition:
        try:
            return self._read(written)
        except InvalidDefinition as error:
            return error

    def _validate(self, written: Any) -> tuple[list[Finding], list[Call]]:
        document = parse_document(written)
        return self._compiler.validate(document), self._checks.calls_of(document)


def _with(read: Read, findings: list[Finding]) -> Read | InvalidDefinition:
    if any(finding.severity is Severity.ERROR for finding in findings):
        return refused(findings)
    return replace(read, warnings=[*read.warnings, *(finding.as_dict() for finding in findings)])


def document_size(written: Any) -> int:
    """Return how many nodes, or how many connections where there are more, a document has, before it is parsed."""
    if not isinstance(written, dict):
        return 0
    return max((len(value) for value in written.values() if isinstance(value, list)), default=0)
