"""Ids are UUIDv7: made here in Python, so they exist before the insert, and ordered by time, so partitions prune on them.

Layout after RFC 9562, section 5.7: 48 bits of Unix milliseconds, 4 of version, 12 + 62 of chance, 2 of variant.
"""

from hashlib import sha256
from uuid import UUID


def uuid7(at_ms: int, chance: bytes) -> UUID:
    """Return the UUIDv7 of the millisecond `at_ms` (Unix) with ten bytes of chance.

    Raises `ValueError` when the time does not fit 48 bits or the chance is not ten bytes.
    """
    if not 0 <= at_ms < 1 << 48:
        raise ValueError(f"{at_ms} is not a Unix time in milliseconds that fits a UUIDv7")
    if len(chance) != 10:
        raise ValueError("a UUIDv7 takes ten bytes of chance")
    value = int.from_bytes(at_ms.to_bytes(6, "big") + chance, "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    return UUID(int=value)


def derived_id(of: UUID, *names: str | int) -> UUID:
    """Return the id of what `of` makes under these names: the same every time, and of the same millisecond as `of`."""
    digest = sha256("\x1f".join([str(of), *map(str, names)]).encode()).digest()
    return uuid7(uuid7_ms(of), digest[:10])


def uuid7_ms(value: UUID) -> int:
    """Return the Unix millisecond in which a UUIDv7 was made."""
    return value.int >> 80
