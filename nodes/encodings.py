"""Bytes written as text: hex, Base64 and Base64url."""

import base64
import binascii

from workflow.errors import NodeError

ENCODINGS = ("hex", "base64", "base64url")


def encoded(data: bytes, encoding: str) -> str:
    """Write bytes as text; Base64url without padding."""
    match encoding:
        case "hex":
            return data.hex()
        case "base64":
            return base64.b64encode(data).decode()
        case _:
            return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decoded(text: str, encoding: str) -> bytes:
    """Read bytes from text; space around it and missing padding do not matter. Raises `NodeError` (`encoding_invalid`)."""
    text = text.strip()
    try:
        if encoding == "hex":
            return binascii.unhexlify(text)
        padded = text.rstrip("=")
        padded += "=" * (-len(padded) % 4)
        return base64.b64decode(padded, altchars=b"-_" if encoding == "base64url" else None, validate=True)
    except ValueError as error:
        raise NodeError(f"this is not {encoding}: {error}", "encoding_invalid", {"encoding": encoding}) from None
