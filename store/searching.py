"""Searching passages: by vector (exact where few remain after the filters, else HNSW), by words (BM25), and both with ranks fused.

Filters are part of every statement, so what they refuse takes no place among the results; the workspace is always one of them.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import orjson

from store.documents import vector_text
from store.engine import Pool
from store.outages import connection_of
from workflow.knowledge import Hit, Passage, Search, SearchMode
from workflow.ranking import diverse, fused

EXACT_MAX = 5_000
"""With so many passages or fewer left by the filters, all of them are compared: that is faster than the index, and exact."""
CANDIDATES = 100
"""How many passages each way of searching brings to be fused."""
DIVERSE_FROM = 4
"""Of how many times as many passages as are wanted the diverse ones are chosen."""
EF_SEARCH = 200
WORDS_MAX = 48
COMMON = 5_000
"""A word in more passages than this is common: it finds nothing by itself where there are others."""
MATCHES_MAX = 20_000
K1, B = 1.2, 0.75
"""The usual parameters of BM25 (Robertson and Zaragoza, 2009)."""

COLUMNS = """c.id, c.document_id, d.name, c.collection_id, c.chunk_index, c.content, c.start_char, c.end_char, c.token_count,
    c.page_number, d.metadata::text, d.tags"""
FROM = "FROM document_chunks c JOIN documents d ON d.id = c.document_id"
COUNT = "SELECT count(*) FROM (SELECT {from_} WHERE {where} LIMIT %(limit)s) s"
EXACT = """
WITH chosen AS MATERIALIZED (SELECT c.id, c.embedding {from_} WHERE {where} AND c.dimension = %(dimension)s)
SELECT id, 1 - (embedding <=> %(vector)s::vector) FROM chosen ORDER BY embedding <=> %(vector)s::vector, id LIMIT %(limit)s
"""
NEAREST = """
SELECT c.id, 1 - (c.embedding::vector({dimension}) <=> %(vector)s::vector({dimension})) {from_}
WHERE {where} AND c.dimension = {dimension}
ORDER BY c.embedding::vector({dimension}) <=> %(vector)s::vector({dimension}) LIMIT %(limit)s
"""
SETTINGS = (
    "SET LOCAL hnsw.iterative_scan = 'relaxed_order'",
    f"SET LOCAL hnsw.ef_search = {EF_SEARCH}",
    "SET LOCAL hnsw.max_scan_tuples = 40000",
    "SET LOCAL enable_seqscan = off",
)
WORDS = "SELECT lexeme FROM unnest(to_tsvector('english', %(text)s)) LIMIT %(limit)s"
FREQUENCIES = """
SELECT w.word, (SELECT count(*) FROM (SELECT {from_} WHERE {where} AND c.words @@ to_tsquery('simple', quote_literal(w.word))
    LIMIT %(limit)s) s)
FROM unnest(%(words)s::text[]) AS w (word)
"""
MATCHES = """
WITH matching AS MATERIALIZED (
    SELECT c.id, c.words, c.token_count {from_} WHERE {where} AND c.words @@ %(query)s::tsquery LIMIT %(limit)s
), found AS (
    SELECT m.id, m.token_count, u.lexeme, cardinality(u.positions) AS times
    FROM matching m CROSS JOIN LATERAL unnest(m.words) u WHERE u.lexeme = ANY(%(words)s::text[])
), mean AS (SELECT GREATEST(avg(token_count), 1) AS tokens FROM matching)
SELECT f.id, sum(w.weight * f.times * ({k1} + 1)
    / (f.times + {k1} * (1 - {b} + {b} * f.token_count / mean.tokens)))::float8 AS score
