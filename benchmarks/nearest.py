"""Nearest passages in PostgreSQL: 50,000 of them in clusters, a filter that keeps one in a hundred, and the truth to compare with."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any
from uuid import UUID

import numpy as np
import psycopg

from actors.ids import new_id
from actors.knowing import StoredDocuments
from benchmarks.figures import median
from store.documents import vector_text
from store.engine import StoreConfig, make_pool
from workflow.knowledge import Search, SearchMode

COUNT, DIMENSION, CLUSTERS, TOP = 50_000, 384, 500, 10
DOCUMENTS = 1_000
KEPT = 10
"""So many documents have the tag that is filtered by: one in a hundred."""
TAG = "kept"
QUERIES = 100
SPREAD = 0.6
BATCH = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Recall@10 and the median time of a search in milliseconds, with the filter and without."""

    filtered_recall: float
    filtered_ms: float
    whole_recall: float
    whole_ms: float

    def as_json(self) -> dict[str, float]:
        """Return it as JSON."""
        return asdict(self)


class Passages:
    """Makes the passages in a workspace and searches them."""

    def __init__(self, dsn: str, workspace_id: UUID) -> None:
        self._dsn = dsn
        self._workspace_id = workspace_id

    async def measure(self, rounds: int) -> Found:
        """Return what the searches find and take."""
        random = np.random.default_rng(7)
        centers = _normed(random.standard_normal((CLUSTERS, DIMENSION)))
        rows = _normed(centers[random.integers(CLUSTERS, size=COUNT)] + SPREAD * _noise(random, COUNT))
        queries = _normed(centers[random.integers(CLUSTERS, size=QUERIES)] + SPREAD * _noise(random, QUERIES))
        pool = make_pool(StoreConfig(dsn=self._dsn, application_name="bench", pool_size_min=1))
        await pool.open()
        try:
            stored = StoredDocuments(pool, "bench", new_id)
            collection = await stored.collections.create(
                new_id(),
                self._workspace_id,
                f"nearest-{new_id().hex[:8]}",
                description="",
                embedding_model="bench",
                chunk_tokens=200,
                overlap_tokens=0,
            )
            kept = self._fill(collection.id, rows)
            figures = {}
            for name, tags, among in (("filtered", [TAG], kept), ("whole", [], np.arange(COUNT))):
                truth = [set(among[np.argsort(-(rows[among] @ query))[:TOP]]) for query in queries]
                recalls, times_ms = [], []
                for _ in range(rounds):
                    for query, wanted in zip(queries, truth, strict=True):
                        search = Search(
                            text="",
                            vector=query.tolist(),
                            mode=SearchMode.VECTOR,
                            top_k=TOP,
                            collection_ids=[collection.id],
                            tags=tags,
                        )
                        began_s = perf_counter()
                        hits = await stored.searching.search(self._workspace_id, search)
                        times_ms.append((perf_counter() - began_s) * 1000)
                        recalls.append(len({int(hit.passage.content) for hit in hits} & wanted) / TOP)
                figures[f"{name}_recall"] = float(np.mean(recalls))
                figures[f"{name}_ms"] = median(times_ms)
            return Found(**figures)
        finally:
            await pool.close()

    def _fill(self, collection_id: UUID, rows: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
        """Insert the passages, and return which of them the filter keeps."""
        documents = [new_id() for _ in range(DOCUMENTS)]
        belongs = np.arange(COUNT) % DOCUMENTS
        with psycopg.connect(self._dsn) as connection, connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO documents (id, workspace_id, collection_id, name, file_type, status, size_bytes, sha256, tags, revision, "
                "live_revision) VALUES (%s, %s, %s, %s, 'txt', 'indexed', 1, '', %s, 1, 1)",
                [
                    (identity, self._workspace_id, collection_id, f"d{number}", [TAG] if number < KEPT else [])
                    for number, identity in enumerate(documents)
                ],
            )
            for begin in range(0, COUNT, BATCH):
                cursor.executemany(*self._chunks(collection_id, documents, belongs, rows, range(begin, begin + BATCH)))
            connection.commit()
            connection.autocommit = True
            cursor.execute("ANALYZE document_chunks")
        return np.flatnonzero(belongs < KEPT)

    def _chunks(
        self,
        collection_id: UUID,
        documents: Sequence[UUID],
        belongs: "np.ndarray[Any, Any]",
        rows: "np.ndarray[Any, Any]",
        places: range,
    ) -> tuple[str, list[tuple[Any, ...]]]:
        statement = (
            "INSERT INTO document_chunks (id, workspace_id, collection_id, document_id, revision, live, chunk_index, content, "
            "start_char, end_char, token_count, embedding_model, dimension, embedding) "
            "VALUES (%s, %s, %s, %s, 1, true, %s, %s, 0, 1, 1, 'bench', %s, %s::vector)"
        )
        given = [
            (
                new_id(),
                self._workspace_id,
                collection_id,
                documents[belongs[place]],
                place // DOCUMENTS,
                str(place),
                DIMENSION,
                vector_text(rows[place].tolist()),
            )
            for place in places
        ]
        return statement, given


def _normed(rows: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _noise(random: "np.random.Generator", count: int) -> "np.ndarray[Any, Any]":
    return _normed(random.standard_normal((count, DIMENSION)))
