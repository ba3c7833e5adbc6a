"""Signing with keys that come as PEM text: Ed25519, and RSA with PSS and SHA-256. No error ever shows a key."""

from typing import TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from workflow.errors import NodeError

_RSA_BITS_MIN, _RSA_BITS_MAX = 2_048, 8_192

_PrivateKey: TypeAlias = Ed25519PrivateKey | RSAPrivateKey
_PublicKey: TypeAlias = Ed25519PublicKey | RSAPublicKey


class Keys:
    """Keys that were read once; reading one takes longer than using it."""

    def __init__(self) -> None:
        self._private: dict[str, _PrivateKey] = {}
        self._public: dict[str, _PublicKey] = {}

    def sign(self, pem: str, data: bytes) -> bytes:
        """Sign with a private key. Raises `NodeError` (`key_invalid`)."""
        if pem not in self._private:
            self._private[pem] = _private_key(pem)
        key = self._private[pem]
        if isinstance(key, Ed25519PrivateKey):
            return key.sign(data)
        return key.sign(data, _pss(padding.PSS.DIGEST_LENGTH), hashes.SHA256())

    def verify(self, pem: str, signature: bytes, data: bytes) -> bool:
        """Whether a signature is that of the data; `pem` is the public key. Raises `NodeError` (`key_invalid`)."""
        if pem not in self._public:
            self._public[pem] = _public_key(pem)
        key = self._public[pem]
        try:
            if isinstance(key, Ed25519PublicKey):
                key.verify(signature, data)
            else:
                key.verify(signature, data, _pss(padding.PSS.AUTO), hashes.SHA256())
        except InvalidSignature:
            return False
        return True


def _pss(salt_length: object) -> padding.PSS:
    return padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=salt_length)  # type: ignore[arg-type]


def _private_key(pem: str) -> _PrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except TypeError:
        raise _unusable("is protected by a passphrase") from None
    except (ValueError, UnsupportedAlgorithm):
        raise _unusable("is no private key in PEM") from None
    if isinstance(key, RSAPrivateKey):
        _check_size(key.key_size)
        return key
    if isinstance(key, Ed25519PrivateKey):
        return key
    raise _unusable("is of a kind that is not known here: Ed25519 or RSA is wanted")


def _public_key(pem: str) -> _PublicKey:
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise _unusable("is no public key in PEM") from None
    if isinstance(key, RSAPublicKey):
        _check_size(key.key_size)
        return key
    if isinstance(key, Ed25519PublicKey):
        return key
    raise _unusable("is of a kind that is not known here: Ed25519 or RSA is wanted")


def _check_size(bits: int) -> None:
    if not _RSA_BITS_MIN <= bits <= _RSA_BITS_MAX:
        raise _unusable(f"has {bits} bits; from {_RSA_BITS_MIN} to {_RSA_BITS_MAX} are possible")


def _unusable(why: str) -> NodeError:
    return NodeError(f"the key {why}", "key_invalid")
