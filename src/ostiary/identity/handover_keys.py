"""Sealing under the key of a link, which is stored nowhere: only who holds the link can open it.

The key has 256 random bits, so no slow derivation is needed. HKDF (RFC 5869) makes the AES-256-GCM key
of it; the fingerprint, under which the link is found, is a SHA-256 with a text of its own before it, and
says nothing about that key.
"""

import base64
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ostiary.identity import tokens
from ostiary.identity.secret import Secret

_NONCE = 12


def fingerprint(key: str) -> bytes:
    """What a link is found by, 32 bytes."""
    return tokens.fingerprint(f"handover\0{key}")


def seal(plain: str, key: Secret) -> str:
    """Encrypt `plain` so that nothing but the key opens it."""
    nonce = secrets.token_bytes(_NONCE)
    text = key.reveal()
    box = _cipher(text).encrypt(nonce, plain.encode(), fingerprint(text))
    return base64.urlsafe_b64encode(nonce + box).decode()


def opened(sealed: str, key: str) -> Secret | None:
    """What `seal` encrypted; nothing if the key or the sealed value is another one."""
    try:
        raw = base64.urlsafe_b64decode(sealed)
        plain = _cipher(key).decrypt(raw[:_NONCE], raw[_NONCE:], fingerprint(key))
    except (InvalidTag, ValueError):
        return None
    return Secret(plain.decode())


def _cipher(key: str) -> AESGCM:
    made = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"ostiary handover")
    return AESGCM(made.derive(key.encode("utf-8", "surrogatepass")))
