"""Blobs: content by workspace and sha256, kept as long as an execution names it. One suite over all three stores."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pytest

from store.blob_files import FileBlobs
from store.blobs import PostgresBlobs, PostgresReferences
from store.deleting import Deleting
from store.engine import StoreConfig, make_engine, make_pool
from store.executions import PostgresExecutions
from store.memory import MemoryStore
from store.memory_blobs import MemoryBlobs, MemoryReferences
from store.memory_executions import MemoryExecutions
from tests.conftest import run_sql
from tests.contract.making import an_id, new_execution
from workflow.blobs import BlobRef, Blobs, read_blob, reference_to
from workflow.errors import BlobMissing
from workflow.ports import Executions, NewExecution

GRACE_MS = 60_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A blob store, and the executions that name its content."""

    blobs: Blobs
    executions: Executions
    delete: Callable[[NewExecution], Awaitable[object]]

    async def accepted(self, workspace_id: UUID | None = None) -> NewExecution:
        new = new_execution(workspace_id or an_id())
        await self.executions.accept([new])
        return new

    async def put(self, execution: NewExecution, *contents: bytes) -> None:
        named = {sha256(content).digest(): content for content in contents}
        await self.blobs.put(execution.workspace_id, execution.id, named)

    async def has(self, execution: NewExecution, content: bytes) -> bool:
        name = sha256(content).digest()
        return await self.blobs.get(execution.workspace_id, [name]) == {name: content}


@pytest.fixture(params=["memory", "postgres", "files", "files and memory"])
async def kept(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kept]:
    if "memory" in request.param:
        store = MemoryStore(lambda: int(time.time() * 1000))

        async def forget(new: NewExecution) -> None:
            del store.executions[new.id]

        files = FileBlobs(tmp_path / "blobs", MemoryReferences(store))
        blobs: Blobs = MemoryBlobs(store) if request.param == "memory" else files
        yield Kept(blobs=blobs, executions=MemoryExecutions(store), delete=forget)
        return
    dsn = request.getfixturevalue("dsn")
    pool = make_pool(StoreConfig(dsn=dsn))
    await pool.open(wait=True)
    engine = make_engine(StoreConfig(dsn=dsn))
    deleting = Deleting(engine)

    async def delete(new: NewExecution) -> None:
        run_sql(dsn, "UPDATE executions SET status = 'completed' WHERE id = %s", new.id)
        assert (await deleting.delete(new.workspace_id, [new.id])).count == 1

    files = FileBlobs(tmp_path / "blobs", PostgresReferences(pool))
    yield Kept(
        blobs=PostgresBlobs(pool) if request.param == "postgres" else files,
        executions=PostgresExecutions(pool),
        delete=delete,
    )
    await engine.dispose()
    await pool.close()


async def test_what_was_put_comes_back_whatever_its_size(kept: Kept) -> None:
    new = await kept.accepted()
    contents = [b"", b"\x00\xff", b"x" * 70_000, bytes(range(256)) * 40_000, b"y" * 4 * 1024 * 1024]
    await kept.put(new, *contents)
    found = await kept.blobs.get(new.workspace_id, [sha256(content).digest() for content in contents])

    assert sorted(found.values()) == sorted(contents)
    assert all(sha256(content).digest() == name for name, content in found.items())
    assert await kept.blobs.get(new.workspace_id, []) == {}


async def test_putting_again_changes_nothing(kept: Kept) -> None:
    new, other = await kept.accepted(), await kept.accepted()
    await kept.put(new, b"content")
    await kept.put(new, b"content", b"more")
    await kept.put(other)

    assert await kept.has(new, b"content")
    assert await kept.has(new, b"more")


async def test_workspaces_share_nothing(kept: Kept) -> None:
    mine, theirs = await kept.accepted(), await kept.accepted()
    await kept.put(mine, b"content")
    assert not await kept.has(theirs, b"content")
    await kept.put(theirs, b"content")
    await kept.delete(mine)

    assert await kept.blobs.sweep(0) == 1
    assert not await kept.has(mine, b"content")
    assert await kept.has(theirs, b"content")


async def test_shared_content_survives_the_deletion_of_one_execution(kept: Kept) -> None:
    first = await kept.accepted()
    second = await kept.accepted(first.workspace_id)
    await kept.put(first, b"both", b"only the first")
    await kept.put(second, b"both")
    await kept.delete(first)

    assert await kept.blobs.sweep(0) == 1
    assert await kept.has(second, b"both")
    assert not await kept.has(second, b"only the first")
    await kept.delete(second)
    assert await kept.blobs.sweep(0) == 1
    assert not await kept.has(second, b"both")
    assert await kept.blobs.sweep(0) == 0


async def test_what_was_put_just_now_is_not_swept(kept: Kept) -> None:
    new = await kept.accepted()
    await kept.put(new, b"content")
    await kept.delete(new)

    assert await kept.blobs.sweep(GRACE_MS) == 0
    assert await kept.has(new, b"content")


async def test_what_an_execution_that_was_never_accepted_has_put_is_swept(kept: Kept) -> None:
    new = new_execution(an_id())
    await kept.put(new, b"content")

    assert await kept.blobs.sweep(GRACE_MS) == 0
    assert await kept.has(new, b"content")
    assert await kept.blobs.sweep(0) == 1
    assert not await kept.has(new, b"content")


async def test_a_blob_that_is_not_there_is_a_clear_error(kept: Kept) -> None:
    new = await kept.accepted()
    await kept.put(new, b"content")

    assert await read_blob(kept.blobs, new.workspace_id, reference_to(b"content")) == b"content"
    with pytest.raises(BlobMissing) as caught:
        await read_blob(kept.blobs, new.workspace_id, reference_to(b"another"))
    assert caught.value.fields == {"sha256": sha256(b"another").hexdigest()}


def test_a_reference_is_stored_as_json() -> None:
    reference = reference_to(b"content", {"main": 3})

    assert BlobRef.from_json(reference.as_json().decode()) == reference
    assert BlobRef.from_json(None) is None


async def test_files_that_were_changed_or_left_half_are_not_content(tmp_path: Path) -> None:
    store = MemoryStore(lambda: 1_000_000)
    blobs = FileBlobs(tmp_path, MemoryReferences(store), now=lambda: 1_000.0)
    workspace, name = an_id(), sha256(b"content").digest()
    await blobs.put(workspace, an_id(), {name: b"content"})
    file = tmp_path / str(workspace) / name.hex()[:2] / name.hex()
    half = file.with_name(".partial-1-aa")
    half.write_bytes(b"con")

    file.write_bytes(b"CONTENT")
    assert await blobs.get(workspace, [name]) == {}
    file.write_bytes(b"cont")
    await blobs.put(workspace, an_id(), {name: b"content"})
    assert await blobs.get(workspace, [name]) == {name: b"content"}
    later = FileBlobs(tmp_path, MemoryReferences(store), now=lambda: time.time() + 7_200)
    await later.sweep(3_600_000)
    assert not half.exists()
