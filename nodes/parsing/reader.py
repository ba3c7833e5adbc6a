"""The child process that reads one file: `python -I reader.py TYPE`, the file on standard input, JSON on standard output.

It limits itself before it looks at the file. What comes out is `{"pages": [{"number", "text"}], "page_count"}` or `{"code", "message"}`.
Rayloom's own modules are not imported here, and nothing of the environment is there.
"""

import codecs
import csv
import io
import json
import re
import resource
import sys
import zipfile
from typing import Any

MEMORY_BYTES = 1536 * 1024 * 1024
CPU_S = 120
TEXT_CHARS_MAX = 50 * 1024 * 1024
UNPACKED_BYTES_MAX = 300 * 1024 * 1024
UNPACKED_RATIO_MAX = 200
ENTRIES_MAX = 10_000
COLUMNS_MAX = 1_000
MIME_TYPES = {
    "pdf": "application/pdf",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "html": "text/html",
}
ENCRYPTED = ("password", "encrypt")
HEAD_BYTES = 1_024
"""In which a page says how it is encoded, as browsers look for it."""
CHARSET = re.compile(rb"<meta[^>]{0,500}?charset\s*=\s*[\"']?\s*([a-z0-9_.:-]{1,40})", re.IGNORECASE)
XML_ENCODING = re.compile(rb"\A\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([a-z0-9_.:-]{1,40})", re.IGNORECASE)
LATIN = "cp1252"
"""What browsers take the names of Latin 1 and ASCII for."""
CODECS = (
    "utf-8",
    "iso8859",
    "cp125",
    "cp866",
    "cp874",
    "koi8",
    "mac",
    "gb",
    "big5",
    "shift_jis",
    "euc",
    "iso2022_jp",
    "tis",
)
"""How the names of the encodings begin that a page may be in."""


class Refused(Exception):
    """A file that is not read."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def limit() -> None:
    """Take no more memory, time and files than one document may."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 * 1024 * 1024, 64 * 1024 * 1024))


def read(kind: str, content: bytes) -> dict[str, Any]:
    """Return the pages of a file. Raises `Refused`."""
    if kind == "html":
        content = decoded(content, said_charset(content)).encode("utf-8", "replace")
    if kind in MIME_TYPES:
        return _extracted(kind, content)
    text = decoded(content)
    if kind == "csv":
        text = table_text(text)
    elif kind == "json":
        text = json_text(text)
    return {"pages": [{"number": None, "text": text}], "page_count": None}


def _extracted(kind: str, content: bytes) -> dict[str, Any]:
    if kind == "docx":
        check_archive(content)
    import kreuzberg

    config = kreuzberg.ExtractionConfig(use_cache=False, pages=kreuzberg.PageConfig(extract_pages=kind == "pdf"))
    try:
        found = kreuzberg.extract_bytes_sync(content, MIME_TYPES[kind], config=config)
    except kreuzberg.KreuzbergError as error:
        text = str(error)
        if any(word in text.lower() for word in ENCRYPTED):
            raise Refused("file_encrypted", "the file is protected by a password") from error
        raise Refused("file_corrupt", f"the file cannot be read: {text[:300]}") from error
    if kind != "pdf":
        return {"pages": [{"number": None, "text": found.content}], "page_count": None}
    pages = [{"number": page["page_number"], "text": page["content"]} for page in found.pages or ()]
    return {"pages": pages or [{"number": 1, "text": found.content}], "page_count": max(len(pages), 1)}


