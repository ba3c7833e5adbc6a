"""The items of one node's result, a page at a time: cut in the database, so that a large result is not carried for a few items.

Of a result that is a blob, the replica reads the whole and cuts it, in a thread.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from store.outages import transaction
from store.paging import bounded
from store.reading import absent
from workflow.blobs import BlobRef, Blobs, read_blob
from workflow.errors import NotFound

MAIN = "main"

RESULT = """
SELECT n.run_index, n.status, (
    SELECT json_object_agg(h.key, CASE json_typeof(h.value) WHEN 'array' THEN json_array_length(h.value) ELSE 0 END)
    FROM json_each(CASE json_typeof(n.output_data) WHEN 'object' THEN n.output_data END) h) AS handles,
    n.output_ref::text AS reference
FROM node_executions n
WHERE n.execution_id = :execution AND n.node_id = :node AND (CAST(:run AS integer) IS NULL OR n.run_index = :run)
ORDER BY n.run_index DESC LIMIT 1
"""

ITEMS = """
SELECT item.value::text
FROM node_executions n CROSS JOIN LATERAL json_array_elements(n.output_data -> :handle) WITH ORDINALITY item (value, place)
WHERE n.execution_id = :execution AND n.node_id = :node AND n.run_index = :run
ORDER BY item.place OFFSET :start LIMIT :size
"""

EXISTS = "SELECT 1 FROM executions WHERE id = :execution AND workspace_id = :workspace"


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemPage:
    """Items as the JSON that was stored. `handles` counts the items of each of the node's handles; `next_start` is None at the end."""

    run_index: int
    status: str
    handle: str
    handles: Mapping[str, int]
    items: Sequence[bytes]
    next_start: int | None


class NodeItems:
    """Reads items. Every method raises `StoreUnavailable` when the database does not answer."""

    def __init__(self, engine: AsyncEngine, blobs: Blobs) -> None:
        self._engine = engine
        self._blobs = blobs

    async def page(
        self,
        workspace_id: UUID,
        execution_id: UUID,
        node_id: str,
        *,
        handle: str | None = None,
        run_index: int | None = None,
        start: int = 0,
        limit: int = 50,
    ) -> ItemPage:
        """Return items of a node's last run, or of the run with that index; of `main`, or of its first handle.

        Raises `NotFound`: no such execution, node, run or handle; `BlobMissing`. A run without a result has no handles and no items.
        """
        place = {"execution": execution_id, "node": node_id}
        size = bounded(limit)
        async with transaction(self._engine) as connection:
            if (await connection.execute(text(EXISTS), {**place, "workspace": workspace_id})).first() is None:
                raise absent(execution_id)
            row = (await connection.execute(text(RESULT), {**place, "run": run_index})).first()
            if row is None:
                raise NotFound("this execution has no result of such a node and run", fields={"node_id": node_id})
            reference = BlobRef.from_json(row.reference)
            handles: dict[str, int] = dict(reference.items) if reference is not None else row.handles or {}
            if handle is None:
                handle = MAIN if MAIN in handles else next(iter(handles), MAIN)
            elif handle not in handles:
                raise NotFound("the result has no items on such a handle", fields={"handles": sorted(handles)})
            items: list[bytes] = []
            if reference is None and handles.get(handle, 0) > start:
                chosen = {**place, "run": row.run_index, "handle": handle, "start": start, "size": size}
                items = [value.encode() for (value,) in await connection.execute(text(ITEMS), chosen)]
        if reference is not None and handles.get(handle, 0) > start:
            content = await read_blob(self._blobs, workspace_id, reference)
            items = await asyncio.to_thread(_cut, content, handle, start, size)
        left = handles.get(handle, 0) > start + len(items) and bool(items)
        return ItemPage(
            run_index=row.run_index,
            status=row.status,
            handle=handle,
            handles=handles,
            items=items,
            next_start=start + len(items) if left else None,
        )


def _cut(content: bytes, handle: str, start: int, size: int) -> list[bytes]:
    items: list[object] = orjson.loads(content)[handle]
    return [orjson.dumps(item) for item in items[start : start + size]]
