"""`data.crypto`: hashes, signatures, random values and encodings."""

import hashlib
import hmac
import secrets
import string
import uuid
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from nodes import keys
from nodes.conversions import text_of
from nodes.encodings import ENCODINGS, decoded, encoded
from nodes.fields import problems_of
from nodes.options import text, whole_number, wrong
from nodes.sources import file_in, target_properties, with_result
from workflow.errors import NodeError
from workflow.spec import (
    MAIN,
    Config,
    Example,
    Item,
    Items,
    JsonObject,
    NodeContext,
    NodeSpec,
    NodeType,
    Outputs,
    Problem,
)

_HASHES = ("md5", "sha1", "sha256", "sha384", "sha512", "sha3_256", "sha3_384", "sha3_512")
_LENGTH = 32
_LENGTH_MAX = 4_096
_ALPHABET = string.ascii_letters + string.digits
_INTEGER_MAX = 2**53 - 1

_OF_VALUES = ("hash", "hmac", "sign", "verify", "encode", "decode")
_OPERATION_HELP = (
    "`hash`, `hmac`: the digest of `value`. `sign`, `verify`: with an Ed25519 key or an RSA key (PSS with SHA-256). `encode`, "
    "`decode`: text as hex, Base64 or Base64url and back. `random`: from the system's secure source, a new value for every "
    "item."
)

SPEC = NodeSpec(
    type="data.crypto",
    title="Crypto",
    category="data",
    description="Hashes, signs, verifies, encodes and decodes values, and makes random ones.",
    each_item=True,
    may_move=True,
    aliases=("crypto",),
    literal=frozenset({"operation", "algorithm", "encoding", "binary", "random", "into", "keep_input"}),
    examples=(
        Example(
            title="A hash",
            config={"operation": "hash", "value": "{{ $json.email }}", "into": "key"},
            items=[{"email": "ada@example.com"}],
            outputs={
                "main": [
                    {
                        "email": "ada@example.com",
                        "key": "b5fc85e55755f9e0d030a10ab4429b6b2944855f9a0d60077fe832becbc41d72",
                    }
                ]
            },
        ),
        Example(
            title="The signature of a webhook's body",
            config={
                "operation": "hmac",
                "value": "what do ya want for nothing?",
                "key": "Jefe",
                "encoding": "base64",
                "keep_input": False,
            },
            items=[{}],
            outputs={"main": [{"result": "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM="}]},
        ),
        Example(title="A random id", config={"operation": "random", "random": "uuid", "into": "id"}, items=[{"a": 1}]),
    ),
    config_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "required": ["operation"],
        "properties": {
            "operation": {
                "enum": [*_OF_VALUES, "random"],
                "title": "Operation",
                "description": _OPERATION_HELP,
            },
            "value": {
                "title": "Value",
                "description": "Text, which is taken as UTF-8; any other value is taken as its JSON.",
            },
            "binary": {
                "type": "string",
                "minLength": 1,
                "title": "File",
                "description": "The name of the item's file that is taken in place of `value`.",
            },
            "algorithm": {
                "enum": list(_HASHES),
                "default": "sha256",
                "title": "Algorithm",
                "description": "For `hash` and `hmac`. MD5 and SHA-1 protect nothing; they are for old interfaces.",
            },
            "key": {
                "type": "string",
                "minLength": 1,
                "maxLength": 20_000,
                "title": "Key",
                "description": (
                    "For `hmac` a secret; for `sign` a private and for `verify` a public key as PEM (PKCS 8, SPKI)."
                ),
                "x-secret": True,
            },
            "signature": {
                "type": "string",
                "title": "Signature",
                "description": "For `verify`: the signature, in `encoding`. The result is true or false.",
            },
            "encoding": {
                "enum": list(ENCODINGS),
                "default": "hex",
                "title": "Encoding",
                "description": "How bytes are written as text. Base64url is without `=` at the end.",
            },
            "random": {
                "enum": ["bytes", "uuid", "integer", "string"],
                "default": "uuid",
                "title": "Random",
                "description": "Bytes, a UUID (version 4), a whole number, or a string of characters of an alphabet.",
            },
            "length": {
                "type": "integer",
                "minimum": 1,
                "maximum": _LENGTH_MAX,
                "default": _LENGTH,
                "title": "Length",
                "description": "How many random bytes or characters.",
            },
            "minimum": {
                "type": "integer",
                "minimum": -_INTEGER_MAX,
                "maximum": _INTEGER_MAX,
                "default": 0,
                "title": "Minimum",
                "description": "The smallest random whole number.",
            },
            "maximum": {
                "type": "integer",
                "minimum": -_INTEGER_MAX,
                "maximum": _INTEGER_MAX,
                "default": 100,
                "title": "Maximum",
                "description": "The largest random whole number.",
            },
            "alphabet": {
                "type": "string",
                "minLength": 2,
                "maxLength": 1_000,
                "default": _ALPHABET,
                "title": "Alphabet",
                "description": "The characters of a random string.",
            },
            **target_properties("result"),
        },
        "additionalProperties": False,
        "allOf": [
            {
                "if": {"properties": {"operation": {"enum": operations}}, "required": ["operation"]},
                "then": then,
            }
            for operations, then in (
                (list(_OF_VALUES), {"anyOf": [{"required": ["value"]}, {"required": ["binary"]}]}),
                (["hmac", "sign", "verify"], {"required": ["key"]}),
                (["verify"], {"required": ["signature"]}),
            )
        ],
    },
)


