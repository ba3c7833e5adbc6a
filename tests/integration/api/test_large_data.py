"""Large data over HTTP: kept apart from their rows, resolved where they are asked for, gone with their execution."""

import asyncio
from typing import Any

import psycopg

from store.blobs import PostgresBlobs
from store.engine import StoreConfig, make_pool
from tests.conftest import run_sql
from tests.integration.api.conftest import Api, rows_in

SET = {"id": "a", "type": "data.set", "config": {"values": {"x": "{{ $json.n }}"}}}
GIVEN = [{"n": n, "pad": f"{n:05}" * 20} for n in range(700)]
TABLES = ("blobs", "blob_chunks", "blob_references")


def stored(dsn: str, column: str) -> Any:
    return run_sql(dsn, f"SELECT {column} FROM executions")[0][0]


async def test_a_large_input_and_output_are_kept_apart_and_shown_whole(api: Api, dsn: str):
    ended = (await api.run(SET, given=GIVEN)).json()
    shown = (await api.call("GET", f"executions/{ended['id']}")).json()
    (row,) = (await api.call("GET", f"executions/{ended['id']}/nodes")).json()["items"]
    wanted = [{**item, "x": item["n"]} for item in GIVEN]

    assert ended["status"] == "completed", ended
    assert ended["output"] == shown["output"] == {"a": wanted}
    assert stored(dsn, "input_data") is None
    assert stored(dsn, "output_data") is None
    assert stored(dsn, "input_ref")["bytes"] > 65_536
    assert row["output"] is None
    assert (row["output_blob"]["items"], row["output_blob"]["bytes"] > 65_536) == ({"main": 700}, True)
    assert rows_in(dsn, "blob_references") == 3


async def test_the_items_of_a_large_result_come_in_pages(api: Api):
    branch = {
        "id": "i",
        "type": "logic.if",
        "config": {"conditions": [{"left": "{{ $json.n }}", "operator": "greater_than", "right": 99}]},
    }
    ended = (await api.run(branch, given=GIVEN)).json()
    path = f"executions/{ended['id']}/nodes/i/items"
    first = (await api.call("GET", f"{path}?handle=true&limit=200")).json()
    pages = [first]
    while pages[-1]["next_cursor"]:
        pages.append((await api.call("GET", f"{path}?handle=true&limit=200&cursor={pages[-1]['next_cursor']}")).json())
    beyond = (await api.call("GET", f"{path}?handle=true&cursor=600")).json()
    absent = await api.call("GET", f"{path}?handle=main")

    assert first["handles"] == {"true": 600, "false": 100}
    assert [item["json"]["n"] for page in pages for item in page["items"]] == list(range(100, 700))
    assert [len(page["items"]) for page in pages] == [200, 200, 200]
    assert (beyond["items"], beyond["next_cursor"]) == ([], None)
    assert absent.status_code == 404


async def test_an_expression_still_sees_a_large_result_that_others_have_passed(api: Api):
    steps = [{**SET, "id": name, "name": name.upper(), "config": {}} for name in "bcd"]
    last = {**SET, "id": "z", "config": {"keep_input": False, "values": {"far": "{{ $node['a'].json.x }}"}}}
    links = (("a", "b"), ("b", "c"), ("c", "d"), ("d", "z"))
    ended = (await api.run(SET, *steps, last, connections=links, given=GIVEN)).json()

    assert ended["status"] == "completed", ended
    assert [item["far"] for item in ended["output"]["z"]] == [item["n"] for item in GIVEN]


async def test_a_large_input_of_a_queued_execution_is_fetched_by_who_claims_it(api: Api, dsn: str):
    api.pool.absent = True
    await asyncio.sleep(1.2)
    ended = (await api.run(SET, given=GIVEN)).json()

    assert ended["status"] == "completed", ended
    assert len(ended["output"]["a"]) == 700


async def test_blobs_go_with_the_last_execution_that_names_them(api: Api, dsn: str):
    pool = make_pool(StoreConfig(dsn=dsn))
    await pool.open(wait=True)
    blobs = PostgresBlobs(pool)
    first = (await api.run(SET, given=GIVEN)).json()["id"]
    second = (await api.run(SET, given=GIVEN)).json()["id"]
    before = [rows_in(dsn, table) for table in TABLES]
    await api.call("DELETE", f"executions/{first}")
    swept = [await blobs.sweep(0), [rows_in(dsn, table) for table in TABLES]]
    shown = (await api.call("GET", f"executions/{second}")).json()
    await api.call("DELETE", f"executions/{second}")
    swept += [await blobs.sweep(0), [rows_in(dsn, table) for table in TABLES]]
    await pool.close()

    assert before == [3, 3, 6]
    assert swept == [0, [3, 3, 3], 3, [0, 0, 0]]
    assert len(shown["output"]["a"]) == 700


async def test_a_blob_that_was_lost_is_a_clear_problem(api: Api, dsn: str):
    ended = (await api.run(SET, given=GIVEN)).json()["id"]
    with psycopg.connect(dsn) as connection:
        connection.execute("DELETE FROM blob_chunks")
    shown = await api.call("GET", f"executions/{ended}")
    items = await api.call("GET", f"executions/{ended}/nodes/a/items")
    nodes = await api.call("GET", f"executions/{ended}/nodes")

    assert [(r.status_code, r.json()["code"]) for r in (shown, items)] == [(500, "blob_missing")] * 2
    assert nodes.status_code == 200
