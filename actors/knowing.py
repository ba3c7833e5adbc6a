"""The documents of a workspace, as the nodes of its executions and the routes of its people use them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from store.collections import DEFAULT_NAME, Collections
from store.documents import Documents, NewDocument
from store.engine import Pool
from store.searching import Searching
from workflow.errors import Conflict, NotFound
from workflow.knowledge import (
    Collection,
    DocumentFile,
    FileType,
    Hit,
    IndexedPassage,
    Knowledge,
    Search,
)

CHUNK_TOKENS, OVERLAP_TOKENS = 200, 30
"""What a collection's passages have where nobody says otherwise: they fit the window of small embedding models."""


class StoredDocuments:
    """The documents of all workspaces."""

    def __init__(self, pool: Pool, embedding_model: str, new_id: Callable[[], UUID]) -> None:
        self.collections = Collections(pool)
        self.documents = Documents(pool, self.collections)
        self.searching = Searching(pool)
        self.embedding_model = embedding_model
        self.new_id = new_id

    def of(self, workspace_id: UUID, user_id: UUID | None) -> Knowledge:
        """Return those of a workspace, for one of its users."""
        return WorkspaceDocuments(self, workspace_id, user_id)

    async def collection(self, workspace_id: UUID, name_or_id: str) -> Collection:
        """Return a collection; the default one, made where there is none, for an empty name. Raises `NotFound`."""
        if name_or_id:
            return await self.collections.named(workspace_id, name_or_id)
        try:
            return await self.collections.named(workspace_id, DEFAULT_NAME)
        except NotFound:
            pass
        try:
            return await self.collections.create(
                self.new_id(),
                workspace_id,
                DEFAULT_NAME,
                description="",
                embedding_model=self.embedding_model,
                chunk_tokens=CHUNK_TOKENS,
                overlap_tokens=OVERLAP_TOKENS,
            )
        except Conflict:  # somebody else made it at this moment
            return await self.collections.named(workspace_id, DEFAULT_NAME)


@dataclass(frozen=True, slots=True)
class WorkspaceDocuments:
    """`workflow.knowledge.Knowledge` over the store."""

    stored: StoredDocuments
    workspace_id: UUID
    user_id: UUID | None

    async def collection(self, name_or_id: str) -> Collection:
        """Return a collection by its id or name, the default one for an empty name."""
        return await self.stored.collection(self.workspace_id, name_or_id)

    async def file(self, document_id: UUID) -> DocumentFile:
        """Return a document's file."""
        return await self.stored.documents.file(self.workspace_id, document_id)

    async def put(self, collection_id: UUID, name: str, content: str, metadata: Mapping[str, Any], key: str) -> UUID:
        """Make a document of a text, or take the one that was made under this key; its id."""
        new = NewDocument(
            id=self.stored.new_id(),
            workspace_id=self.workspace_id,
            collection_id=collection_id,
            name=name,
            file_type=FileType.TXT,
            content=content.encode(),
            user_id=self.user_id,
            metadata=metadata,
            effect_key=key,
        )
        return await self.stored.documents.create(new)

    async def begin(self, document_id: UUID, execution_id: UUID) -> int:
        """Begin the next revision of a document's chunks, or go on with this execution's."""
        return await self.stored.documents.begin(self.workspace_id, document_id, execution_id)

    async def add(self, document_id: UUID, revision: int, passages: Sequence[IndexedPassage]) -> None:
        """Add chunks to a revision that is not complete."""
        await self.stored.documents.add(self.workspace_id, document_id, revision, passages)

    async def complete(self, document_id: UUID, revision: int, *, text: str, pages: int | None) -> int:
        """Let a revision be what is searched from now on; how many chunks it has."""
        return await self.stored.documents.complete(self.workspace_id, document_id, revision, text=text, pages=pages)

    async def search(self, search: Search) -> list[Hit]:
        """Return the best passages, best first."""
        return await self.stored.searching.search(self.workspace_id, search)
