"""Documents: uploaded, indexed by an execution, found, answered from, changed, indexed again, taken away; and files that are hostile."""

import asyncio
import io
import zipfile
from typing import Any

import pytest

from tests.documents import docx, pdf
from tests.integration.api.conftest import Api, rows_in

LOOM = "The loom weaves cloth. A shuttle carries the weft through the warp."
TAX = "Income tax is due in May. Late payment costs interest."


async def upload(api: Api, file: str, content: bytes | str, by: str = "owner", **fields: str) -> Any:
    data = content.encode() if isinstance(content, str) else content
    return await api.call("POST", "documents", by=by, files={"file": (file, data)}, data=fields)


async def indexed(api: Api, file: str, content: bytes | str, **fields: str) -> dict[str, Any]:
    """Upload a document and return it when its execution has ended."""
    answer = await upload(api, file, content, **fields)
    assert answer.status_code == 201, answer.text
    return await settled(api, answer.json()["id"])


async def settled(api: Api, identity: str) -> dict[str, Any]:
    async with asyncio.timeout(40):
        while True:
            shown = (await api.call("GET", f"documents/{identity}")).json()
            if shown["status"] in ("indexed", "failed"):
                return shown
            await asyncio.sleep(0.05)


async def found(api: Api, query: str, **fields: Any) -> list[dict[str, Any]]:
    answer = await api.call("POST", "rag/search", json={"query": query, **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def test_a_document_is_uploaded_indexed_and_found(api: Api):
    shown = await indexed(api, "looms.txt", LOOM, tags="cloth,machines", metadata='{"year": 1801}')
    await indexed(api, "taxes.md", TAX)

    assert (shown["status"], shown["file_type"], shown["chunk_count"], shown["error"]) == ("indexed", "txt", 1, None)
    assert (shown["tags"], shown["metadata"]) == (["cloth", "machines"], {"year": 1801})
    execution = (await api.call("GET", f"executions/{shown['execution_id']}")).json()
    assert (execution["status"], execution["trigger_type"]) == ("completed", "document")
    for mode in ("vector", "text", "hybrid"):
        best = (await found(api, "shuttle weft warp", mode=mode))[0]
        assert (best["document_name"], best["content"]) == ("looms.txt", LOOM), mode
        assert LOOM[best["start"] : best["end"]] == best["content"]


async def test_filters_hold_inside_of_the_search(api: Api):
    looms = await indexed(api, "looms.txt", LOOM, tags="cloth", metadata='{"year": 1801, "place": {"town": "Lyon"}}')
    await indexed(api, "taxes.txt", TAX, tags="law")

    async def names(**fields: Any) -> set[str]:
        return {hit["document_name"] for hit in await found(api, "loom tax interest shuttle", **fields)}

    assert await names() == {"looms.txt", "taxes.txt"}
    assert await names(tags=["law"]) == {"taxes.txt"}
    assert await names(tags=["law", "cloth"]) == set()
    assert await names(metadata={"place": {"town": "Lyon"}}) == {"looms.txt"}
    assert await names(document_ids=[looms["id"]]) == {"looms.txt"}
    assert await names(mode="vector", min_score=1) == set()
    assert len(await found(api, "loom tax", top_k=1)) == 1
    assert await names(diversity=0.5) == {"looms.txt", "taxes.txt"}


async def test_a_ranker_chooses_the_passages_where_it_is_asked_to(api: Api, dsn: str):
    await indexed(api, "looms.txt", LOOM)
    await indexed(api, "taxes.txt", TAX)

    best = await found(api, "income tax is due", mode="vector", top_k=1, rerank=True)
    answer = await api.call("POST", "rag/query", json={"query": "late payment costs", "top_k": 1, "rerank": True})
    wrong = await api.call("POST", "rag/search", json={"query": "loom", "rerank": "yes"})

    assert [(hit["document_name"], hit["score"]) for hit in best] == [("taxes.txt", 4.0)], "the words in common"
    assert [source["document_name"] for source in answer.json()["sources"]] == ["taxes.txt"]
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_fields")
    assert rows_in(dsn, "model_calls WHERE kind = 'score'") == 2


async def test_a_question_is_answered_with_its_sources_and_the_call_is_noted(api: Api, dsn: str):
    await indexed(api, "looms.txt", LOOM)

    answer = await api.call("POST", "rag/query", json={"query": "what carries the weft?", "top_k": 1})

    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["provider"], told["model"], told["finish_reason"]) == ("local", "words", "stop")
    assert [(s["number"], s["document_name"], s["cited"]) for s in told["sources"]] == [(1, "looms.txt", False)]
    assert rows_in(dsn, "model_calls") == 3, "one for the passages, one for the question, one for the answer"
    assert (await api.call("GET", f"executions/{told['execution_id']}")).json()["trigger_type"] == "rag_query"


async def test_where_nothing_is_found_no_model_is_asked(api: Api, dsn: str):
    told = (await api.call("POST", "rag/query", json={"query": "anything", "mode": "text"})).json()

    assert (told["sources"], told["model"]) == ([], "")
    assert rows_in(dsn, "model_calls") == 0


async def test_documents_are_listed_changed_downloaded_and_deleted(api: Api, dsn: str):
    first = await indexed(api, "looms.txt", LOOM, tags="cloth")
    second = await indexed(api, "taxes.txt", TAX, name="Taxes 2026")

    listed = (await api.call("GET", "documents?limit=1")).json()
    rest = (await api.call("GET", f"documents?limit=1&cursor={listed['next_cursor']}")).json()
    changed = await api.call("PATCH", f"documents/{first['id']}", json={"name": "Looms", "metadata": {"a": 1}})
    file = await api.call("GET", f"documents/{first['id']}/file")

    assert [one["name"] for one in (*listed["items"], *rest["items"])] == ["Taxes 2026", "looms.txt"]
    assert rest["next_cursor"] is None
    assert [one["id"] for one in (await api.call("GET", "documents?tag=cloth")).json()["items"]] == [first["id"]]
    assert [one["id"] for one in (await api.call("GET", "documents?q=TAX")).json()["items"]] == [second["id"]]
    assert len((await api.call("GET", "documents?status=indexed&collection=default")).json()["items"]) == 2
    assert (changed.json()["name"], changed.json()["tags"], changed.json()["metadata"]) == (
        "Looms",
        ["cloth"],
        {"a": 1},
    )
    assert (file.content, file.headers["content-type"]) == (LOOM.encode(), "application/octet-stream")
    assert file.headers["content-disposition"] == "attachment; filename*=UTF-8''Looms"
    assert (await api.call("DELETE", f"documents/{first['id']}")).status_code == 204
    assert (await api.call("GET", f"documents/{first['id']}")).status_code == 404
    assert {hit["document_name"] for hit in await found(api, "loom tax shuttle")} == {"Taxes 2026"}
    assert rows_in(dsn, "document_chunks") == rows_in(dsn, "document_files") == 1


async def test_indexing_again_replaces_what_is_searched_at_once(api: Api, dsn: str):
    shown = await indexed(api, "looms.txt", LOOM)

    answer = await api.call("POST", f"documents/{shown['id']}/reindex")
    again = await settled(api, shown["id"])

    assert answer.status_code == 202
    assert again["execution_id"] == answer.json()["execution_id"] != shown["execution_id"]
    assert again["status"] == "indexed"
    assert rows_in(dsn, "document_chunks") == 1


async def test_collections_are_made_listed_and_deleted_when_empty(api: Api):
    body = {"name": "handbook", "chunk_tokens": 16, "overlap_tokens": 4}
    made = await api.call("POST", "collections", json=body)
    twice = await api.call("POST", "collections", json=body)
    shown = await indexed(api, "long.txt", "One sentence of some words. " * 20, collection="handbook")

    assert (made.status_code, made.json()["embedding_model"]) == (201, "words")
    assert (twice.status_code, twice.json()["code"]) == (409, "collection_exists")
    assert shown["chunk_count"] > 3
    assert await found(api, "sentence", collection="handbook", top_k=2)
    collection = (await api.call("GET", f"collections/{made.json()['id']}")).json()
    assert (collection["document_count"], collection["chunk_count"]) == (1, shown["chunk_count"])
    assert collection["dimension"] == 32
    refused = await api.call("DELETE", f"collections/{collection['id']}")
    assert (refused.status_code, refused.json()["code"]) == (409, "collection_not_empty")
    await api.call("DELETE", f"documents/{shown['id']}")
    assert (await api.call("DELETE", f"collections/{collection['id']}")).status_code == 204
    assert (await api.call("GET", "collections")).json()["items"] == []


async def test_pages_of_a_pdf_are_told_and_other_kinds_are_read(api: Api):
    shown = await indexed(api, "two.pdf", pdf("The loom weaves", "The shuttle flies"))
    await indexed(api, "letter.docx", docx("A letter about bobbins."))
    await indexed(api, "page.html", "<html><body><h1>Heddles</h1><script>alert(1)</script></body></html>")
    await indexed(api, "table.csv", "part;price\nreed;12\ntreadle;30\n")
    await indexed(api, "data.json", '{"part": {"name": "sley"}}')
    await indexed(api, "wide.txt", "Lease sticks keep the cross.".encode("utf-16"))

    assert (shown["page_count"], shown["chunk_count"]) == (2, 2)
    (flies,) = await found(api, "shuttle flies", mode="text", top_k=1)
    assert (flies["page"], flies["document_name"]) == (2, "two.pdf")
    for query, name in (
        ("bobbins", "letter.docx"),
        ("heddles", "page.html"),
        ("treadle", "table.csv"),
        ("sley", "data.json"),
        ("lease sticks", "wide.txt"),
    ):
        assert [hit["document_name"] for hit in await found(api, query, mode="text")] == [name]
    assert await found(api, "alert", mode="text") == [], "what a browser would run is no text"


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("empty.txt", b"", "file_empty"),
        ("blank.txt", b"  \n", "file_empty"),
        ("picture.png", b"\x89PNG\r\n\x1a\n\x00\x00", "file_type_unsupported"),
        ("lies.pdf", b"this is text", "file_type_mismatch"),
        ("lies.txt", pdf("x"), "file_type_mismatch"),
        ("lies.docx", pdf("x"), "file_type_mismatch"),
        ("archive.zip", b"PK\x03\x04 broken", "file_type_unsupported"),
    ],
)
async def test_files_that_are_refused_leave_nothing(api: Api, dsn: str, name: str, content: bytes, code: str):
    answer = await upload(api, name, content)

    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert rows_in(dsn, "documents") == 0


