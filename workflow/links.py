"""Links by which a request is answered without a login: whoever holds the link may answer, once.

The secret part is derived, so it is the same however often it is asked for; what is stored is its hash.
"""

import hmac
from base64 import urlsafe_b64encode
from hashlib import sha256
from uuid import UUID

PATH = "/api/v1/respond/"


def link_token(key: bytes, execution_id: UUID, node_id: str, run_index: int, ordinal: int = 0) -> str:
    """Return the secret part of the link of a node's run: 43 characters."""
    names = "\x1f".join((str(execution_id), node_id, str(run_index), str(ordinal)))
    return urlsafe_b64encode(hmac.digest(key, names.encode(), "sha256")).decode().rstrip("=")


def token_hash(token: str) -> bytes:
    """Return what is stored of it."""
    return sha256(token.encode("utf-8", "surrogateescape")).digest()
