"""Documents in PostgreSQL: their files, their state, and the revisions of their chunks."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from store.arrays import ints, texts, uuids
from store.collections import Collections
from store.engine import Pool
from store.outages import connection_of
from store.paging import Page, bounded
from workflow.errors import BadInput, Conflict, NotFound
from workflow.ids import derived_id
from workflow.knowledge import Document, DocumentFile, DocumentStatus, FileType, IndexedPassage
from workflow.values import storable

PART_BYTES = 4 * 1024 * 1024
NOT_INDEXED = "its execution has ended without indexing it"
FAILED = """d.status IN ('pending', 'processing') AND COALESCE(e.status IN ('completed', 'failed', 'cancelled', 'timeout'),
    d.updated_at < now() - interval '1 minute')"""
"""Whether the execution that was to index a document has ended without doing so, or is gone. It is written into the document's row only
when the execution is deleted (`store.deleting`)."""
STATUS = f"""CASE WHEN {FAILED} THEN 'failed'
    WHEN d.status = 'pending' AND e.status IN ('running', 'waiting', 'paused') THEN 'processing' ELSE d.status END"""
COLUMNS = f"""d.id, d.workspace_id, d.collection_id, d.name, {STATUS}, d.file_type,
    d.size_bytes, encode(d.sha256, 'hex'), d.chunk_count, d.page_count, d.tags, d.metadata::text,
    CASE WHEN {FAILED} THEN COALESCE(NULLIF(e.error_code, ''), 'not_indexed') ELSE d.error_code END,
    CASE WHEN {FAILED} THEN COALESCE(NULLIF(e.error_message, ''), '{NOT_INDEXED}')
        ELSE d.error_message END,
    d.execution_id,
    (extract(epoch FROM d.created_at) * 1000)::bigint, (extract(epoch FROM d.indexed_at) * 1000)::bigint, d.user_id"""
FROM = "FROM documents d LEFT JOIN executions e ON e.id = d.execution_id"
GET = f"SELECT {COLUMNS} {FROM} WHERE d.id = %(id)s AND d.workspace_id = %(workspace)s"
CREATE = """
INSERT INTO documents (id, workspace_id, collection_id, user_id, name, file_type, size_bytes, sha256, tags, metadata, effect_key,
    execution_id)
SELECT %(id)s, %(workspace)s, c.id, %(user)s, %(name)s, %(file_type)s, %(size)s, %(sha256)s, %(tags)s::text[], %(metadata)s::jsonb,
    %(effect_key)s, %(execution)s
FROM collections c WHERE c.id = %(collection)s AND c.workspace_id = %(workspace)s
ON CONFLICT DO NOTHING RETURNING id
"""
MADE_BEFORE = (
    "SELECT id FROM documents WHERE workspace_id = %(workspace)s AND (effect_key = %(effect_key)s OR id = %(id)s)"
)
PUT_PART = "INSERT INTO document_files (document_id, part, data) VALUES (%s, %s, %s)"
FILE = """
SELECT f.data FROM document_files f JOIN documents d ON d.id = f.document_id
WHERE f.document_id = %(id)s AND d.workspace_id = %(workspace)s ORDER BY f.part
"""
BEGIN = """
UPDATE documents SET revision = CASE WHEN execution_id = %(execution)s AND revision > live_revision THEN revision ELSE revision + 1 END,
    execution_id = %(execution)s, status = 'processing', error_code = '', error_message = '', updated_at = now()
WHERE id = %(id)s AND workspace_id = %(workspace)s RETURNING revision
"""
ADD = """
INSERT INTO document_chunks AS k (id, workspace_id, collection_id, document_id, revision, chunk_index, content, token_count, start_char,
    end_char, page_number, embedding, dimension, embedding_model)
SELECT v.id, d.workspace_id, d.collection_id, d.id, %(revision)s, v.place, v.content, v.tokens, v.first, v.last, v.page,
    v.vector::vector, %(dimension)s, c.embedding_model
FROM unnest(%(ids)s::uuid[], %(places)s::int[], %(contents)s::text[], %(tokens)s::int[], %(firsts)s::int[], %(lasts)s::int[],
    %(pages)s::int[], %(vectors)s::text[]) AS v (id, place, content, tokens, first, last, page, vector)
