"""Sealing: secrets that must be read again are stored encrypted, bound to the row they are in.

AES-256-GCM (NIST SP 800-38D) with `table:id:field` as associated data, so that a sealed value that
is moved to another row does not open. The keys lie in one file, apart from the database.
"""

import base64
import hmac
import json
import os
import re
import secrets
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12
_KEY_NAME = re.compile(r"[0-9a-f]{8}")


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
            with path.open(encoding="utf-8") as file:
                mode = os.fstat(file.fileno()).st_mode
                text = file.read()
        except OSError as error:
            raise SealingError(f"The key ring {path} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError:
            raise _damaged(path) from None
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SealingError(f"The key ring {path} is open to others; run: chmod 600 {path}")
        try:
            return cls._of(json.loads(text))
        # No `from`: the cause of a JSON error holds the text, which is all our keys.
        except (ValueError, KeyError, TypeError, RecursionError):
            raise _damaged(path) from None

    @classmethod
    def _of(cls, content: Any) -> "KeyRing":
        ring = cls(
            keys=tuple((key["id"], _decoded(key["key"])) for key in content["keys"]),
            issue_key=_decoded(content["issue_key"]),
            secret_key=str(content["secret_key"]),
        )
        names = [name for name, _ in ring.keys]
        if (
            not ring.keys
            or not all(_KEY_NAME.fullmatch(name) for name in names)
            or len(set(names)) != len(names)
            or any(len(key) != 32 for key in (*dict(ring.keys).values(), ring.issue_key))
            or len(ring.secret_key) < 32
        ):
            raise ValueError
        return ring

    @classmethod
    def load_or_create(cls, path: Path) -> "KeyRing":
        """The ring at `path`; a new one, mode 0600, at the first start.

        Of two that start at the same moment one makes it, and both have it.
        """
        if not path.exists():
            _create(path, cls.new())
        return cls.load(path)

    def public_name(self, purpose: str) -> str:
        """What tells this workspace from others, for a purpose; says nothing about its keys."""
        return hmac.digest(self.issue_key, f"name\0{purpose}".encode(), "sha256").hex()[:16]

    def seal(self, plain: str, context: str) -> str:
        """Encrypt `plain` for the place `context` (`table:id:field`)."""
        name, key = self.keys[0]
        nonce = secrets.token_bytes(_NONCE)
        box = AESGCM(key).encrypt(nonce, _raw(plain), context.encode())
        return f"{name}.{_encoded(nonce + box)}"

    def open(self, sealed: str, context: str) -> str:
        """Decrypt what `seal` made for the same `context`; raises SealingError."""
        name, dot, box = sealed.partition(".")
        if not dot or not _KEY_NAME.fullmatch(name):
            # It may be a secret that somebody wrote in plain: no part of it is shown.
            raise SealingError(f"The value at {context} is not sealed; enter it again.")
        key = dict(self.keys).get(name)
        if key is None:
            raise SealingError(
                f"The key ring has no key {name!r}, which sealed the value at {context}; "
                "restore the key ring from backup, or enter the value again."
            )
        try:
            raw = _decoded(box)
            plain = AESGCM(key).decrypt(raw[:_NONCE], raw[_NONCE:], context.encode())
            return plain.decode("utf-8", "surrogatepass")
        except (InvalidTag, ValueError):
            raise SealingError(
                f"The value at {context} does not open: it was changed or belongs to another "
                "place; enter it again."
            ) from None


def _create(path: Path, ring: KeyRing) -> None:
    draft = _draft(path, ring)
    try:
        # Unlike a rename, a link never replaces what another has made meanwhile.
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        draft.unlink()
    _sync(path.parent)


def _draft(path: Path, ring: KeyRing) -> Path:
    """The ring in a file of its own beside `path`, safe on the disk."""
    content = {
        "keys": [{"id": name, "key": _encoded(key)} for name, key in ring.keys],
        "issue_key": _encoded(ring.issue_key),
        "secret_key": ring.secret_key,
    }
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise _unwritable(path, error) from error
    return draft


def _unwritable(path: Path, error: OSError) -> SealingError:
    return SealingError(f"The key ring {path} cannot be written: {error.strerror}.")


def _damaged(path: Path) -> SealingError:
    return SealingError(f"The key ring {path} is damaged; restore it from backup.")


def _sync(folder: Path) -> None:
    """Make a new name in a folder outlast a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _new_key() -> tuple[str, bytes]:
    return secrets.token_hex(4), secrets.token_bytes(32)


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _decoded(text: str) -> bytes:
    padded = text + "=" * (-len(text) % 4)
    return base64.b64decode(padded, altchars=b"-_", validate=True)