def bomb() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"\0" * 400_000_000)
    return made.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("corrupt.pdf", b"%PDF-1.4 nothing more", "file_corrupt"),
        ("bomb.docx", bomb(), "file_bomb"),
        ("wide.csv", (",".join(map(str, range(1_000_000))) + "\n").encode(), "file_too_wide"),
        ("broken.json", b'{"a": [1, 2', "file_corrupt"),
        ("odd.txt", b"\xff\xfea", "file_corrupt"),
        ("nothing.html", b"<html><script>only()</script></html>", "file_without_text"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_hostile_file_fails_alone_and_says_why(api: Api, name: str, content: bytes, code: str):
    shown = await indexed(api, name, content)

    assert (shown["status"], shown["error"]["code"]) == ("failed", code)
    assert (await indexed(api, "good.txt", LOOM))["status"] == "indexed"


async def test_requests_that_make_no_sense(api: Api):
    async def code(method: str, path: str, **kwargs: Any) -> tuple[int, str]:
        answer = await api.call(method, path, **kwargs)
        return answer.status_code, answer.json()["code"]

    assert await code("POST", "documents", json={}) == (400, "multipart_expected")
    assert await code("POST", "documents", files={"other": ("a", b"x")}) == (400, "file_missing")
    assert (await upload(api, "a.txt", "x", colour="red")).json()["code"] == "unknown_field"
    assert await code("POST", "rag/search", json={}) == (422, "invalid_fields")
    assert await code("POST", "rag/search", json={"query": "x", "top_k": 51}) == (422, "invalid_fields")
    assert await code("POST", "rag/search", json={"query": "x", "collection": "none"}) == (404, "collection_not_found")
    assert await code("POST", "rag/search", json={"query": "x", "document_ids": ["x"]}) == (404, "document_not_found")
    assert await code("POST", "rag/query", json={"query": "x", "instructions": "{{ $env }}"}) == (
        422,
        "placeholder_not_allowed",
    )
    assert await code("POST", "collections", json={"name": ""}) == (422, "invalid_fields")
    assert await code("POST", "collections", json={"name": "x", "embedding_model": "no"}) == (422, "model_unknown")
    assert await code("PATCH", f"documents/{api.workspace_id}", json={"name": "x"}) == (404, "not_found")
    assert (await upload(api, "a.txt", "x", tags='["a", 1]')).json()["code"] == "tags_invalid"
    assert (await upload(api, "a.txt", "x", metadata="[]")).json()["code"] == "metadata_invalid"
    assert (await upload(api, "a.txt", "x", collection="none")).json()["code"] == "not_found"


async def test_nothing_that_comes_in_a_question_or_a_document_is_evaluated(api: Api):
    await indexed(api, "trap.txt", "{{ $execution.id }} is a placeholder")

    (hit,) = await found(api, "placeholder", mode="text")
    told = (await api.call("POST", "rag/query", json={"query": "{{ 1 + 1 }} placeholder", "top_k": 1})).json()

    assert hit["content"] == "{{ $execution.id }} is a placeholder"
    assert "{{ 1 + 1 }}" in told["content"], "the question came to the model as it was asked"


async def test_the_same_key_is_the_same_document(api: Api, dsn: str):
    part = 'Content-Disposition: form-data; name="file"; filename="a.txt"'
    body = f"--b\r\n{part}\r\n\r\nsome words\r\n--b--\r\n".encode()
    headers = {"Idempotency-Key": "k", "Content-Type": "multipart/form-data; boundary=b"}

    first = await api.call("POST", "documents", content=body, headers=headers)
    again = await api.call("POST", "documents", content=body, headers=headers)
    other = await api.call("POST", "documents", content=body.replace(b"words", b"other"), headers=headers)

    assert first.status_code == 201, first.text
    assert again.json()["id"] == first.json()["id"]
    assert other.json()["code"] == "idempotency_key_reused"
    assert rows_in(dsn, "documents") == 1
    assert (await settled(api, first.json()["id"]))["status"] == "indexed"


async def test_who_may_what_and_nobody_sees_documents_of_others(api: Api):
    shown = await indexed(api, "looms.txt", LOOM)

    assert (await upload(api, "a.txt", "x", by="viewer")).status_code == 403
    assert (await api.call("DELETE", f"documents/{shown['id']}", by="viewer")).status_code == 403
    assert (await api.call("POST", "rag/search", by="viewer", json={"query": "loom"})).status_code == 200
    elsewhere = f"/api/v1/workspaces/{api.elsewhere}"
    for method, path in (
        ("GET", f"{elsewhere}/documents/{shown['id']}"),
        ("GET", f"{elsewhere}/documents/{shown['id']}/file"),
        ("DELETE", f"{elsewhere}/documents/{shown['id']}"),
        ("GET", f"{elsewhere}/collections/{shown['collection_id']}"),
    ):
        assert (await api.call(method, path, by="stranger")).status_code == 404, path
    theirs = await api.call("POST", f"{elsewhere}/rag/search", by="stranger", json={"query": "loom shuttle"})
    assert theirs.json()["items"] == []
    named = {"query": "loom", "collection": shown["collection_id"]}
    assert (await api.call("POST", f"{elsewhere}/rag/search", by="stranger", json=named)).status_code == 404
    ids = {"query": "loom shuttle", "document_ids": [shown["id"]]}
    assert (await api.call("POST", f"{elsewhere}/rag/search", by="stranger", json=ids)).json()["items"] == []
