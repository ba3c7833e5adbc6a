"""`workflow.blobs.Blobs` and its references over a `MemoryStore`."""

from collections.abc import Mapping, Sequence
from uuid import UUID

from store.memory import MemoryStore


class MemoryReferences:
    """Who names what, in memory."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def add(self, workspace_id: UUID, execution_id: UUID, names: Sequence[bytes]) -> None:
        """Let an execution name contents."""
        self._store.check()
        for name in names:
            self._store.references.setdefault((execution_id, name), (workspace_id, self._store.now_ms()))

    async def unnamed(self, workspace_id: UUID, names: Sequence[bytes]) -> list[bytes]:
        """Return those of the names that no execution names."""
        self._store.check()
        named = {name for (_, name), (owner, _) in self._store.references.items() if owner == workspace_id}
        return [name for name in names if name not in named]

    async def forget(self, grace_ms: int) -> None:
        """Drop the references, older than the grace, of executions that are not there."""
        self._store.check()
        before_ms = self._store.now_ms() - grace_ms
        for key, (_, made_ms) in list(self._store.references.items()):
            if made_ms <= before_ms and key[0] not in self._store.executions:
                del self._store.references[key]


class MemoryBlobs:
    """Blobs in memory."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._references = MemoryReferences(store)

    async def put(self, workspace_id: UUID, execution_id: UUID, contents: Mapping[bytes, bytes]) -> None:
        """Keep contents for an execution."""
        self._store.check_put()
        await self._references.add(workspace_id, execution_id, sorted(contents))
        for name, content in contents.items():
            self._store.blobs[workspace_id, name] = (content, self._store.now_ms())

    async def get(self, workspace_id: UUID, names: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return contents by sha256; what is not there is absent."""
        self._store.check()
        found = {name: self._store.blobs.get((workspace_id, name)) for name in names}
        return {name: entry[0] for name, entry in found.items() if entry is not None}

    async def sweep(self, grace_ms: int) -> int:
        """Remove what no execution names any more and nobody has put within the grace."""
        await self._references.forget(grace_ms)
        before_ms = self._store.now_ms() - grace_ms
        named = {(workspace_id, name) for (_, name), (workspace_id, _) in self._store.references.items()}
        gone = [key for key, (_, put_ms) in self._store.blobs.items() if put_ms <= before_ms and key not in named]
        for key in gone:
            del self._store.blobs[key]
        return len(gone)
