"""Documents at their bounds: what a form may hold, whose name is whose id, what is refused as a whole, and what a failure leaves."""

import asyncio
import json
from typing import Any

import psycopg
import pytest

from serve_app import internal
from tests.conftest import run_sql
from tests.integration.api.conftest import Api, rows_in
from tests.integration.api.test_documents import LOOM, found, indexed, settled, upload
from tests.integration.api.test_idempotency import REPLAYED, another_replica, keyed
from workflow.errors import StoreUnavailable

GOOD = {"content": "One.", "embedding": [0.6, 0.8]}


async def collection(api: Api, name: str) -> str:
    made = await api.call("POST", "collections", json={"name": name})
    assert made.status_code == 201, made.text
    return made.json()["id"]


async def index(api: Api, *items: dict[str, Any], **config: Any) -> tuple[str, str]:
    """Return how an execution of `ai.index` ended, and the code of its error."""
    node = {"id": "i", "type": "ai.index", "config": config}
    ended = (await api.run({"id": "t", "type": "trigger.manual"}, node, connections=(("t", "i"),), given=items)).json()
    return ended["status"], (ended["error"] or {}).get("code", "")


async def test_an_id_is_never_taken_for_a_name(api: Api, dsn: str):
    meant, other = await collection(api, "meant"), await collection(api, "other")
    run_sql(dsn, "UPDATE collections SET name = %s WHERE id = %s", meant, other)  # as it could be named before
    run_sql(dsn, "UPDATE collections SET name = 'behind it' WHERE id = %s", meant)  # where a scan comes to it later

    shown = await indexed(api, "looms.txt", LOOM, collection=meant)
    status, _ = await index(api, {**GOOD, "embedding": [1.0] * 32, "name": "by a node"}, collection=meant)

    assert (shown["collection_id"], status) == (meant, "completed")
    assert {hit["collection_id"] for hit in await found(api, "loom", collection=meant)} == {meant}
    assert len((await api.call("GET", f"documents?collection={meant}")).json()["items"]) == 2
    assert (await api.call("GET", f"collections/{meant}")).json()["name"] == "behind it"
    assert (await api.call("DELETE", f"collections/{meant}")).json()["code"] == "collection_not_empty"
    assert (await api.call("DELETE", f"collections/{other}")).status_code == 204
    assert [one["id"] for one in (await api.call("GET", "collections")).json()["items"]] == [meant]


@pytest.mark.parametrize(
    "name",
    [
        "0190b5a8-1111-7000-8000-000000000001",
        "0190B5A8111170008000000000000001",
        "{0190b5a8-1111-7000-8000-000000000001}",
        "urn:uuid:0190b5a8-1111-7000-8000-000000000001",
        " ",
        "a\x7f",
        "a\u0085",
        "a\u2028b",
        "a/b",
        "a" * 101,
    ],
)
async def test_names_of_collections_that_nobody_could_tell_apart_are_refused(api: Api, name: str):
    answer = await api.call("POST", "collections", json={"name": name})

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_fields")


@pytest.mark.parametrize(
    ("field", "text", "code"),
    [
        ("metadata", '{"a":' * 300 + "1" + "}" * 300, "too_deep"),
        ("metadata", '{"a":' * 101 + "1" + "}" * 101, "too_deep"),
        ("metadata", '{"a": 123456789012345678901234567890}', "number_out_of_range"),
        ("metadata", '{"a": "\\u0000"}', "nul_not_allowed"),
        ("metadata", '{"a": NaN}', "nan_not_allowed"),
        ("metadata", '{"a": 1', "metadata_invalid"),
        ("metadata", json.dumps({"a": "x" * 20_000}), "metadata_invalid"),
        ("tags", "[" * 300 + "]" * 300, "too_deep"),
        ("tags", '["a", ', "tags_invalid"),
        ("tags", '["\\ud800"]', "tags_invalid"),
    ],
    ids=lambda value: value[:20],
)
async def test_json_in_a_form_is_held_to_what_holds_for_bodies(api: Api, dsn: str, field: str, text: str, code: str):
    answer = await upload(api, "a.txt", LOOM, **{field: text})

    assert (answer.status_code in (400, 422), answer.json()["code"]) == (True, code)
    assert rows_in(dsn, "documents") == 0


