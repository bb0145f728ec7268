"""Sealing: secrets that must be read again are stored encrypted, bound to the row they are in.

AES-256-GCM (NIST SP 800-38D) with `table:id:field` as associated data, so that a sealed value that
is moved to another row does not open. The keys lie in one file, apart from the database.
"""

import base64
import json
import os
import secrets
import stat
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12


class SealingError(Exception):
    """A sealed value or key ring that cannot be used; the text is one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRing:
    """The workspace's keys. The first one seals; all of them open."""

    keys: tuple[tuple[str, bytes], ...]
    #: Key of the mark in consumers' tokens, 32 bytes.
    issue_key: bytes
    #: Key of Django's signatures.
    secret_key: str

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(name for name, _ in self.keys)})"

    @classmethod
    def new(cls) -> "KeyRing":
        return cls(
            keys=(_new_key(),),
            issue_key=secrets.token_bytes(32),
            secret_key=secrets.token_urlsafe(48),
        )

    @classmethod
    def load(cls, path: Path) -> "KeyRing":
        """Read the key ring file; raises SealingError with what to do about it."""
        try:
            mode = path.stat().st_mode
            text = path.read_text()
        except OSError as error:
            raise SealingError(f"The key ring {path} cannot be read: {error.strerror}.") from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SealingError(f"The key ring {path} is open to others; run: chmod 600 {path}")
        try:
            content = json.loads(text)
            ring = cls(
                keys=tuple((key["id"], _decoded(key["key"])) for key in content["keys"]),
                issue_key=_decoded(content["issue_key"]),
                secret_key=str(content["secret_key"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise SealingError(
                f"The key ring {path} is damaged; restore it from backup."
            ) from error
        if (
            not ring.keys
            or any(len(key) != 32 for _, key in ring.keys)
            or len(ring.issue_key) != 32
        ):
            raise SealingError(f"The key ring {path} is damaged; restore it from backup.")
        return ring

    @classmethod
    def load_or_create(cls, path: Path) -> "KeyRing":
        """The ring at `path`; a new one, mode 0600, at the first start."""
        if not path.exists():
            cls.new().write(path)
        return cls.load(path)

    def write(self, path: Path) -> None:
        """Write the file as a whole or not at all."""
        content = {
            "keys": [{"id": name, "key": _encoded(key)} for name, key in self.keys],
            "issue_key": _encoded(self.issue_key),
            "secret_key": self.secret_key,
        }
        draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)

    def rotated(self) -> "KeyRing":
        """The same ring with a new first key; what the older ones sealed still opens."""
        return replace(self, keys=(_new_key(), *self.keys))

    def seal(self, plain: str, context: str) -> str:
        """Encrypt `plain` for the place `context` (`table:id:field`)."""
        name, key = self.keys[0]
        nonce = secrets.token_bytes(_NONCE)
        box = AESGCM(key).encrypt(nonce, plain.encode(), context.encode())
        return f"{name}.{_encoded(nonce + box)}"

    def open(self, sealed: str, context: str) -> str:
        """Decrypt what `seal` made for the same `context`; raises SealingError."""
        name, _, box = sealed.partition(".")
        key = dict(self.keys).get(name)
        if key is None:
            raise SealingError(f"The key ring has no key {name!r}; restore it from backup.")
        try:
            raw = _decoded(box)
            plain = AESGCM(key).decrypt(raw[:_NONCE], raw[_NONCE:], context.encode())
        except (InvalidTag, ValueError) as error:
            raise SealingError(f"A sealed value does not open at {context}.") from error
        return plain.decode()


def _new_key() -> tuple[str, bytes]:
    return secrets.token_hex(4), secrets.token_bytes(32)


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
