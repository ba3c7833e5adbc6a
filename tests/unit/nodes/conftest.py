"""Runs one node type the way the engine does: with a config that its own schema accepts."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from jsonschema import Draft202012Validator

from nodes.sandbox import LocalSandbox
from workflow.spec import Items, NodeContext, NodeType, Outputs

EXECUTION_ID = UUID("01890000-0000-7000-8000-000000000001")
WORKFLOW_ID = UUID("01890000-0000-7000-8000-000000000002")

RunNode = Callable[..., Awaitable[Outputs]]


@pytest.fixture
async def sandbox() -> AsyncIterator[LocalSandbox]:
    async with LocalSandbox(size=1) as sandbox:
        yield sandbox


@pytest.fixture
async def context(sandbox: LocalSandbox) -> NodeContext:
    return NodeContext(
        execution_id=EXECUTION_ID,
        workflow_id=WORKFLOW_ID,
        workflow_name="Orders",
        node_id="n1",
        run_index=0,
        attempt=1,
        timeout_ms=60_000,
        sandbox=sandbox,
    )


@pytest.fixture
def run_node(context: NodeContext) -> RunNode:
    """Give `await run_node(node_type, config, objects)`: each object becomes an item."""

    async def run(node_type: NodeType, config: dict[str, Any], objects: list[dict[str, Any]]) -> Outputs:
        Draft202012Validator(node_type.spec.config_schema).validate(config)
        assert node_type.check(config) == []
        items: Items = [{"json": each} for each in objects]
        return await node_type.run(context, config, items)

    return run
