"""Runs one node type the way the engine does: with a config that compiles, its placeholders filled in."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import closing
from typing import Any
from uuid import UUID

import pytest

from nodes.catalog import load_catalog
from nodes.sandbox import LocalSandbox
from nodes.sandbox.expression_syntax import expression_faults
from tests.models import WordModels
from workflow.compile import Compiler
from workflow.config import ConfigTemplate, Frame
from workflow.document import Document, Node
from workflow.findings import Severity
from workflow.spec import Branch, Catalog, Items, NodeContext, NodeType, Outputs

EXECUTION_ID = UUID("01890000-0000-7000-8000-000000000001")
WORKFLOW_ID = UUID("01890000-0000-7000-8000-000000000002")

NOW_MS = 1_700_000_000_000

RunNode = Callable[..., Awaitable[Outputs]]


@pytest.fixture
def sql() -> Callable[..., list[tuple[Any, ...]]]:
    """What SQLite answers to a query over tables given as (columns, rows): an oracle for joins, groups and the like."""

    def ask(query: str, **tables: tuple[Sequence[str], Sequence[Sequence[Any]]]) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(":memory:")) as database:
            for name, (columns, rows) in tables.items():
                database.execute(f"create table {name} ({', '.join(columns)})")
                database.executemany(f"insert into {name} values ({', '.join('?' * len(columns))})", rows)
            return database.execute(query).fetchall()

    return ask


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
        models=WordModels(),
        now_ms=NOW_MS,
    )


def findings(node_type: NodeType, config: dict[str, Any]) -> list[tuple[str, str]]:
    """Return (code, field) of each error that compiling a workflow of this one node finds in its config."""
    others = {each.spec.type: each for each in load_catalog()} if node_type.workflows_of else {}
    catalog = Catalog({**others, node_type.spec.type: node_type})
    compiler = Compiler(catalog, nodes_max=10, syntax=expression_faults)
    document = Document(name="test", nodes=[Node(id="n1", type=node_type.spec.type, config=config)])
    return [
        (f.code, f.field.removeprefix("config."))
        for f in compiler.validate(document)
        if f.severity is Severity.ERROR and f.field.startswith("config")
    ]


@pytest.fixture
def run_node(context: NodeContext) -> RunNode:
    """Give `await run_node(node_type, config, objects)`: each object becomes an item.

    With `inputs`, a list of lists of objects, each list is a branch of its own, on the handle `handles` names for it.
    With `keep_going`, items that fail by themselves are left in `context.failed`.
    """

    async def run(
        node_type: NodeType,
        config: dict[str, Any],
        objects: list[dict[str, Any]] | None = None,
        *,
        inputs: list[list[dict[str, Any]]] | None = None,
        handles: list[str] | None = None,
        keep_going: bool = False,
    ) -> Outputs:
        assert findings(node_type, config) == []
        lists = inputs if inputs is not None else [objects or []]
        items: Items = []
        branches = []
        for number, part in enumerate(lists):
            start = len(items)
            items += [{"json": each} for each in part]
            handle = handles[number] if handles else "main"
            branches.append(
                Branch(handle=handle, source_id=f"s{number}", source_handle="main", items=items[start:], start=start)
            )
        context.branches, context.keep_going = branches, keep_going
        frame = Frame(
            items=items, execution_id=EXECUTION_ID, workflow_id=WORKFLOW_ID, workflow_name="Orders", now_ms=NOW_MS
        )
        config_of_items = await ConfigTemplate(config, node_type.spec).resolve(frame, context.sandbox)
        return await node_type.run(context, config_of_items, items)

    return run
