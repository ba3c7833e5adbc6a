"""What the clients did and were told, written down before and after, each line on the disk before anything follows from it."""

import asyncio
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID


class JournalFile:
    """Appends lines that survive this process. Lines that come while others are being made durable go together."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._waiting: list[bytes] = []
        self._turn = asyncio.Lock()

    async def note(self, what: str, at_s: float, **fields: Any) -> None:
        """Write a line; returns when it is durable. `at_s` is Unix time."""
        line = json.dumps({"what": what, "at_s": at_s, **fields}).encode() + b"\n"
        self._waiting.append(line)
        async with self._turn:
            if self._waiting:
                lines, self._waiting = self._waiting, []
                await asyncio.to_thread(self._write, b"".join(lines))

    def close(self) -> None:
        os.close(self._file)

    def _write(self, lines: bytes) -> None:
        os.write(self._file, lines)
        os.fdatasync(self._file)


@dataclass(slots=True)
class Said:
    """One answer to a request: what somebody wanted to say before it was sent, and what came back."""

    request: UUID
    who: str
    action: str
    status: int | None = None
    """200 where it was taken, 409 where it was not; None while nothing has come back."""
    doubtful: bool = False
    """Whether a try was lost before that: a 409 may then be of its own doing."""


@dataclass(slots=True)
class Submission:
    """One execution as its client knows it. `ids` are all that were ever answered to its key; `seqs` what its stream gave."""

    tenant: str
    key: str
    shape: str
    n: int
    sent_s: float
    acknowledged_s: float | None = None
    ids: set[UUID] = field(default_factory=set)
    cancelled: bool = False
    """Whether the client asked for a cancel."""
    said: dict[str, Said] = field(default_factory=dict)
    """What people answered to its requests, by who they are."""
    paused: bool = False
    """Whether the client asked for a pause."""
    ended_s: float | None = None
    status: str = ""
    output: Any = None
    seqs: list[int] | None = None

    @property
    def id(self) -> UUID | None:
        """The execution, once it was acknowledged."""
        return min(self.ids) if self.ids else None


Submissions = dict[tuple[str, str], Submission]
"""By tenant and key."""


def read_journal(path: Path) -> Submissions:
    """Return what a journal says; its last line may have been cut off."""
    found: Submissions = {}
    for line in _lines(path):
        _take(found, line)
    return found


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    for line in path.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield json.loads(line)


def _take(found: Submissions, line: Mapping[str, Any]) -> None:
    place = line["t"], line["key"]
    match line["what"]:
        case "sent":
            found.setdefault(place, Submission(*place, line["shape"], line["n"], line["at_s"]))
        case "acknowledged":
            known = found[place]
            known.acknowledged_s = known.acknowledged_s or line["at_s"]
            known.ids.add(UUID(line["id"]))
        case "cancel":
            found[place].cancelled = True
        case "pause":
            found[place].paused = True
        case "answering":
            found[place].said[line["who"]] = Said(UUID(line["request"]), line["who"], line["action"])
        case "answered":
            said = found[place].said[line["who"]]
            said.status, said.doubtful = line["status"], line["doubtful"]
        case "ended":
            known = found[place]
            known.ended_s, known.status, known.output = line["at_s"], line["status"], line["output"]
        case "streamed":
            found[place].seqs = line["seqs"]
