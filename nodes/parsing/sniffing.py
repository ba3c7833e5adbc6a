"""What a file is: by its content, and by its name only where several kinds of text look alike."""

import codecs
import io
import zipfile
from pathlib import PurePosixPath

from workflow.errors import BadInput
from workflow.knowledge import FileType

TEXTS = {
    ".txt": FileType.TXT,
    ".text": FileType.TXT,
    ".log": FileType.TXT,
    ".md": FileType.MD,
    ".markdown": FileType.MD,
    ".rst": FileType.TXT,
    ".csv": FileType.CSV,
    ".tsv": FileType.CSV,
    ".json": FileType.JSON,
    ".html": FileType.HTML,
    ".htm": FileType.HTML,
}
CONTENTS = {".pdf": FileType.PDF, ".docx": FileType.DOCX}
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
HEAD_BYTES = 4_096
DOCX_PART = "word/document.xml"


def file_type_of(name: str, content: bytes) -> FileType:
    """Return what a file is. Raises `BadInput`: `file_empty`, `file_type_unsupported`, `file_type_mismatch`."""
    if not content.strip():
        raise BadInput(f"{name!r} is empty", "file_empty")
    suffix = PurePosixPath(name).suffix.lower()
    found = _by_content(content)
    if found is None:
        raise BadInput(f"{name!r} is neither PDF, DOCX nor text", "file_type_unsupported", {"name": name})
    named = CONTENTS.get(suffix) or TEXTS.get(suffix)
    if found in (FileType.PDF, FileType.DOCX):
        if named is not None and named is not found:
            raise _mismatch(name, found)
        return found
    if suffix in CONTENTS:
        raise _mismatch(name, FileType.TXT)
    return named or found


def _by_content(content: bytes) -> FileType | None:
    head = content[:HEAD_BYTES]
    if b"%PDF-" in head[:1_024]:
        return FileType.PDF
    if head.startswith(b"PK\x03\x04"):
        return FileType.DOCX if _is_docx(content) else None
    encoding = next((name for mark, name in MARKS.items() if head.startswith(mark)), "")
    if not encoding and b"\x00" in head:
        return None
    start = head.decode(encoding or "latin-1", "ignore").lstrip().lower()
    if start.startswith(("<!doctype html", "<html")):
        return FileType.HTML
    return FileType.TXT


def _is_docx(content: bytes) -> bool:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return DOCX_PART in archive.namelist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def _mismatch(name: str, found: FileType) -> BadInput:
    what = "text" if found is FileType.TXT else found.value
    return BadInput(f"{name!r} is not what its name says: its content is {what}", "file_type_mismatch", {"name": name})