FROM found f CROSS JOIN mean JOIN unnest(%(words)s::text[], %(weights)s::float8[]) AS w (word, weight) ON w.word = f.lexeme
GROUP BY f.id ORDER BY score DESC, f.id LIMIT %(top)s
"""
SHOW = f"SELECT {COLUMNS} {FROM} WHERE c.workspace_id = %(workspace)s AND c.id = ANY(%(ids)s)"

VECTORS = "SELECT id, embedding::text FROM document_chunks WHERE workspace_id = %(workspace)s AND id = ANY(%(ids)s)"


class Searching:
    """Finds passages in a workspace. Raises `StoreUnavailable` when the database does not answer."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def search(self, workspace_id: UUID, search: Search) -> list[Hit]:
        """Return the best passages, best first."""
        where, parameters = _scope(workspace_id, search)
        wanted = search.top_k * DIVERSE_FROM if search.diversity > 0 else search.top_k
        cosines: dict[UUID, float] = {}
        words: dict[UUID, float] = {}
        count = max(CANDIDATES, wanted) if search.mode is SearchMode.HYBRID else wanted
        if search.mode is not SearchMode.TEXT and search.vector:
            cosines = await self._by_vector(where, parameters, search, count)
        if search.mode is not SearchMode.VECTOR:
            words = await self._by_words(where, parameters, search.text, count)
        scores = _scores(search, cosines, words)
        chosen = dict(list(scores.items())[:wanted])
        rows = await self._rows(workspace_id, list(chosen))
        order = list(chosen)[: search.top_k]
        if search.diversity > 0:
            found = await self._rows(workspace_id, list(chosen), VECTORS)
            vectors = {identity: _unit(orjson.loads(row[1])) for identity, row in found.items()}
            order = diverse(chosen, vectors, search.top_k, search.diversity)
        return [_hit(rows[each], chosen[each], cosines.get(each), words.get(each)) for each in order if each in rows]

    async def _by_vector(
        self, where: str, parameters: Mapping[str, Any], search: Search, count: int
    ) -> dict[UUID, float]:
        """Return the cosine of each of the nearest passages, nearest first."""
        given = {**parameters, "vector": vector_text(search.vector), "dimension": len(search.vector)}
        async with connection_of(self._pool) as connection, connection.transaction():
            counting = COUNT.format(from_=FROM, where=where)
            row = await (await connection.execute(counting, {**given, "limit": EXACT_MAX + 1})).fetchone()
            exact = row is not None and row[0] <= EXACT_MAX
            if not exact:
                for setting in SETTINGS:
                    await connection.execute(setting)
            statement = EXACT if exact else NEAREST
            text = statement.format(from_=FROM, where=where, dimension=len(search.vector))
            rows = await (await connection.execute(text, {**given, "limit": count})).fetchall()
        least = -2.0 if search.min_score is None else search.min_score
        found = sorted(((identity, float(cosine)) for identity, cosine in rows), key=lambda entry: -entry[1])
        return {identity: cosine for identity, cosine in found if cosine >= least}

    async def _by_words(self, where: str, parameters: Mapping[str, Any], text: str, count: int) -> dict[UUID, float]:
        """Return the BM25 score of each of the best passages, best first."""
        async with connection_of(self._pool) as connection:
            found = await connection.execute(WORDS, {"text": text.replace("\x00", " "), "limit": WORDS_MAX})
            words = [row[0] for row in await found.fetchall()]
            if not words:
                return {}
            counting = FREQUENCIES.format(from_=FROM, where=where)
            rows = await (
                await connection.execute(counting, {**parameters, "words": words, "limit": COMMON + 1})
            ).fetchall()
            frequencies = {word: times for word, times in rows if times}
            rare = [word for word, times in frequencies.items() if times <= COMMON] or list(frequencies)
            if not rare:
                return {}
            total = COUNT.format(from_=FROM, where=where)
            row = await (await connection.execute(total, {**parameters, "limit": 10 * COMMON})).fetchone()
            passages = row[0] if row else 0
            weights = [math.log(1 + (passages - frequencies[word] + 0.5) / (frequencies[word] + 0.5)) for word in rare]
            given = {
                **parameters,
                "query": " | ".join("'" + word.replace("\\", "\\\\").replace("'", "''") + "'" for word in rare),
                "words": rare,
                "weights": weights,
                "limit": MATCHES_MAX,
                "top": count,
            }
            statement = MATCHES.format(from_=FROM, where=where, k1=K1, b=B)
            rows = await (await connection.execute(statement, given)).fetchall()
        return {identity: float(score) for identity, score in rows}

    async def _rows(
        self, workspace_id: UUID, ids: Sequence[UUID], statement: str = SHOW
    ) -> dict[UUID, tuple[Any, ...]]:
        if not ids:
            return {}
        async with connection_of(self._pool) as connection:
            rows = await connection.execute(statement, {"workspace": workspace_id, "ids": list(ids)})
            return {row[0]: row for row in await rows.fetchall()}


def _scope(workspace_id: UUID, search: Search) -> tuple[str, dict[str, Any]]:
    """Return the conditions that every statement has, as constant text, and their parameters."""
    where, parameters = ["c.workspace_id = %(workspace)s", "c.live"], {"workspace": workspace_id}
    given: dict[str, tuple[bool, str, Any]] = {
        "collections": (
            bool(search.collection_ids),
            "c.collection_id = ANY(%(collections)s)",
            list(search.collection_ids),
        ),
        "documents": (bool(search.document_ids), "c.document_id = ANY(%(documents)s)", list(search.document_ids)),
        "tags": (bool(search.tags), "d.tags @> %(tags)s::text[]", list(search.tags)),
        "metadata": (
            bool(search.metadata),
            "d.metadata @> %(metadata)s::jsonb",
            orjson.dumps(dict(search.metadata)).decode(),
        ),
    }
    for name, (wanted, condition, value) in given.items():
        if wanted:
            where.append(condition)
            parameters[name] = value
    return " AND ".join(where), parameters


def _scores(search: Search, cosines: Mapping[UUID, float], words: Mapping[UUID, float]) -> dict[UUID, float]:
    if search.mode is SearchMode.VECTOR:
        return dict(cosines)
    if search.mode is SearchMode.TEXT:
        return dict(words)
    return fused([list(cosines), list(words)])


def _unit(vector: Sequence[float]) -> list[float]:
    length = math.sqrt(sum(value * value for value in vector)) or 1.0
    return [value / length for value in vector]


def _hit(row: tuple[Any, ...], score: float, cosine: float | None, words: float | None) -> Hit:
    return Hit(
        chunk_id=row[0],
        document_id=row[1],
        document_name=row[2],
        collection_id=row[3],
        passage=Passage(index=row[4], content=row[5], start=row[6], end=row[7], tokens=row[8], page=row[9]),
        score=score,
        cosine=cosine,
        words=words,
        metadata=orjson.loads(row[10]),
        tags=row[11],
    )
