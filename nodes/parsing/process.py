"""Reading a file in a process of its own: with limits, without environment, killed when it takes too long."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import orjson

from workflow.errors import NodeError
from workflow.knowledge import FileType, Page, ReadFile

READER = Path(__file__).with_name("reader.py")
OUTPUT_BYTES_MAX = 256 * 1024 * 1024


class FileReader:
    """Reads files, `at_once` at a time."""

    def __init__(self, at_once: int = 2) -> None:
        self._room = asyncio.Semaphore(at_once)

    async def read(self, kind: FileType, content: bytes, timeout_ms: int) -> ReadFile:
        """Return the text of a file.

        Raises `NodeError`: `file_corrupt`, `file_encrypted`, `file_bomb`, `file_too_large`, `file_too_wide`, `file_without_text`,
        `file_timeout`, and `reader_crashed` where the process died: such a file is not tried again either.
        """
        async with self._room:
            with tempfile.TemporaryDirectory(prefix="rayloom-read-") as folder:
                told = await self._told(kind, content, timeout_ms, folder)
        if "code" in told:
            raise NodeError(told["message"], told["code"], {"file_type": kind.value, "retryable": False})
        pages = tuple(Page(page["number"], page["text"]) for page in told["pages"])
        return ReadFile(pages, told["page_count"])

    async def _told(self, kind: FileType, content: bytes, timeout_ms: int, folder: str) -> Any:
        child = _begun(kind, folder)
        try:
            said, _ = await asyncio.to_thread(child.communicate, content, timeout_ms / 1000)
        except subprocess.TimeoutExpired as error:
            slow = {"file_type": kind.value, "retryable": False}
            raise NodeError(f"reading the file took longer than {timeout_ms} ms", "file_timeout", slow) from error
        finally:
            if child.returncode is None:  # of one that was waited for, the id may be another's by now
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
                await asyncio.to_thread(child.wait)
        if child.returncode != 0 or len(said) > OUTPUT_BYTES_MAX:
            fields: dict[str, Any] = {"file_type": kind.value, "exit_code": child.returncode, "retryable": False}
            message = (
                "the process that read the file died: it takes more memory or time than a document may, or is hostile"
            )
            raise NodeError(message, "reader_crashed", fields)
        return orjson.loads(said)


def _begun(kind: FileType, folder: str) -> "subprocess.Popen[bytes]":
    """Return the child, which waits for the file.

    Not by the loop: uvloop forks, and of the children of a process with Ray's threads one in ten then died before it was ours (seen).
    """
    return subprocess.Popen(
        [sys.executable, "-I", str(READER), kind.value],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"TMPDIR": folder, "HOME": folder},
        cwd=folder,
        start_new_session=True,
    )
