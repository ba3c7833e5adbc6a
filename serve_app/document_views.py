"""The models of what is answered about collections, documents and what was found in them, and how the answers are written."""

from datetime import datetime
from typing import Any
from uuid import UUID

from serve_app.models import Described
from serve_app.views import iso
from workflow.knowledge import Collection, Document, DocumentStatus, FileType


class CollectionOut(Described):
    """Documents that are searched together."""

    id: UUID
    """the collection's id"""
    name: str
    """its name"""
    description: str
    """what is said of it"""
    embedding_model: str
    """the model that embeds its passages"""
    dimension: int
    """how long its vectors are; 0 before there are any"""
    chunk_tokens: int
    """the longest passage, in tokens"""
    overlap_tokens: int
    """how many tokens of a passage the next one begins with"""
    document_count: int
    """how many documents it has"""
    chunk_count: int
    """how many passages are searched"""
    created_at: datetime
    """when it was made"""


class CollectionsOut(Described):
    """The collections of a workspace."""

    items: list[CollectionOut]
    """by name"""
    next_cursor: str | None
    """always null: they are all there"""


class DocumentErrorOut(Described):
    """Why a document could not be indexed."""

    code: str
    """what it is; stable"""
    message: str
    """a sentence for people"""


class DocumentOut(Described):
    """A document."""

    id: UUID
    """the document's id"""
    collection_id: UUID
    """its collection"""
    name: str
    """its name"""
    file_type: FileType
    """what it is, by its content"""
    status: DocumentStatus
    """how far it is"""
    size_bytes: int
    """the size of its file"""
    sha256: str
    """of its file"""
    chunk_count: int
    """how many of its passages are searched"""
    page_count: int | None
    """how many pages it has; null where it has none"""
    tags: list[str]
    """its tags"""
    metadata: dict[str, Any]
    """what is said of it"""
    error: DocumentErrorOut | None
    """why it could not be indexed"""
    execution_id: UUID | None
    """the execution that indexes it, or has: its events tell how far it is"""
    created_at: datetime
    """when it was uploaded"""
    indexed_at: datetime | None
    """when it was indexed last"""


class DocumentsOut(Described):
    """A page of documents."""

    items: list[DocumentOut]
    """newest first"""
    next_cursor: str | None
    """asks for the page after this one"""


class HitOut(Described):
    """A passage that was found."""

    chunk_id: UUID
    """the passage's id"""
    document_id: UUID
    """its document"""
    document_name: str
    """the document's name"""
    collection_id: UUID
    """its collection"""
    chunk_index: int
    """which passage of the document it is"""
    content: str
    """its text"""
    page: int | None
    """the page that it stands on"""
    start: int
    """where it begins in the document's text, in characters"""
    end: int
    """where it ends"""
    score: float
    """what the order is by; of one search only"""
    cosine: float | None
    """how near its vector is to the question's, where vectors were compared"""
    words: float | None
    """its BM25 score, where words were compared"""
    metadata: dict[str, Any]
    """the document's"""
    tags: list[str]
    """the document's"""


class HitsOut(Described):
    """What was found."""

    items: list[HitOut]
    """best first"""


class UsageOut(Described):
    """Tokens that a model read and wrote."""

    prompt: int
    """tokens read"""
    completion: int
    """tokens written"""
    total: int
    """both"""
    estimated: bool
    """whether the provider did not count, and this is an estimate"""


class SourceOut(HitOut):
    """A passage that the answer was made from."""

    number: int
    """its number in the answer"""
    cited: bool
    """whether the answer cites it"""


class AnswerOut(Described):
    """An answer from documents."""

    content: str
    """the answer, with numbers of sources in brackets"""
    model: str
    """the model that wrote it; empty where nothing was found, and none was asked"""
    provider: str
    """the model's provider"""
    usage: UsageOut
    """what it used"""
    finish_reason: str
    """why the model stopped"""
    sources: list[SourceOut]
    """what it was made from"""
    execution_id: UUID
    """the execution that answered"""


def collection_view(found: Collection) -> dict[str, Any]:
    """Return a collection as it is shown."""
    return {
        "id": str(found.id),
        "name": found.name,
        "description": found.description,
        "embedding_model": found.embedding_model,
        "dimension": found.dimension,
        "chunk_tokens": found.chunk_tokens,
        "overlap_tokens": found.overlap_tokens,
        "document_count": found.document_count,
        "chunk_count": found.chunk_count,
        "created_at": iso(found.created_ms),
    }


def document_view(found: Document) -> dict[str, Any]:
    """Return a document as it is shown."""
    error = {"code": found.error_code, "message": found.error_message} if found.error_code else None
    return {
        "id": str(found.id),
        "collection_id": str(found.collection_id),
        "name": found.name,
        "file_type": found.file_type.value,
        "status": found.status.value,
        "size_bytes": found.size_bytes,
        "sha256": found.sha256,
        "chunk_count": found.chunk_count,
        "page_count": found.page_count,
        "tags": list(found.tags),
        "metadata": dict(found.metadata),
        "error": error,
        "execution_id": None if found.execution_id is None else str(found.execution_id),
        "created_at": iso(found.created_ms),
        "indexed_at": iso(found.indexed_ms),
    }
