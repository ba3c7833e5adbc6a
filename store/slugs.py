"""Slugs: a name made fit for an address, and unique by the end of its owner's id."""

import re
import unicodedata
from uuid import UUID

CHARS_MAX = 60


def slug_of(name: str, identity: UUID) -> str:
    """Return a slug of at most 69 characters: the name's letters and digits, and eight digits of chance from the id."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:CHARS_MAX].strip("-")
    return f"{words or 'unnamed'}-{identity.hex[-8:]}"