CROSS JOIN documents d JOIN collections c ON c.id = d.collection_id
WHERE d.id = %(id)s AND d.workspace_id = %(workspace)s AND d.revision = %(revision)s AND d.live_revision < d.revision
ORDER BY v.id
ON CONFLICT (document_id, revision, chunk_index) DO UPDATE SET content = EXCLUDED.content, token_count = EXCLUDED.token_count,
    start_char = EXCLUDED.start_char, end_char = EXCLUDED.end_char, page_number = EXCLUDED.page_number,
    embedding = EXCLUDED.embedding
RETURNING id
"""
COMPLETE = """
WITH done AS (
    UPDATE documents SET status = 'indexed', live_revision = %(revision)s, content_text = %(text)s, page_count = %(pages)s,
        chunk_count = (SELECT count(*) FROM document_chunks WHERE document_id = %(id)s AND revision = %(revision)s),
        indexed_at = now(), updated_at = now()
    WHERE id = %(id)s AND workspace_id = %(workspace)s AND revision = %(revision)s
    RETURNING id, chunk_count
), shown AS (
    UPDATE document_chunks k SET live = true FROM done WHERE k.document_id = done.id AND k.revision = %(revision)s AND NOT k.live
), gone AS (
    DELETE FROM document_chunks k USING done WHERE k.document_id = done.id AND k.revision <> %(revision)s
)
SELECT chunk_count FROM done
"""
UPDATE = """
UPDATE documents SET name = COALESCE(%(name)s, name), tags = COALESCE(%(tags)s::text[], tags),
    metadata = COALESCE(%(metadata)s::jsonb, metadata), updated_at = now()
WHERE id = %(id)s AND workspace_id = %(workspace)s RETURNING id
"""
ASSIGN = f"""
WITH former AS MATERIALIZED (
    SELECT d.id, d.status, d.execution_id, d.error_code, d.error_message, d.updated_at FROM documents d
    WHERE d.id = %(id)s AND d.workspace_id = %(workspace)s AND d.execution_id IS DISTINCT FROM %(execution)s
        AND (d.status IN ('indexed', 'failed')
            OR EXISTS (SELECT FROM (VALUES (1)) AS one LEFT JOIN executions e ON e.id = d.execution_id WHERE {FAILED}))
    FOR UPDATE
)
UPDATE documents d SET execution_id = %(execution)s, status = 'pending', error_code = '', error_message = '', updated_at = now()
FROM former f WHERE d.id = f.id RETURNING f.status, f.execution_id, f.error_code, f.error_message, f.updated_at
"""
UNTOUCHED = """id = %(id)s AND workspace_id = %(workspace)s AND execution_id = %(execution)s AND status = 'pending'
    AND NOT EXISTS (SELECT FROM executions WHERE id = %(execution)s)"""
"""Whether the execution that was to index a document has not come to be."""
UNASSIGN = f"""
UPDATE documents SET status = %(status)s, execution_id = %(former)s, error_code = %(code)s, error_message = %(message)s,
    updated_at = %(updated)s
WHERE {UNTOUCHED} RETURNING id
"""
DISCARD = f"DELETE FROM documents WHERE {UNTOUCHED} RETURNING id"
DELETE = "DELETE FROM documents WHERE id = %(id)s AND workspace_id = %(workspace)s RETURNING id"
LIST = f"""
SELECT {COLUMNS} {FROM}
WHERE d.workspace_id = %(workspace)s AND (%(before)s::uuid IS NULL OR d.id < %(before)s)
    AND (%(collection)s::uuid IS NULL OR d.collection_id = %(collection)s)
    AND (%(statuses)s::text[] IS NULL OR {STATUS} = ANY(%(statuses)s))
    AND (%(tags)s::text[] IS NULL OR d.tags @> %(tags)s)
    AND (%(text)s::text IS NULL OR strpos(lower(d.name), lower(%(text)s)) > 0)
