"""`workflow.blobs.Blobs` in PostgreSQL, and who names what: the table of references that every implementation relies on.

A put locks its rows of `blobs` until its references are committed with them; a sweep removes only rows that it could lock and
that nobody has touched within the grace. So content is never removed under a put that found it there.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from store.arrays import bigints, ints
from store.arrays import blobs as byte_strings
from store.engine import Pool
from store.outages import connection_of
from workflow.blobs import Blobs

CHUNK_BYTES = 4 * 1024 * 1024
"""A larger content is cut, so that neither side holds several copies of all of it."""
NAMES_AT_ONCE = 16
SWEPT_AT_ONCE = 500

NAME = """
INSERT INTO blob_references (execution_id, sha256, workspace_id)
SELECT %(execution)s, v.sha256, %(workspace)s FROM unnest(%(names)s::bytea[]) AS v (sha256)
ON CONFLICT DO NOTHING
"""

TOUCH = """
INSERT INTO blobs (workspace_id, sha256, bytes, touched_at)
SELECT %(workspace)s, v.sha256, v.bytes, clock_timestamp()
FROM unnest(%(names)s::bytea[], %(sizes)s::bigint[]) AS v (sha256, bytes)
ON CONFLICT (workspace_id, sha256) DO UPDATE SET touched_at = EXCLUDED.touched_at
RETURNING sha256, xmax = 0
"""
"""Lock the rows, sorted by name, and tell which are new: only theirs is the content still to be written."""

WRITE = """
INSERT INTO blob_chunks (workspace_id, sha256, place, content)
SELECT %(workspace)s, v.sha256, v.place, v.content
FROM unnest(%(names)s::bytea[], %(places)s::int[], %(contents)s::bytea[]) AS v (sha256, place, content)
"""

READ = """
SELECT c.sha256, c.content FROM unnest(%(names)s::bytea[]) AS v (sha256)
JOIN blob_chunks c ON c.workspace_id = %(workspace)s AND c.sha256 = v.sha256
ORDER BY c.sha256, c.place
"""

UNNAMED = """
SELECT v.sha256 FROM unnest(%(names)s::bytea[]) AS v (sha256)
WHERE NOT EXISTS (SELECT FROM blob_references r WHERE r.workspace_id = %(workspace)s AND r.sha256 = v.sha256)
"""

FORGET = """
DELETE FROM blob_references r
WHERE r.created_at < clock_timestamp() - %(grace_ms)s::bigint * interval '1 millisecond'
    AND NOT EXISTS (SELECT FROM executions e WHERE e.id = r.execution_id)
"""
"""Drop the references of executions that were never accepted, or whose month was dropped."""

SWEEP = """
WITH old AS MATERIALIZED (
    SELECT b.workspace_id, b.sha256 FROM blobs b
    WHERE b.touched_at < clock_timestamp() - %(grace_ms)s::bigint * interval '1 millisecond'
        AND NOT EXISTS (SELECT FROM blob_references r WHERE r.workspace_id = b.workspace_id AND r.sha256 = b.sha256)
    ORDER BY b.touched_at LIMIT %(limit)s FOR UPDATE OF b SKIP LOCKED
), gone AS (
    DELETE FROM blobs b USING old o WHERE b.workspace_id = o.workspace_id AND b.sha256 = o.sha256
), emptied AS (
    DELETE FROM blob_chunks c USING old o WHERE c.workspace_id = o.workspace_id AND c.sha256 = o.sha256
)
SELECT count(*) FROM old
"""


class References(Protocol):
    """Who names what. Every method raises `StoreUnavailable` when the database does not answer."""

    async def add(self, workspace_id: UUID, execution_id: UUID, names: Sequence[bytes]) -> None:
        """Let an execution name contents. Durable when it returns."""
        ...

    async def unnamed(self, workspace_id: UUID, names: Sequence[bytes]) -> list[bytes]:
        """Return those of the names that no execution names."""
        ...

    async def forget(self, grace_ms: int) -> None:
        """Drop the references, older than the grace, of executions that are not there."""
        ...


class PostgresReferences:
    """References in PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, workspace_id: UUID, execution_id: UUID, names: Sequence[bytes]) -> None:
        """Let an execution name contents."""
        async with connection_of(self._pool) as connection:
            await connection.execute(NAME, _naming(workspace_id, execution_id, sorted(names)))

    async def unnamed(self, workspace_id: UUID, names: Sequence[bytes]) -> list[bytes]:
        """Return those of the names that no execution names."""
        async with connection_of(self._pool) as connection:
            found = await connection.execute(UNNAMED, {"workspace": workspace_id, "names": byte_strings(names)})
            return [bytes(name) for (name,) in await found.fetchall()]

    async def forget(self, grace_ms: int) -> None:
        """Drop the references, older than the grace, of executions that are not there."""
        async with connection_of(self._pool) as connection:
            await connection.execute(FORGET, {"grace_ms": grace_ms})


