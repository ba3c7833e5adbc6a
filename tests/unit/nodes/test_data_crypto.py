import base64
import hashlib
import hmac
import uuid

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nodes.data_crypto import NODE_TYPE
from tests.unit.nodes.conftest import findings
from workflow.errors import NodeError
from workflow.spec import Config

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
ALGORITHMS = NODE_TYPE.spec.config_schema["properties"]["algorithm"]["enum"]


def pems(private):
    pem = serialization.Encoding.PEM
    return (
        private.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode(),
        private.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo).decode(),
    )


ED25519 = ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(65537, 2048)


async def result(run_node, config, item=None):
    outputs = await run_node(NODE_TYPE, {**config, "keep_input": False}, [item or {}])
    return outputs["main"][0]["json"]["result"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS, key=TEXTS.filter(bool), algorithm=st.sampled_from(ALGORITHMS))
async def test_hashes_are_those_of_the_standard_library(run_node, text, key, algorithm):
    item = {"text": text, "key": key}
    value = {"value": "{{ $json.text }}", "algorithm": algorithm}
    plain = hashlib.new(algorithm, text.encode())
    assert await result(run_node, {"operation": "hash", **value}, item) == plain.hexdigest()
    keyed = hmac.new(key.encode(), text.encode(), algorithm)
    found = await result(run_node, {"operation": "hmac", **value, "key": "{{ $json.key }}", "encoding": "base64"}, item)
    assert found == base64.b64encode(keyed.digest()).decode()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS, encoding=st.sampled_from(["hex", "base64", "base64url"]))
async def test_encodings_there_and_back(run_node, text, encoding):
    config = {"value": "{{ $json.v }}", "encoding": encoding}
    encoded = await result(run_node, {"operation": "encode", **config}, {"v": text})
    oracle = {
        "hex": bytes.fromhex,
        "base64": lambda v: base64.b64decode(v, validate=True),
        "base64url": lambda v: base64.urlsafe_b64decode(v + "=" * (-len(v) % 4)),
    }
    assert oracle[encoding](encoded) == text.encode()
    assert await result(run_node, {"operation": "decode", **config}, {"v": encoded}) == text


@pytest.mark.parametrize("private", [ED25519, RSA], ids=["ed25519", "rsa"])
@pytest.mark.parametrize("encoding", ["hex", "base64", "base64url"])
async def test_signatures(run_node, private, encoding):
    private_pem, public_pem = pems(private)
    value = {"value": "{{ $json.v }}", "encoding": encoding}
    signature = await result(run_node, {"operation": "sign", **value, "key": private_pem}, {"v": "text"})
    verify = {"operation": "verify", **value, "key": public_pem, "signature": signature}
    assert await result(run_node, verify, {"v": "text"}) is True
    assert await result(run_node, verify, {"v": "Text"}) is False
    assert await result(run_node, {**verify, "signature": signature[:-4]}, {"v": "text"}) is False
    assert await result(run_node, {**verify, "signature": "no signature"}, {"v": "text"}) is False


async def test_signatures_are_those_of_the_library(run_node):
    ours = await result(run_node, {"operation": "sign", "value": "v", "key": pems(ED25519)[0]})
    assert bytes.fromhex(ours) == ED25519.sign(b"v")
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=padding.PSS.MAX_LENGTH)
    theirs = RSA.sign(b"v", pss, hashes.SHA256()).hex()
    config = {"operation": "verify", "value": "v", "key": pems(RSA)[1], "signature": theirs}
    assert await result(run_node, config) is True


PROTECTED = ED25519.private_bytes(
    serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
).decode()
UNUSABLE = [
    ("sign", "secret words"),
    ("verify", "secret words"),
    ("sign", pems(ED25519)[1]),
    ("verify", pems(ED25519)[0]),
    ("sign", pems(ec.generate_private_key(ec.SECP256R1()))[0]),
    ("verify", pems(ec.generate_private_key(ec.SECP256R1()))[1]),
    ("sign", pems(rsa.generate_private_key(65537, 1024))[0]),
    ("sign", PROTECTED),
]