async def test_metadata_that_only_look_like_a_nul_are_kept(api: Api):
    metadata = {"a": "\\u0000", "deep": json.loads("[" * 98 + "]" * 98)}
    shown = (await upload(api, "a.txt", LOOM, metadata=json.dumps(metadata))).json()
    changed = await api.call("PATCH", f"documents/{shown['id']}", json={"metadata": {"b": "\\u0000"}})

    assert shown["metadata"] == metadata
    assert changed.json()["metadata"] == {"b": "\\u0000"}


async def test_repeated_tags_are_all_kept_and_other_repeated_parts_are_refused(api: Api):
    async def sent(**fields: Any) -> dict[str, Any]:
        return (await api.call("POST", "documents", files={"file": ("a.txt", b"x")}, data=fields)).json()

    assert (await sent(tags=["a", "b,c", '["d", "a"]']))["tags"] == ["a", "b", "c", "d"]
    assert len((await sent(tags=[str(number) for number in range(50)]))["tags"]) == 50
    assert (await sent(name=["a", "b"]))["code"] == "repeated_field"
    assert (await sent(metadata=["{}", "{}"]))["code"] == "repeated_field"


async def test_the_same_file_under_the_same_key_is_the_same_document_whatever_the_boundary(api: Api, dsn: str):
    async def sent(content: str, name: str = "a.txt", **fields: str) -> Any:
        files = {"file": (name, content.encode())}
        return await api.call("POST", "documents", files=files, data=fields, **keyed())

    first, again = [await sent(LOOM, tags="a") for _ in range(2)]
    others = [await sent(LOOM, tags="b"), await sent("else", tags="a"), await sent(LOOM, "b.txt", tags="a")]

    assert (first.status_code, again.status_code) == (201, 201)
    assert (again.json(), again.headers[REPLAYED]) == (first.json(), "true")
    assert {one.json()["code"] for one in others} == {"idempotency_key_reused"}
    assert rows_in(dsn, "documents") == 1


async def test_a_form_that_cannot_be_read_is_answered_the_same_under_the_same_key(api: Api):
    headers = {"Idempotency-Key": "k", "Content-Type": "multipart/form-data; boundary=b"}
    sent = [await api.call("POST", "documents", content=b"no form", headers=headers) for _ in range(2)]

    assert [one.status_code for one in sent] == [400, 400]
    assert [one.headers.get(REPLAYED) for one in sent] == [None, "true"]


async def test_the_limit_is_of_the_file_itself(api: Api, dsn: str):
    async with another_replica(api, dsn, upload_bytes_max=1_000) as replica:
        whole = await upload(replica, "a.txt", "x" * 1_000, tags="t" * 100)
        more = await upload(replica, "a.txt", "x" * 1_001)

    assert whole.status_code == 201
    assert (more.status_code, more.json()["code"]) == (413, "file_too_large")
    assert rows_in(dsn, "documents") == 1


async def test_a_document_is_under_way_from_when_its_execution_is(api: Api, dsn: str):
    api.pool.absent = True
    run_sql(dsn, "UPDATE leases SET draining = true")
    made = (await upload(api, "a.txt", LOOM)).json()

    async def state() -> str:
        return (await api.call("GET", f"documents/{made['id']}")).json()["status"]

    assert await state() == "pending", "its execution is queued"
    async with await psycopg.AsyncConnection.connect(dsn) as holder:
        await holder.execute("SELECT FROM documents FOR UPDATE")  # so its passages cannot begin to be kept
        run_sql(dsn, "UPDATE leases SET draining = false")
        async with asyncio.timeout(20):
            while await state() == "pending":
                await asyncio.sleep(0.02)
        assert await state() == "processing"
        assert len((await api.call("GET", "documents?status=processing")).json()["items"]) == 1
        assert (await api.call("GET", "documents?status=pending")).json()["items"] == []
        assert run_sql(dsn, "SELECT status FROM documents") == [("pending",)]
    assert (await settled(api, made["id"]))["status"] == "indexed"


