"""Large data apart from the rows that name it: content addressed by (workspace, sha256), durable before the flush that names it.

A reference belongs to an execution: what it has put is kept as long as the execution is, whoever else names the same content.
Workspaces share nothing, not even equal content.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol
from uuid import UUID

import orjson

from workflow.errors import BlobMissing


@dataclass(frozen=True, slots=True)
class BlobRef:
    """Names content. For a node's output, `items` counts its items by handle."""

    sha256: bytes
    size: int
    """Bytes."""
    items: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> bytes:
        """Return it as it is stored beside what it replaces."""
        return orjson.dumps({"sha256": self.sha256.hex(), "bytes": self.size, "items": self.items})

    @classmethod
    def from_json(cls, data: str | None) -> "BlobRef | None":
        """Return what `as_json` was made of; None of None."""
        if data is None:
            return None
        found = orjson.loads(data)
        return cls(bytes.fromhex(found["sha256"]), found["bytes"], found["items"])


def reference_to(content: bytes, items: Mapping[str, int] | None = None) -> BlobRef:
    """Return the reference to content."""
    return BlobRef(sha256(content).digest(), len(content), dict(items or {}))


class Blobs(Protocol):
    """Content by (workspace, sha256). Every method raises `StoreUnavailable` when its store does not answer."""

    async def put(self, workspace_id: UUID, execution_id: UUID, contents: Mapping[bytes, bytes]) -> None:
        """Keep contents, by their sha256, for an execution. Durable when it returns; putting again changes nothing."""
        ...

    async def get(self, workspace_id: UUID, names: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return contents by sha256; what is not there is absent."""
        ...

    async def sweep(self, grace_ms: int) -> int:
        """Remove what no execution names any more and nobody has put within the grace; how many contents.

        The grace must be longer than any put and the flush or insert after it take.
        """
        ...


async def put_apart(
    blobs: Blobs, workspace_id: UUID, execution_id: UUID, data: bytes, above_bytes: int
) -> tuple[bytes, BlobRef | None]:
    """Return JSON as a row keeps it: itself, or where it is larger null with a reference, once it is durable as a blob.

    Raises `StoreUnavailable`; it may be called again.
    """
    if len(data) <= above_bytes:
        return data, None
    reference = reference_to(data)
    await blobs.put(workspace_id, execution_id, {reference.sha256: data})
    return b"null", reference


async def read_blob(blobs: Blobs, workspace_id: UUID, reference: BlobRef) -> bytes:
    """Return the content. Raises `BlobMissing`, `StoreUnavailable`."""
    found = await blobs.get(workspace_id, [reference.sha256])
    if reference.sha256 not in found:
        raise missing(reference)
    return found[reference.sha256]


def missing(reference: BlobRef) -> BlobMissing:
    """Return the error for content that is named and not there."""
    name = reference.sha256.hex()
    return BlobMissing(f"the blob {name} of {reference.size} bytes is not there", fields={"sha256": name})