def check_archive(content: bytes) -> None:
    """Refuse an archive that unpacks to much more than a document needs. Raises `Refused`."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError) as error:
        raise Refused("file_corrupt", f"the file is a broken archive: {error}") from error
    unpacked = sum(entry.file_size for entry in entries)
    if any(entry.flag_bits & 1 for entry in entries):
        raise Refused("file_encrypted", "the file is protected by a password")
    if len(entries) > ENTRIES_MAX or unpacked > UNPACKED_BYTES_MAX or unpacked > UNPACKED_RATIO_MAX * len(content):
        message = f"the file has {len(entries)} parts that unpack from {len(content)} to {unpacked} bytes"
        raise Refused("file_bomb", message)


def decoded(content: bytes, said: str = "") -> str:
    """Return text by its byte order mark, or by what is said of its encoding, or as UTF-8, or as Windows' Latin."""
    for mark, name in (
        (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"\xff\xfe\x00\x00", "utf-32"),
        (b"\x00\x00\xfe\xff", "utf-32"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if content.startswith(mark):
            try:
                return content.decode(name)
            except UnicodeError as error:
                raise Refused("file_corrupt", f"the text is not the {name} that it begins as: {error}") from error
    if said:
        return content.decode(said, "replace")
    try:
        return content.decode("utf-8")
    except UnicodeError:
        return content.decode(LATIN, "replace")


def said_charset(content: bytes) -> str:
    """Return the encoding that a page says it is in; empty where it says none that is known, or UTF-8, which is tried anyway."""
    head = content[:HEAD_BYTES]
    found = CHARSET.search(head) or XML_ENCODING.search(head)
    if found is None:
        return ""
    try:
        name = codecs.lookup(found[1].decode("ascii")).name
    except LookupError:
        return ""
    if name in ("iso8859-1", "ascii"):
        return LATIN
    return name if name != "utf-8" and name.startswith(CODECS) else ""


def table_text(text: str) -> str:
    """Return a table as lines `column: value; …`, which mean something by themselves; cells beyond the first line are `column 3: …`."""
    csv.field_size_limit(10_000_000)
    try:
        dialect: Any = csv.Sniffer().sniff(text[:8_192], delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel
    try:
        rows = csv.reader(io.StringIO(text, newline=""), dialect)
        names = next(rows, [])
        check_width(names)
        lines = []
        for row in rows:
            check_width(row)
            names += [f"column {number}" for number in range(len(names) + 1, len(row) + 1)]
            pairs = zip(names, row, strict=False)
            lines.append("; ".join(f"{name}: {value}" for name, value in pairs if value.strip()))
    except csv.Error as error:
        raise Refused("file_corrupt", f"the table cannot be read: {error}") from error
    if not any(lines):
        raise Refused("file_without_text", "the table has nothing below its first line, which names its columns")
    return "\n".join(line for line in lines if line)


def check_width(row: list[str]) -> None:
    """Refuse a line with more cells than are read. Raises `Refused`."""
    if len(row) > COLUMNS_MAX:
        raise Refused("file_too_wide", f"the table has {len(row)} columns; up to {COLUMNS_MAX} are read")


def json_text(text: str) -> str:
    """Return JSON with each value on a line of its own."""
    try:
        found = json.dumps(json.loads(text), indent=1, ensure_ascii=False)
        found.encode()  # an escape may stand for half a character, which is no text
        return found
    except (ValueError, RecursionError) as error:
        raise Refused("file_corrupt", f"the file is not JSON: {error}") from error


def checked(found: dict[str, Any]) -> dict[str, Any]:
    """Return what was read. Raises `Refused` where there is no text, or too much of it."""
    chars = sum(len(page["text"]) for page in found["pages"])
    if chars > TEXT_CHARS_MAX:
        raise Refused("file_too_large", f"the file has {chars} characters of text; up to {TEXT_CHARS_MAX} are read")
    if not any(page["text"].strip() for page in found["pages"]):
        raise Refused("file_without_text", "there is no text in the file; pictures of text are not read")
    return found


def main() -> None:
    """Read what comes in, and say what it is."""
    limit()
    try:
        found = checked(read(sys.argv[1], sys.stdin.buffer.read()))
    except Refused as refused:
        found = {"code": refused.code, "message": str(refused)}
    except MemoryError:
        found = {"code": "file_too_large", "message": f"reading it takes more than {MEMORY_BYTES} bytes of memory"}
    sys.stdout.buffer.write(json.dumps(found).encode("utf-8", "replace"))


if __name__ == "__main__":
    main()