ORDER BY d.id DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewDocument:
    """A document to keep, with its file."""

    id: UUID
    workspace_id: UUID
    collection_id: UUID
    name: str
    file_type: FileType
    content: bytes
    user_id: UUID | None = None
    tags: Sequence[str] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    effect_key: str | None = None
    execution_id: UUID | None = None
    """The execution that is to index it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Former:
    """How far a document was before it was to be indexed again."""

    status: str
    execution_id: UUID | None
    error_code: str
    error_message: str
    updated_at: datetime


class Documents:
    """Documents. Every method raises `StoreUnavailable` when the database does not answer."""

    def __init__(self, pool: Pool, collections: Collections) -> None:
        self._pool = pool
        self._collections = collections

    async def create(self, new: NewDocument) -> UUID:
        """Keep a document and its file, or find the one that was made under its id or effect key before. Raises `NotFound`."""
        parameters = {
            "id": new.id,
            "workspace": new.workspace_id,
            "collection": new.collection_id,
            "user": new.user_id,
            "name": storable(new.name),
            "file_type": new.file_type.value,
            "size": len(new.content),
            "sha256": hashlib.sha256(new.content).digest(),
            "tags": list(new.tags),
            "metadata": orjson.dumps(new.metadata).decode(),
            "effect_key": new.effect_key,
            "execution": new.execution_id,
        }
        async with connection_of(self._pool) as connection, connection.transaction():
            row = await (await connection.execute(CREATE, parameters)).fetchone()
            if row is None:
                row = await (await connection.execute(MADE_BEFORE, parameters)).fetchone()
                if row is not None:
                    return UUID(str(row[0]))
            if row is None:
                raise NotFound("there is no such collection", fields={"collection": str(new.collection_id)})
            for part, start in enumerate(range(0, len(new.content), PART_BYTES)):
                await connection.execute(PUT_PART, (new.id, part, new.content[start : start + PART_BYTES]))
        return new.id

    async def get(self, workspace_id: UUID, document_id: UUID) -> Document:
        """Return a document. Raises `NotFound`."""
        rows = await self._fetch(GET, workspace_id, document_id)
        return document_from(rows[0])

    async def file(self, workspace_id: UUID, document_id: UUID) -> DocumentFile:
        """Return a document's file. Raises `NotFound`."""
        document = await self.get(workspace_id, document_id)
        parameters = {"id": document_id, "workspace": workspace_id}
        async with connection_of(self._pool) as connection:
            rows = await (await connection.execute(FILE, parameters)).fetchall()
        content = b"".join(row[0] for row in rows)
        return DocumentFile(name=document.name, file_type=document.file_type, content=content)

    async def page(
        self,
        workspace_id: UUID,
        *,
        collection_id: UUID | None = None,
        statuses: Sequence[DocumentStatus] = (),
        tags: Sequence[str] = (),
        text: str = "",
        before: UUID | None = None,
        limit: int = 50,
    ) -> Page[Document]:
        """Return documents, newest first: of a collection, in one of these states, with all of these tags, with a text in the name."""
        count = bounded(limit)
        parameters = {
            "workspace": workspace_id,
            "before": before,
            "collection": collection_id,
            "statuses": [status.value for status in statuses] or None,
            "tags": list(tags) or None,
            "text": text or None,
            "limit": count + 1,
        }
        async with connection_of(self._pool) as connection:
            rows = await (await connection.execute(LIST, parameters)).fetchall()
        items = [document_from(row) for row in rows[:count]]
        return Page(items=items, next_before=items[-1].id if len(rows) > count else None)

    async def update(
        self,
        workspace_id: UUID,
        document_id: UUID,
        *,
        name: str | None,
        tags: Sequence[str] | None,
        metadata: Mapping[str, Any] | None,
    ) -> Document:
        """Change what is said of a document; None leaves it. Raises `NotFound`."""
        wanted: dict[str, Any] = {
            "name": None if name is None else storable(name),
            "tags": None if tags is None else list(tags),
            "metadata": None if metadata is None else orjson.dumps(metadata).decode(),
        }
        await self._fetch(UPDATE, workspace_id, document_id, **wanted)
        return await self.get(workspace_id, document_id)

    async def assign(self, workspace_id: UUID, document_id: UUID, execution_id: UUID) -> Former | None:
        """Name the execution that is to index a document again; return how far it was, None where it is named already.

        Raises `NotFound`, `Conflict` while another execution indexes it, or is to.
        """
        rows = await self._fetch(ASSIGN, workspace_id, document_id, missing=False, execution=execution_id)
        if rows:
            names = ("status", "execution_id", "error_code", "error_message", "updated_at")
            return Former(**dict(zip(names, rows[0], strict=True)))
        found = await self.get(workspace_id, document_id)
        if found.execution_id == execution_id:
            return None
        fields = {"state": found.status.value, "execution_id": str(found.execution_id)}
        raise Conflict(f"the document is {found.status.value} already", "document_under_way", fields)

    async def unassign(self, workspace_id: UUID, document_id: UUID, execution_id: UUID, former: Former) -> None:
        """Undo `assign`, where the execution has not come to be."""
        parameters = {
            "execution": execution_id,
            "former": former.execution_id,
            "status": former.status,
            "code": former.error_code,
            "message": former.error_message,
            "updated": former.updated_at,
        }
        await self._fetch(UNASSIGN, workspace_id, document_id, missing=False, **parameters)

    async def discard(self, workspace_id: UUID, document_id: UUID, execution_id: UUID) -> None:
        """Undo `create`, where the execution that was to index the document has not come to be."""
        await self._fetch(DISCARD, workspace_id, document_id, missing=False, execution=execution_id)

    async def delete(self, workspace_id: UUID, document_id: UUID) -> None:
        """Delete a document with its file, chunks and vectors. Raises `NotFound`."""
        await self._fetch(DELETE, workspace_id, document_id)

    async def begin(self, workspace_id: UUID, document_id: UUID, execution_id: UUID) -> int:
        """Begin the next revision of a document's chunks for an execution, or go on with its own. Raises `NotFound`."""
        return int((await self._fetch(BEGIN, workspace_id, document_id, execution=execution_id))[0][0])

    async def add(
        self, workspace_id: UUID, document_id: UUID, revision: int, passages: Sequence[IndexedPassage]
    ) -> None:
        """Add chunks to a revision. Raises `NotFound`, `Conflict` where another execution has begun a later one, `BadInput`."""
        if not passages:
            return
        document = await self.get(workspace_id, document_id)
        dimensions = {len(each.vector) for each in passages}
        if len(dimensions) > 1:
            raise BadInput(
                "the vectors have different lengths", "dimension_mismatch", {"dimensions": sorted(dimensions)}
            )
        (dimension,) = dimensions
        await self._collections.settle_dimension(document.collection_id, dimension)
        parameters = {
            "revision": revision,
            "dimension": dimension,
            "ids": uuids(derived_id(document_id, "chunk", str(revision), each.passage.index, 0) for each in passages),
            "places": ints(each.passage.index for each in passages),
            "contents": texts(storable(each.passage.content) for each in passages),
            "tokens": ints(each.passage.tokens for each in passages),
            "firsts": ints(each.passage.start for each in passages),
            "lasts": ints(each.passage.end for each in passages),
            "pages": ints(each.passage.page for each in passages),
            "vectors": texts(vector_text(each.vector) for each in passages),
        }
        rows = await self._fetch(ADD, workspace_id, document_id, missing=False, **parameters)
        if not rows:
            raise _overtaken(document_id, revision)

    async def complete(
        self, workspace_id: UUID, document_id: UUID, revision: int, *, text: str, pages: int | None
    ) -> int:
        """Let a revision be what is searched; how many chunks it has. Raises `NotFound`, `Conflict` as `add` does."""
        await self.get(workspace_id, document_id)
        parameters = {"revision": revision, "text": storable(text), "pages": pages}
        rows = await self._fetch(COMPLETE, workspace_id, document_id, missing=False, **parameters)
        if not rows:
            raise _overtaken(document_id, revision)
        return int(rows[0][0])

    async def _fetch(
        self, statement: str, workspace_id: UUID, document_id: UUID, *, missing: bool = True, **parameters: Any
    ) -> list[tuple[Any, ...]]:
        parameters |= {"id": document_id, "workspace": workspace_id}
        async with connection_of(self._pool) as connection:
            rows = await (await connection.execute(statement, parameters)).fetchall()
        if missing and not rows:
            raise NotFound("there is no such document", fields={"document_id": str(document_id)})
        return rows


def vector_text(vector: Sequence[float]) -> str:
    """Return a vector as PostgreSQL reads it."""
    return "[" + ",".join(format(value, ".7g") for value in vector) + "]"


def document_from(row: tuple[Any, ...]) -> Document:
    """Return the document that a row of `COLUMNS` describes."""
    return Document(
        id=row[0],
        workspace_id=row[1],
        collection_id=row[2],
        name=row[3],
        status=DocumentStatus(row[4]),
        file_type=FileType(row[5]),
        size_bytes=row[6],
        sha256=row[7],
        chunk_count=row[8],
        page_count=row[9],
        tags=row[10],
        metadata=orjson.loads(row[11]),
        error_code=row[12],
        error_message=row[13],
        execution_id=row[14],
        created_ms=row[15],
        indexed_ms=row[16],
        user_id=row[17],
    )


def _overtaken(document_id: UUID, revision: int) -> Conflict:
    fields = {"document_id": str(document_id), "revision": revision}
    return Conflict("another execution has begun to index this document anew", "document_overtaken", fields)
