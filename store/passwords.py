"""Passwords: bcrypt over a SHA-256 of the password, so that none is too long for bcrypt's 72 bytes or cut at a NUL."""

import asyncio
import base64
import hashlib

import bcrypt

COST = 12
NOBODY = b"$2b$12$" + b"C6UzMDM.H6dfI/f/IKcEeO" + b"Nrlv3dE6pD8rzXOYmDHyzMiGHKoNEDq"
"""A hash that no password is known for: a look-up of an unknown user takes as long as one of a known user."""


def hash_password(password: str, cost: int = COST) -> str:
    """Return the hash to store. Takes about a quarter of a second: on an event loop, use `hash_in_thread`."""
    return bcrypt.hashpw(_digest(password), bcrypt.gensalt(cost)).decode()


def matches(password: str, stored: str | None) -> bool:
    """Whether the password is the one that was hashed; takes as long when there is nothing stored."""
    known = bcrypt.checkpw(_digest(password), stored.encode() if stored else NOBODY)
    return known and stored is not None


async def hash_in_thread(password: str, cost: int = COST) -> str:
    """Return the hash to store, computed beside the event loop."""
    return await asyncio.to_thread(hash_password, password, cost)


async def matches_in_thread(password: str, stored: str | None) -> bool:
    """Whether the password is the one that was hashed, computed beside the event loop."""
    return await asyncio.to_thread(matches, password, stored)


def _digest(password: str) -> bytes:
    return base64.b64encode(hashlib.sha256(password.encode()).digest())
