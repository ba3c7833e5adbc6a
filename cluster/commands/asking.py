"""What several commands need: the API of this host's instance, files that hold JSON, one JSON document as the answer."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from cluster.client import Client
from cluster.instance import open_instance
from workflow.errors import BadInput

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON document, and nothing else.")]
Count: TypeAlias = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many at most.")]


@contextmanager
def connected() -> Iterator[Client]:
    """Lend a client of this host's instance. Raises `Unavailable` when there has been no first start."""
    admin = open_instance().home.admin()
    with Client(admin["base_url"], admin["workspace_id"], admin["api_key"]) as client:
        yield client


def print_json(document: Any) -> None:
    """Print a JSON document."""
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def json_file(file: Path) -> Any:
    """Return what a file holds; `-` is the standard input. Raises `BadInput`."""
    if str(file) == "-":
        return parsed(sys.stdin.buffer.read(), "the standard input")
    try:
        data = file.read_bytes()
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror}", "unreadable") from None
    return parsed(data, str(file))


def parsed(data: bytes, name: str) -> Any:
    """Return what JSON means. Raises `BadInput`."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{name} is not JSON: {error}", "not_json") from None