class PostgresBlobs:
    """Blobs in PostgreSQL."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._references = PostgresReferences(pool)

    async def put(self, workspace_id: UUID, execution_id: UUID, contents: Mapping[bytes, bytes]) -> None:
        """Keep contents for an execution, in one transaction."""
        names = sorted(contents)
        sizes = bigints(len(contents[name]) for name in names)
        async with connection_of(self._pool) as connection, connection.transaction():
            await connection.execute(NAME, _naming(workspace_id, execution_id, names))
            touched = await connection.execute(
                TOUCH, {"workspace": workspace_id, "names": byte_strings(names), "sizes": sizes}
            )
            fresh = sorted(bytes(name) for name, new in await touched.fetchall() if new)
            for batch in _chunks([(name, contents[name]) for name in fresh]):
                await connection.execute(WRITE, {"workspace": workspace_id, **_columns(batch)})

    async def get(self, workspace_id: UUID, names: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return contents by sha256; what is not there is absent."""
        wanted = sorted(set(names))
        parts: dict[bytes, list[bytes]] = {}
        async with connection_of(self._pool) as connection:
            for start in range(0, len(wanted), NAMES_AT_ONCE):
                some = byte_strings(wanted[start : start + NAMES_AT_ONCE])
                found = await connection.execute(READ, {"workspace": workspace_id, "names": some}, binary=True)
                for name, content in await found.fetchall():
                    parts.setdefault(bytes(name), []).append(content)
        return {name: bytes(chunks[0]) if len(chunks) == 1 else b"".join(chunks) for name, chunks in parts.items()}

    async def sweep(self, grace_ms: int) -> int:
        """Remove what no execution names any more and nobody has put within the grace, in batches."""
        await self._references.forget(grace_ms)
        total = 0
        while True:
            async with connection_of(self._pool) as connection:
                done = await connection.execute(SWEEP, {"grace_ms": grace_ms, "limit": SWEPT_AT_ONCE})
                count: int = (await done.fetchall())[0][0]
            total += count
            if count < SWEPT_AT_ONCE:
                return total


def make_blobs(pool: Pool, folder: str) -> Blobs:
    """Return the blob store of a process: files in a folder of this host, or without one PostgreSQL."""
    if not folder:
        return PostgresBlobs(pool)
    from store.blob_files import FileBlobs

    return FileBlobs(Path(folder), PostgresReferences(pool))


def _naming(workspace_id: UUID, execution_id: UUID, names: Sequence[bytes]) -> dict[str, Any]:
    return {"workspace": workspace_id, "execution": execution_id, "names": byte_strings(names)}


def _chunks(contents: Sequence[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, int, bytes]]]:
    """Cut contents, and give as many chunks at once as one statement should carry."""
    batch: list[tuple[bytes, int, bytes]] = []
    size = 0
    for name, content in contents:
        for place, start in enumerate(range(0, max(1, len(content)), CHUNK_BYTES)):
            chunk = content[start : start + CHUNK_BYTES]
            if batch and size + len(chunk) > CHUNK_BYTES:
                yield batch
                batch, size = [], 0
            batch.append((name, place, chunk))
            size += len(chunk)
    if batch:
        yield batch


def _columns(batch: Sequence[tuple[bytes, int, bytes]]) -> dict[str, Any]:
    return {
        "names": byte_strings(name for name, _, _ in batch),
        "places": ints(place for _, place, _ in batch),
        "contents": byte_strings(chunk for _, _, chunk in batch),
    }
