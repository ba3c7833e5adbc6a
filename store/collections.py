"""Collections of documents in PostgreSQL, and the index that each dimension of vectors needs."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from psycopg import errors, sql

from store.engine import Pool
from store.outages import connection_of
from workflow.errors import BadInput, Conflict, NotFound
from workflow.knowledge import Collection
from workflow.labels import id_in

DIMENSION_MAX = 2_000
"""What pgvector's HNSW can index of `vector`."""
DEFAULT_NAME = "default"
COLUMNS = """c.id, c.workspace_id, c.name, c.description, c.embedding_model, c.dimension, c.chunk_tokens, c.overlap_tokens,
    (extract(epoch FROM c.created_at) * 1000)::bigint,
    (SELECT count(*) FROM documents d WHERE d.collection_id = c.id),
    (SELECT COALESCE(sum(d.chunk_count), 0) FROM documents d WHERE d.collection_id = c.id)"""
GET = f"SELECT {COLUMNS} FROM collections c WHERE c.workspace_id = %(workspace)s AND c.id = %(id)s"
NAMED = f"""
SELECT {COLUMNS} FROM collections c WHERE c.workspace_id = %(workspace)s AND (c.id = %(id)s OR c.name = %(name)s)
ORDER BY (c.id = %(id)s) IS TRUE DESC LIMIT 1
"""
"""One may be named with the id of another: the id wins."""
LIST = f"SELECT {COLUMNS} FROM collections c WHERE c.workspace_id = %(workspace)s ORDER BY c.name, c.id LIMIT 1000"
CREATE = """
INSERT INTO collections AS c (id, workspace_id, name, description, embedding_model, chunk_tokens, overlap_tokens)
VALUES (%(id)s, %(workspace)s, %(name)s, %(description)s, %(model)s, %(chunk_tokens)s, %(overlap_tokens)s)
ON CONFLICT (workspace_id, name) DO NOTHING RETURNING id
"""
SETTLE = """
UPDATE collections SET dimension = %(dimension)s WHERE id = %(id)s AND dimension IN (0, %(dimension)s) RETURNING dimension
"""
DELETE = "DELETE FROM collections WHERE id = %(id)s AND workspace_id = %(workspace)s"


class Collections:
    """Collections. Every method raises `StoreUnavailable` when the database does not answer."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._indexed = {384}

    async def get(self, workspace_id: UUID, collection_id: UUID) -> Collection:
        """Return a collection. Raises `NotFound`."""
        found = await self._fetch(GET, {"workspace": workspace_id, "id": collection_id})
        if not found:
            raise NotFound("there is no such collection", fields={"collection": str(collection_id)})
        return _collection(found[0])

    async def named(self, workspace_id: UUID, name_or_id: str) -> Collection:
        """Return the collection of an id, else the one of a name. Raises `NotFound`."""
        found = await self._fetch(NAMED, {"workspace": workspace_id, "id": id_in(name_or_id), "name": name_or_id})
        if not found:
            raise NotFound("there is no such collection", fields={"collection": name_or_id})
        return _collection(found[0])

    async def all(self, workspace_id: UUID) -> list[Collection]:
        """Return a workspace's collections by name."""
        return [_collection(row) for row in await self._fetch(LIST, {"workspace": workspace_id})]

    async def create(
        self,
        identity: UUID,
        workspace_id: UUID,
        name: str,
        *,
        description: str,
        embedding_model: str,
        chunk_tokens: int,
        overlap_tokens: int,
    ) -> Collection:
        """Make a collection. Raises `Conflict` where there is one of that name."""
        parameters = {
            "id": identity,
            "workspace": workspace_id,
            "name": name,
            "description": description,
            "model": embedding_model,
            "chunk_tokens": chunk_tokens,
            "overlap_tokens": overlap_tokens,
        }
        if not await self._fetch(CREATE, parameters):
            raise Conflict(f"there is a collection {name!r} already", "collection_exists", {"name": name})
        return await self.get(workspace_id, identity)

    async def delete(self, workspace_id: UUID, collection_id: UUID) -> None:
        """Delete an empty collection. Raises `NotFound`, `Conflict` where it has documents."""
        collection = await self.get(workspace_id, collection_id)
        try:
            async with connection_of(self._pool) as connection:
                await connection.execute(DELETE, {"workspace": workspace_id, "id": collection.id})
        except errors.ForeignKeyViolation as error:
            fields = {"documents": collection.document_count}
            raise Conflict("the collection has documents", "collection_not_empty", fields) from error

    async def settle_dimension(self, collection_id: UUID, dimension: int) -> None:
        """Let the first vectors decide the dimension of all, and see to its index. Raises `BadInput` where another one was decided."""
        if not 0 < dimension <= DIMENSION_MAX:
            message = f"vectors of {dimension} numbers cannot be indexed; up to {DIMENSION_MAX} can"
            raise BadInput(message, "dimension_unsupported", {"dimension": dimension})
        if not await self._fetch(SETTLE, {"id": collection_id, "dimension": dimension}):
            message = (
                f"the collection holds vectors of another dimension than {dimension}: it was embedded by another model"
            )
            raise BadInput(message, "dimension_mismatch", {"dimension": dimension})
        if dimension not in self._indexed:
            await self._index(dimension)
            self._indexed.add(dimension)

    async def _index(self, dimension: int) -> None:
        statement = sql.SQL(
            "CREATE INDEX IF NOT EXISTS {} ON document_chunks USING hnsw ((embedding::vector({})) vector_cosine_ops) "
            "WHERE dimension = {}"
        ).format(sql.Identifier(f"document_chunks_hnsw_{dimension}"), sql.Literal(dimension), sql.Literal(dimension))
        async with connection_of(self._pool) as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(hashtext('rayloom vector index'))")
            await connection.execute(statement)

    async def _fetch(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        async with connection_of(self._pool) as connection:
            return await (await connection.execute(statement, parameters)).fetchall()


def _collection(row: tuple[Any, ...]) -> Collection:
    names = (
        "id",
        "workspace_id",
        "name",
        "description",
        "embedding_model",
        "dimension",
        "chunk_tokens",
        "overlap_tokens",
    )
    return Collection(
        **dict(zip(names, row[:8], strict=True)), created_ms=row[8], document_count=row[9], chunk_count=row[10]
    )