async def test_a_document_whose_execution_completed_without_indexing_it_has_failed(api: Api, dsn: str):
    shown = await indexed(api, "a.txt", LOOM)
    async with asyncio.timeout(20):
        while (await api.call("GET", f"executions/{shown['execution_id']}")).json()["status"] != "completed":
            await asyncio.sleep(0.02)
    run_sql(dsn, "UPDATE documents SET status = 'processing'")

    left = (await api.call("GET", f"documents/{shown['id']}")).json()

    assert (left["status"], left["error"]["code"]) == ("failed", "not_indexed")


async def test_why_a_document_failed_outlives_its_execution(api: Api, dsn: str):
    shown = await indexed(api, "broken.json", '{"a": [1, 2')
    good = await indexed(api, "good.txt", LOOM)

    for one in (shown, good):
        assert (await api.call("DELETE", f"executions/{one['execution_id']}")).status_code == 204
    left = (await api.call("GET", f"documents/{shown['id']}")).json()

    assert (left["status"], left["error"]) == ("failed", shown["error"])
    assert left["error"]["code"] == "file_corrupt"
    assert (await api.call("GET", f"documents/{good['id']}")).json()["status"] == "indexed"
    assert (await api.call("POST", f"documents/{shown['id']}/reindex")).status_code == 202
    assert (await settled(api, shown["id"]))["error"] == shown["error"]


async def test_of_those_who_index_again_at_once_one_does(api: Api, dsn: str):
    shown = await indexed(api, "looms.txt", LOOM)
    api.pool.absent = True
    run_sql(dsn, "UPDATE leases SET draining = true")

    answers = await asyncio.gather(*(api.call("POST", f"documents/{shown['id']}/reindex") for _ in range(6)))

    assert sorted(one.status_code for one in answers) == [202, *[409] * 5]
    assert {one.json()["code"] for one in answers if one.status_code == 409} == {"document_under_way"}
    assert rows_in(dsn, "executions") == 2


async def test_indexing_again_under_a_key_is_done_once(api: Api, dsn: str):
    shown = await indexed(api, "looms.txt", LOOM)

    first = await api.call("POST", f"documents/{shown['id']}/reindex", **keyed())
    await settled(api, shown["id"])
    run_sql(dsn, "UPDATE idempotent_writes SET status = NULL, reserved_until = now() - interval '1 s'")
    again = await api.call("POST", f"documents/{shown['id']}/reindex", **keyed())

    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json()["execution_id"] == first.json()["execution_id"]
    assert again.json()["status"] == "indexed", "what was done stays done"
    assert rows_in(dsn, "executions") == 2


async def test_what_the_queue_has_no_room_for_leaves_documents_as_they_were(api: Api, dsn: str):
    before = await indexed(api, "looms.txt", LOOM)
    failed = await indexed(api, "broken.json", "{")
    api.pool.absent = True
    async with another_replica(api, dsn, queued_per_workspace_max=1) as replica:
        run_sql(dsn, "UPDATE leases SET draining = true")
        # Those that come at once all see room; it is taken from them when their executions are accepted.
        uploads = await asyncio.gather(*(upload(replica, f"{n}.txt", LOOM) for n in range(6)))
        late = await upload(replica, "late.txt", LOOM)
        again = [await replica.call("POST", f"documents/{one['id']}/reindex") for one in (before, failed)]

    assert sorted(one.status_code for one in uploads) == [201, *[429] * 5]
    assert [(one.status_code, one.json()["code"]) for one in (late, *again)] == [(429, "queue_full")] * 3
    assert rows_in(dsn, "documents") == 3
    assert rows_in(dsn, "document_files") == 3
    for one in (before, failed):
        assert (await api.call("GET", f"documents/{one['id']}")).json() == one