async def run(context: NodeContext, config: Config, items: Items) -> Outputs:
    """Work on every item. Raises `NodeError`: `key_invalid`, `encoding_invalid`, `file_missing`, `invalid_option`."""
    known = keys.Keys()
    results: Items = []
    for index, item in enumerate(items):
        with context.item(index):
            filled = config.of(index)
            made = _OPERATIONS[filled["operation"]](item, filled, known)
            results.append(with_result(item, index, filled, made, "result"))
    return {MAIN: results}


def check(config: JsonObject) -> list[Problem]:
    """Check the path, and that a range of whole numbers is one."""
    found = problems_of([("into", config.get("into", "result"))])
    lowest, highest = config.get("minimum", 0), config.get("maximum", 100)
    if isinstance(lowest, int) and isinstance(highest, int) and lowest > highest:
        found.append(Problem("invalid_config", "the minimum is more than the maximum", "minimum"))
    return found


def _data(item: Item, config: JsonObject) -> bytes:
    if "value" not in config:
        return file_in(item, config["binary"])
    try:
        return text_of(config["value"]).encode()
    except UnicodeEncodeError:
        raise NodeError("the text has half of a surrogate pair", "encoding_invalid") from None


def _hash(item: Item, config: JsonObject, _known: keys.Keys) -> str:
    digest = hashlib.new(config.get("algorithm", "sha256"), _data(item, config), usedforsecurity=False)
    return encoded(digest.digest(), config.get("encoding", "hex"))


def _hmac(item: Item, config: JsonObject, _known: keys.Keys) -> str:
    digest = hmac.digest(text(config, "key").encode(), _data(item, config), config.get("algorithm", "sha256"))
    return encoded(digest, config.get("encoding", "hex"))


def _sign(item: Item, config: JsonObject, known: keys.Keys) -> str:
    return encoded(known.sign(text(config, "key"), _data(item, config)), config.get("encoding", "hex"))


def _verify(item: Item, config: JsonObject, known: keys.Keys) -> bool:
    try:
        signature = decoded(text(config, "signature"), config.get("encoding", "hex"))
    except NodeError:
        return False
    return known.verify(text(config, "key"), signature, _data(item, config))


def _encode(item: Item, config: JsonObject, _known: keys.Keys) -> str:
    return encoded(_data(item, config), config.get("encoding", "hex"))


def _decode(item: Item, config: JsonObject, _known: keys.Keys) -> str:
    data = decoded(_data(item, config).decode(errors="replace"), config.get("encoding", "hex"))
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise NodeError(f"what is encoded is not UTF-8 text: {error}", "encoding_invalid") from None


def _random(_item: Item, config: JsonObject, _known: keys.Keys) -> str | int:
    match config.get("random", "uuid"):
        case "bytes":
            count = whole_number(config, "length", _LENGTH, 1, _LENGTH_MAX)
            return encoded(secrets.token_bytes(count), config.get("encoding", "hex"))
        case "integer":
            lowest = whole_number(config, "minimum", 0, -_INTEGER_MAX, _INTEGER_MAX)
            highest = whole_number(config, "maximum", 100, -_INTEGER_MAX, _INTEGER_MAX)
            if lowest > highest:
                raise wrong("minimum", f"at most {highest}", lowest)
            return lowest + secrets.randbelow(highest - lowest + 1)
        case "string":
            alphabet = text(config, "alphabet", _ALPHABET)
            if len(set(alphabet)) < 2:
                raise wrong("alphabet", "two characters or more", alphabet)
            count = whole_number(config, "length", _LENGTH, 1, _LENGTH_MAX)
            return "".join(secrets.choice(alphabet) for _ in range(count))
        case _:
            return str(uuid.uuid4())


_OPERATIONS: Mapping[str, Callable[[Item, JsonObject, keys.Keys], Any]] = MappingProxyType(
    {
        "hash": _hash,
        "hmac": _hmac,
        "sign": _sign,
        "verify": _verify,
        "encode": _encode,
        "decode": _decode,
        "random": _random,
    }
)

NODE_TYPE = NodeType(SPEC, run, check)
