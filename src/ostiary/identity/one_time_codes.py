"""Codes of authenticator apps (TOTP, RFC 6238), and recovery codes for when the app is gone.

Six digits, SHA-1, 30 seconds: what every app can do. A code of the step before or after is taken
as well (section 5.2), since clocks differ and people type.
"""

import base64
import hmac
import re
import secrets

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from ostiary.identity.secret import Secret

STEP_SECONDS = 30
DIGITS = 6
#: RFC 4226, section 4, requirement 6.
SECRET_BYTES = 20
RECOVERY_CODES = 10

_CODE = re.compile(r"[0-9]{6}")
#: Sixteen letters and digits that are not mistaken for each other: 80 random bits.
_RECOVERY = re.compile(r"[a-z2-7]{16}")


def new_secret() -> Secret:
    """A secret for an authenticator app, in base32."""
    return Secret(base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode())


def _totp(secret: Secret) -> TOTP:
    key = base64.b32decode(secret.reveal())
    # RFC 6238 is built on it, and needs of SHA-1 only what it still gives.
    return TOTP(key, DIGITS, SHA1(), STEP_SECONDS)  # noqa: S303 - what authenticator apps compute


def address(secret: Secret, *, account: str, issuer: str) -> Secret:
    """The `otpauth:` address that a QR code carries to the app."""
    return Secret(_totp(secret).get_provisioning_uri(account, issuer))


def step_of(secret: Secret, code: str, now: int) -> int | None:
    """The time step whose code this is, or nothing. `now` in Unix seconds."""
    code = "".join(code.split())
    if not _CODE.fullmatch(code):
        return None
    totp, found = _totp(secret), None
    for step in (now // STEP_SECONDS + shift for shift in (-1, 0, 1)):
        if hmac.compare_digest(totp.generate(step * STEP_SECONDS), code.encode()):
            found = step
    return found


def recovery_codes() -> tuple[Secret, ...]:
    """New recovery codes, as people write them down: `abcd-efgh-ijkl-mnop`."""
    return tuple(_recovery_code() for _ in range(RECOVERY_CODES))


def _recovery_code() -> Secret:
    text = base64.b32encode(secrets.token_bytes(10)).decode().lower()
    return Secret("-".join(text[start : start + 4] for start in range(0, 16, 4)))


def plain_recovery_code(text: str) -> str | None:
    """What is stored of a recovery code as a fingerprint, however it was typed."""
    plain = re.sub(r"[\s-]", "", text).lower()
    return plain if _RECOVERY.fullmatch(plain) else None
