"""Keys that an owner pastes: what they are, and why one will not do. RSA, ECDSA and EdDSA public
keys as PEM, X.509 certificate or OpenSSH line; HMAC secrets as they are.
"""

import re
from collections.abc import Mapping

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

#: RFC 7518, section 3.2: a key of the size of the hash at least; 256 bits for HS256.
SHORTEST_SECRET = 32
LONGEST_KEY = 16_384
#: NIST SP 800-131A; above the most, one verification would cost milliseconds.
RSA_BITS = range(2048, 8193)

_ARMOUR = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")
_OPENSSH = re.compile(r"(ssh-|ecdsa-sha2-|sk-ssh-|sk-ecdsa-)[a-z0-9@.-]+ ")
_CURVES = (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)


class BadKey(ValueError):
    """A key that will not do; the sentence says what it is."""


def kind(text: str) -> str:
    """What a pasted text is, in words: for the owner, as it is typed."""
    text = text.strip()
    armour = _ARMOUR.search(text)
    if armour:
        label = armour[1]
        if "PRIVATE" in label:
            return "a private key"
        return "an X.509 certificate" if label == "CERTIFICATE" else f"a {label.lower()}"
    if _OPENSSH.match(text):
        return "an OpenSSH public key"
    if text.startswith("{"):
        return "a JSON Web Key"
    return f"a text of {len(text.encode())} bytes"


def hmac_secret(text: str) -> str:
    """The secret as given; raises BadKey for one that is short, or a key of another method."""
    what = kind(text)
    if not what.startswith("a text"):
        raise BadKey(f"is {what}, and not a shared secret; choose the method that fits it")
    size = len(text.encode("utf-8", "surrogatepass"))
    if size < SHORTEST_SECRET:
        raise BadKey(f"has {size * 8} bits; an HMAC secret needs at least {SHORTEST_SECRET * 8}")
    if len(text) > LONGEST_KEY or not text.isprintable():
        raise BadKey("holds a control character, or is longer than 16384 characters")
    if len(set(text)) < 8:
        raise BadKey("repeats a few characters, and can be guessed")
    return text


def public_key(text: str, method: str) -> str:
    """The key as PEM (SubjectPublicKeyInfo); raises BadKey. `method`: rsa, ecdsa or eddsa."""
    text = text.strip()
    what = kind(text)
    if len(text) > LONGEST_KEY:
        raise BadKey("is longer than 16384 characters")
    if what == "a private key":
        raise BadKey("is a private key, which must stay with its owner; paste the public key")
    if what.startswith("a text") or what == "a JSON Web Key":
        raise BadKey(f"is {what}; paste a PEM public key, an X.509 certificate or an OpenSSH key")
    key = _loaded(text, what)
    _check(key, method)
    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()


def _loaded(text: str, what: str) -> PublicKeyTypes:
    try:
        raw = text.encode("ascii")
        if what == "an X.509 certificate":
            return x509.load_pem_x509_certificate(raw).public_key()
        if what == "an OpenSSH public key":
            return serialization.load_ssh_public_key(raw)
        return serialization.load_pem_public_key(raw)
    except (ValueError, UnsupportedAlgorithm, TypeError):
        raise BadKey(f"looks like {what}, and cannot be read as one") from None


def _check(key: PublicKeyTypes, method: str) -> None:
    found = _TYPES.get(type_of(key), "")
    if found != method:
        raise BadKey(f"is a key for {type_of(key)}, and not for the method {method}")
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size not in RSA_BITS:
            raise BadKey(f"has {key.key_size} bits; an RSA key needs 2048 to 8192")
        if key.public_numbers().e < 3 or key.public_numbers().e.bit_length() > 64:
            raise BadKey("has an exponent that is not accepted")
    if isinstance(key, ec.EllipticCurvePublicKey) and not isinstance(key.curve, _CURVES):
        raise BadKey(f"is on the curve {key.curve.name}; use P-256, P-384 or P-521")


def type_of(key: PublicKeyTypes) -> str:
    if isinstance(key, rsa.RSAPublicKey):
        return "RSA"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return "ECDSA"
    if isinstance(key, ed25519.Ed25519PublicKey):
        return "Ed25519"
    return "something else"


_TYPES: Mapping[str, str] = {"RSA": "rsa", "ECDSA": "ecdsa", "Ed25519": "eddsa"}
