"""Documents, their chunks and how they are searched: values and ports.

A document has a file, or the text that a workflow gave. Indexing it makes a next revision of chunks; the revision before is what is
searched until the next one is complete, so a document is never half there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID

from workflow.errors import NodeError

TOP_K_MAX = 50
NAME_CHARS_MAX = 255
TEXT_CHARS_MAX = 50 * 1024 * 1024
"""Of a document: the text of the largest file that can be uploaded, were each byte a character."""


class FileType(StrEnum):
    """What a document's file is, by its content."""

    PDF = "pdf"
    TXT = "txt"
    MD = "md"
    DOCX = "docx"
    CSV = "csv"
    JSON = "json"
    HTML = "html"


class DocumentStatus(StrEnum):
    """How far a document is. A document that was indexed once stays searchable while it is indexed again, and when that fails."""

    PENDING = "pending"
    PROCESSING = "processing"
    INDEXED = "indexed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """Documents that are searched together, embedded by one model."""

    id: UUID
    workspace_id: UUID
    name: str
    description: str
    embedding_model: str
    dimension: int
    chunk_tokens: int
    overlap_tokens: int
    created_ms: int
    document_count: int = 0
    chunk_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document as anybody in its workspace sees it."""

    id: UUID
    workspace_id: UUID
    collection_id: UUID
    name: str
    file_type: FileType
    status: DocumentStatus
    size_bytes: int
    sha256: str
    chunk_count: int
    page_count: int | None
    tags: Sequence[str]
    metadata: Mapping[str, Any]
    error_code: str
    error_message: str
    execution_id: UUID | None
    created_ms: int
    indexed_ms: int | None
    user_id: UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFile:
    """A document's content as it was given."""

    name: str
    file_type: FileType
    content: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """The text of a page; `number` counts from 1, None where the file has no pages."""

    number: int | None
    text: str


@dataclass(frozen=True, slots=True)
class ReadFile:
    """A file as text."""

    pages: tuple[Page, ...]
    page_count: int | None


class Files(Protocol):
    """Reads files."""

    async def read(self, kind: FileType, content: bytes, timeout_ms: int) -> ReadFile:
        """Return the text of a file. Raises `NodeError`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A piece of a document's text: characters `start` to `end`, on which page, and how many tokens.

    Of a passage that is kept, the text is the one that is kept with the document (`nodes.passages.joined`).
    """

    index: int
    content: str
    start: int
    end: int
    tokens: int
    page: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedPassage:
    """A passage with its vector."""

    passage: Passage
    vector: Sequence[float]


class SearchMode(StrEnum):
    """How passages are found."""

    VECTOR = "vector"
    """By meaning: the nearest vectors."""
    TEXT = "text"
    """By words."""
    HYBRID = "hybrid"
    """By both, their ranks fused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is looked for, and where. Filters hold inside of the search: what they refuse takes no place among the results.

    `metadata` must be contained in a document's; `min_score` is of the cosine, from -1 to 1, and holds where vectors are compared.
    With `diversity` above 0, passages that say the same again give way (maximal marginal relevance).
    """

    text: str
    vector: Sequence[float] = ()
    mode: SearchMode = SearchMode.HYBRID
    top_k: int = 5
    min_score: float | None = None
    collection_ids: Sequence[UUID] = ()
    document_ids: Sequence[UUID] = ()
    tags: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    diversity: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A passage that was found. `score` orders the hits; `cosine` and `words` are what it was made of, where they are known."""

    chunk_id: UUID
    document_id: UUID
    document_name: str
    collection_id: UUID
    passage: Passage
    score: float
    cosine: float | None = None
    words: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[str] = ()

    def as_json(self) -> dict[str, Any]:
        """Return it as nodes and the API give it."""
        return {
            "chunk_id": str(self.chunk_id),
            "document_id": str(self.document_id),
            "document_name": self.document_name,
            "collection_id": str(self.collection_id),
            "chunk_index": self.passage.index,
            "content": self.passage.content,
            "page": self.passage.page,
            "start": self.passage.start,
            "end": self.passage.end,
            "score": self.score,
            "cosine": self.cosine,
            "words": self.words,
            "metadata": dict(self.metadata),
            "tags": list(self.tags),
        }


class Knowledge(Protocol):
    """The documents of one workspace, for nodes. Every method raises `StoreUnavailable`; what is not there raises `NotFound`."""

    async def collection(self, name_or_id: str) -> Collection:
        """Return a collection by its id or its name; the default one, made where there is none, for an empty name."""
        ...

    async def file(self, document_id: UUID) -> DocumentFile:
        """Return a document's file."""
        ...

    async def put(self, collection_id: UUID, name: str, content: str, metadata: Mapping[str, Any], key: str) -> UUID:
        """Make a document of a text, or take the one that was made under this key; its id."""
        ...

    async def begin(self, document_id: UUID, execution_id: UUID) -> int:
        """Begin the next revision of a document's chunks for an execution, or go on with the one that it has begun; its number."""
        ...

    async def add(self, document_id: UUID, revision: int, passages: Sequence[IndexedPassage]) -> None:
        """Add chunks to a revision that is not complete; one that is there already is replaced."""
        ...

    async def complete(self, document_id: UUID, revision: int, *, text: str, pages: int | None) -> int:
        """Let a revision be what is searched from now on; how many chunks it has. The ones before go."""
        ...

    async def search(self, search: Search) -> list[Hit]:
        """Return the best passages, best first."""
        ...


class NoKnowledge:
    """Stands where there are no documents: where an execution runs by itself, without an instance around it."""

    async def _refuse(self, *_arguments: Any, **_options: Any) -> Any:
        raise NodeError("there are no documents here: this needs an instance", "needs_instance", {"retryable": False})

    collection = file = put = begin = add = complete = search = _refuse
