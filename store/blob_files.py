"""`workflow.blobs.Blobs` in a folder, for one host: `<workspace>/<first two digits>/<sha256>`, each file written once and whole.

Who names what stands in the database. A put names first and then writes, or touches, the file under a shared lock on its
folder; a sweep asks who names a file first and then removes it under the exclusive lock, if nobody has touched it meanwhile.
So content is never removed under a put that found it there.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from store.blobs import References
from workflow.errors import StoreUnavailable

LOCK = ".lock"
PARTIAL = ".partial-"
ASKED_AT_ONCE = 500


class FileBlobs:
    """Blobs as files below `root`, which all processes of the host share."""

    def __init__(self, root: Path, references: References, now: Callable[[], float] = time.time) -> None:
        self._root = root
        self._references = references
        self._now = now

    async def put(self, workspace_id: UUID, execution_id: UUID, contents: Mapping[bytes, bytes]) -> None:
        """Keep contents for an execution."""
        await self._references.add(workspace_id, execution_id, sorted(contents))
        await asyncio.to_thread(self._write, workspace_id, contents)

    async def get(self, workspace_id: UUID, names: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return contents by sha256; what is not there, or is not what its name says, is absent."""
        return await asyncio.to_thread(self._read, workspace_id, names)

    async def sweep(self, grace_ms: int) -> int:
        """Remove what no execution names any more and nobody has put within the grace."""
        await self._references.forget(grace_ms)
        before = self._now() - grace_ms / 1000
        removed = 0
        for workspace_id, old in await asyncio.to_thread(self._old, before):
            for start in range(0, len(old), ASKED_AT_ONCE):
                unnamed = await self._references.unnamed(workspace_id, old[start : start + ASKED_AT_ONCE])
                removed += await asyncio.to_thread(self._remove, workspace_id, unnamed, before)
        return removed

    def _file(self, workspace_id: UUID, name: bytes) -> Path:
        digits = name.hex()
        return self._root / str(workspace_id) / digits[:2] / digits

    def _write(self, workspace_id: UUID, contents: Mapping[bytes, bytes]) -> None:
        with _full_disks():
            for name, content in contents.items():
                file = self._file(workspace_id, name)
                self._make_folder(file.parent)
                with _locked(file.parent, fcntl.LOCK_SH):
                    if not self._touched(file, len(content)):
                        self._write_whole(file, content)

    def _touched(self, file: Path, size: int) -> bool:
        try:
            os.utime(file, (self._now(), self._now()))
            return file.stat().st_size == size
        except FileNotFoundError:
            return False

    def _write_whole(self, file: Path, content: bytes) -> None:
        partial = file.with_name(f"{PARTIAL}{os.getpid()}-{os.urandom(8).hex()}")
        with partial.open("wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        os.utime(partial, (self._now(), self._now()))
        partial.rename(file)
        _sync_folder(file.parent)

    def _make_folder(self, folder: Path) -> None:
        """Make the folder and those above it, durable from the root on."""
        if folder.is_dir():
            return
        if folder != self._root:
            self._make_folder(folder.parent)
        folder.mkdir(mode=0o700, parents=folder == self._root, exist_ok=True)
        _sync_folder(folder.parent)

    def _read(self, workspace_id: UUID, names: Sequence[bytes]) -> dict[bytes, bytes]:
        found = {}
        with _full_disks():
            for name in names:
                try:
                    content = self._file(workspace_id, name).read_bytes()
                except FileNotFoundError:
                    continue
                if sha256(content).digest() == name:
                    found[name] = content
        return found

    def _old(self, before: float) -> list[tuple[UUID, list[bytes]]]:
        """Return what was not touched since, by workspace; take away what writers that died have left."""
        found: dict[UUID, list[bytes]] = {}
        with _full_disks():
            for file in self._root.glob("*/*/*"):
                try:
                    old = file.stat().st_mtime < before
                except FileNotFoundError:
                    continue
                if not old or file.name == LOCK:
                    continue
                if file.name.startswith(PARTIAL):
                    file.unlink(missing_ok=True)
                else:
                    found.setdefault(UUID(file.parts[-3]), []).append(bytes.fromhex(file.name))
        return sorted(found.items())

    def _remove(self, workspace_id: UUID, names: Sequence[bytes], before: float) -> int:
        removed = 0
        with _full_disks():
            for name in names:
                file = self._file(workspace_id, name)
                with _locked(file.parent, fcntl.LOCK_EX):
                    if file.exists() and file.stat().st_mtime < before:
                        file.unlink()
                        removed += 1
        return removed


@contextmanager
def _locked(folder: Path, kind: int) -> Iterator[None]:
    handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, kind)
        yield
    finally:
        os.close(handle)


@contextmanager
def _full_disks() -> Iterator[None]:
    """Raise `StoreUnavailable` for what the file system refuses: a full disk, a folder that cannot be written."""
    try:
        yield
    except OSError as error:
        raise StoreUnavailable(f"the blobs' folder does not answer: {error}") from error


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
