"""A version that another replica has made counts from its answer on: its limits, its schema, its nodes."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from store.engine import StoreConfig, make_engine
from store.workflow_rows import Draft
from store.workflows import Workflows
from tests.integration.api.conftest import Api
from tests.integration.api.test_control import saved
from tests.integration.api.test_semantics import node

Change = Callable[..., Awaitable[None]]


def value(number: int) -> list[dict]:
    return [node("start", "trigger.manual"), node("a", "data.set", values={"version": number})]


HOPS = (("start", "a"),)


@pytest.fixture
async def elsewhere(api: Api, dsn: str) -> AsyncIterator[Change]:
    """Make a version in the way another replica does: this one is told nothing."""
    engine = make_engine(StoreConfig(dsn=dsn))
    workflows = Workflows(engine)

    async def change(workflow_id: str, number: int, **changes: Any) -> None:
        connections = [{"source": a, "target": b} for a, b in HOPS]
        draft = Draft(name="w", nodes=value(number), connections=connections, **changes)
        await workflows.update(api.workspace_id, UUID(workflow_id), draft)

    yield change
    await engine.dispose()


async def execute(api: Api, workflow_id: str, wait: float = 20, **body: Any) -> Any:
    return await api.call("POST", f"workflows/{workflow_id}/execute?wait={wait}", json=body)


async def known_here(api: Api) -> str:
    """Return a workflow whose first version this replica holds for the current one."""
    workflow_id = await saved(api, "w", value(1), HOPS)
    done = (await execute(api, workflow_id)).json()
    assert (done["workflow_version"], done["output"]["a"]) == (1, [{"version": 1}])
    return workflow_id


async def test_the_next_execution_is_of_the_new_version(api: Api, elsewhere: Change):
    workflow_id = await known_here(api)
    await elsewhere(workflow_id, 2)

    done = (await execute(api, workflow_id)).json()
    await elsewhere(workflow_id, 3)
    keyed = await api.call(
        "POST", f"workflows/{workflow_id}/execute?wait=20", json={}, headers={"Idempotency-Key": "once"}
    )
    await elsewhere(workflow_id, 4)
    again = await api.call(
        "POST", f"workflows/{workflow_id}/execute?wait=20", json={}, headers={"Idempotency-Key": "once"}
    )

    assert (done["workflow_version"], done["output"]["a"]) == (2, [{"version": 2}])
    assert (keyed.json()["workflow_version"], keyed.json()["output"]["a"]) == (3, [{"version": 3}])
    assert (again.json()["id"], again.headers["Idempotent-Replayed"]) == (keyed.json()["id"], "true")


async def test_its_limit_holds_at_once(api: Api, elsewhere: Change):
    workflow_id = await known_here(api)
    limit = {"key": "{{ $json.customer }}", "limit": 1, "on_limit": "reject"}
    await elsewhere(workflow_id, 2, settings={"concurrency": limit})

    accepted = (await execute(api, workflow_id, 0, input={"customer": "ada"})).json()

    assert (accepted["workflow_version"], accepted["concurrency_key"]) == (2, "ada")


async def test_its_schema_holds_at_once_and_the_former_one_no_longer(api: Api, elsewhere: Change):
    workflow_id = await known_here(api)
    await elsewhere(workflow_id, 2, input_schema={"type": "object", "required": ["n"]})
    refused = await execute(api, workflow_id, input={})
    await elsewhere(workflow_id, 3)
    accepted = await execute(api, workflow_id, input={})

    assert (refused.status_code, refused.json()["code"]) == (422, "input_schema_violated")
    assert (accepted.status_code, accepted.json()["workflow_version"]) == (200, 3)


async def test_parts_are_of_the_new_version(api: Api, elsewhere: Change):
    workflow_id = await known_here(api)
    await elsewhere(workflow_id, 2)
    cut = (await execute(api, workflow_id, until_node="a")).json()
    await elsewhere(workflow_id, 3)
    alone = await api.call("POST", f"workflows/{workflow_id}/nodes/a/execute?wait=20", json={"items": [{}]})
    await elsewhere(workflow_id, 4)
    with_last = await api.call("POST", f"workflows/{workflow_id}/nodes/a/execute?wait=20", json={})

    assert (cut["workflow_version"], cut["output"]["a"]) == (2, [{"version": 2}])
    assert alone.json()["output"]["a"] == [{"version": 3}]
    assert with_last.json()["output"]["a"] == [{"version": 4}]


async def test_what_the_current_version_does_not_have_is_refused(api: Api, elsewhere: Change):
    workflow_id = await known_here(api)
    refused = await execute(api, workflow_id, until_node="b")
    assert (refused.status_code, refused.json()["code"]) == (422, "no_such_node")