async def test_indexing_again_that_is_refused_at_the_last_moment_is_undone(api: Api, dsn: str):
    shown = [
        await indexed(api, f"{name}.json", text) for name, text in (("good", "[1]"), ("broken", "{"), ("c", "[2]"))
    ]
    api.pool.absent = True
    async with another_replica(api, dsn, queued_per_workspace_max=1) as replica:
        run_sql(dsn, "UPDATE leases SET draining = true")
        answers = await asyncio.gather(
            *(replica.call("POST", f"documents/{one['id']}/reindex") for one in shown),
        )

    assert sorted(one.status_code for one in answers) == [202, 429, 429]
    for one, answer in zip(shown, answers, strict=True):
        if answer.status_code == 429:
            assert (await api.call("GET", f"documents/{one['id']}")).json() == one


@pytest.mark.parametrize("accepted", [False, True])
async def test_where_nobody_knows_whether_an_execution_was_accepted_the_document_follows_what_is_there(
    api: Api, dsn: str, monkeypatch: pytest.MonkeyPatch, accepted: bool
):
    shown = await indexed(api, "looms.txt", LOOM)
    honest = internal.execute

    async def broken(*arguments: Any, **options: Any) -> Any:
        if accepted:
            await honest(*arguments, **options)
        raise StoreUnavailable("the connection broke")

    monkeypatch.setattr(internal, "execute", broken)
    made = await upload(api, "other.txt", LOOM)
    again = await api.call("POST", f"documents/{shown['id']}/reindex")

    assert (made.status_code, again.status_code) == (503, 503)
    assert rows_in(dsn, "documents") == rows_in(dsn, "executions") - accepted == 1 + accepted
    left = (await api.call("GET", f"documents/{shown['id']}")).json()
    assert (left == shown) is not accepted
    assert (await settled(api, shown["id"]))["status"] == "indexed"


@pytest.mark.parametrize(
    ("item", "code"),
    [
        ({"embedding": [1e300, 1.0]}, "vector_invalid"),
        ({"embedding": [1.0] * 2_001}, "dimension_unsupported"),
        ({"page": 2**40}, "passage_invalid"),
        ({"page_count": "many"}, "passage_invalid"),
        ({"start": 2**31 - 1}, "passage_invalid"),
        ({"name": "n" * 5_000}, "name_invalid"),
    ],
    ids=str,
)
async def test_what_an_index_cannot_keep_fails_by_name(api: Api, dsn: str, item: dict[str, Any], code: str):
    assert await index(api, {**GOOD, **item}) == ("failed", code)
    assert rows_in(dsn, "document_chunks") == 0


async def test_an_index_keeps_what_is_at_the_bounds(api: Api, dsn: str):
    items = [
        {**GOOD, "embedding": [1.0, 1e-300], "start": 50_000_000, "page": 2**31 - 1, "chunk_index": 7},
        {**GOOD, "embedding": [-1e15, 1e-15], "start": 0, "chunk_index": 2**31 - 1},
        {**GOOD, "embedding": [1e-15, 0], "start": 52_428_800, "chunk_index": 0},
    ]

    assert await index(api, *items) == ("completed", "")
    assert await index(api, {**GOOD, "embedding": [1.0] * 3, "name": "other"}) == ("failed", "dimension_mismatch")

    kept = run_sql(
        dsn,
        "SELECT k.content = substr(d.content_text, k.start_char + 1, k.end_char - k.start_char), length(d.content_text) "
        "FROM document_chunks k JOIN documents d ON d.id = k.document_id WHERE k.live",
    )
    assert kept == [(True, 16)] * 3