@pytest.mark.parametrize(("operation", "key"), UNUSABLE, ids=lambda value: value[:40])
async def test_keys_that_are_unusable_are_not_shown(run_node, operation, key):
    with pytest.raises(NodeError) as caught:
        await result(run_node, {"operation": operation, "value": "v", "key": key, "signature": "00"})
    assert caught.value.code == "key_invalid"
    assert key[-60:] not in repr((caught.value.message, caught.value.fields))


async def test_random_values(run_node):
    assert uuid.UUID(await result(run_node, {"operation": "random"})).version == 4
    drawn = await result(run_node, {"operation": "random", "random": "bytes", "length": 5, "encoding": "base64"})
    assert len(base64.b64decode(drawn)) == 5
    word = await result(run_node, {"operation": "random", "random": "string", "length": 500, "alphabet": "aé"})
    assert (len(word), set(word)) == (500, {"a", "é"})
    config = {"operation": "random", "random": "integer", "minimum": -1, "maximum": 1}
    outputs = await run_node(NODE_TYPE, config, [{}] * 200)
    assert {item["json"]["result"] for item in outputs["main"]} == {-1, 0, 1}


async def test_other_values_are_taken_as_json_and_files_as_they_are(run_node, context):
    hashed = await result(run_node, {"operation": "hash", "value": {"a": [1, "é"]}})
    assert hashed == hashlib.sha256('{"a":[1,"é"]}'.encode()).hexdigest()
    file = {"data": base64.b64encode(b"\xff\x00").decode(), "mime_type": "x/y", "size_bytes": 2}
    config = Config({"operation": "hash", "binary": "f"})
    outputs = await NODE_TYPE.run(context, config, [{"json": {}, "binary": {"f": file}}])
    assert outputs["main"][0]["json"]["result"] == hashlib.sha256(b"\xff\x00").hexdigest()
    assert outputs["main"][0]["binary"] == {"f": file}


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"operation": "decode", "value": "zz"}, "encoding_invalid"),
        ({"operation": "decode", "value": "a", "encoding": "base64"}, "encoding_invalid"),
        ({"operation": "decode", "value": "a-_b", "encoding": "base64"}, "encoding_invalid"),
        ({"operation": "decode", "value": "é", "encoding": "base64url"}, "encoding_invalid"),
        ({"operation": "decode", "value": "ff"}, "encoding_invalid"),
        ({"operation": "hash", "binary": "f"}, "file_missing"),
        ({"operation": "hmac", "value": "", "key": "{{ $json.none }}"}, "config_value_invalid"),
        ({"operation": "random", "random": "string", "alphabet": "{{ $json.one }}"}, "invalid_option"),
        ({"operation": "random", "random": "integer", "minimum": "{{ $json.n }}"}, "invalid_option"),
    ],
)
async def test_errors(run_node, config, code):
    with pytest.raises(NodeError) as caught:
        await result(run_node, config, {"one": "aa", "n": 101})
    assert caught.value.code == code
    assert caught.value.fields["item_index"] == 0


async def test_a_key_that_is_no_text_is_not_shown(run_node):
    config = {"operation": "hmac", "value": "v", "key": "{{ $json.key }}"}
    with pytest.raises(NodeError) as caught:
        await result(run_node, config, {"key": {"secret": "hush"}})
    assert "hush" not in repr((caught.value.message, caught.value.fields))


def test_the_key_is_marked_as_a_secret():
    assert NODE_TYPE.spec.config_schema["properties"]["key"]["x-secret"] is True


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"operation": "hash"},
        {"operation": "hmac", "value": "x"},
        {"operation": "verify", "value": "x", "key": "k"},
        {"operation": "hash", "value": "x", "algorithm": "crc32"},
        {"operation": "random", "minimum": 5, "maximum": 4},
        {"operation": "random", "length": 0},
    ],
)
def test_config_that_is_refused(config):
    assert findings(NODE_TYPE, config)
