"""Tokens that Ostiary issues: how they are made, recognised and looked up.

A consumer's token is `ost_`, 43 base64url characters (256 random bits), 12 hex characters (a mark:
the first 48 bits of HMAC-SHA256 over those 43 under the workspace's issue key) and 6 base62
characters (CRC-32 of all before them): 65 in all. The prefix and the checksum are for scanners and
typing errors, with nothing secret in them; the mark lets a gateway refuse a token that was never
issued without asking anybody. What proves a caller is the fingerprint alone.
"""

import base64
import hashlib
import hmac
import secrets
import zlib

from ostiary.identity.secret import Secret

TOKEN_PREFIX = "ost_"  # noqa: S105 - a prefix
MANAGEMENT_PREFIX = "ostm_"
SIGN_IN_PREFIX = "osts_"
HANDOVER_PREFIX = "osth_"
CLIENT_ID_PREFIX = "ostc_"
CLIENT_SECRET_PREFIX = "ostk_"  # noqa: S105 - a prefix
TOKEN_LENGTH = 65
MARK_LENGTH = 12
CHECKSUM_LENGTH = 6
#: The length of everything of ours but consumers' tokens, which carry a mark besides.
OTHER_LENGTH = 54
#: Imported values: shorter ones can be guessed, longer ones do not fit a header with others.
IMPORTED_LENGTHS = range(16, 513)

_OTHER_PREFIXES = (
    MANAGEMENT_PREFIX, SIGN_IN_PREFIX, HANDOVER_PREFIX, CLIENT_ID_PREFIX, CLIENT_SECRET_PREFIX,
)  # fmt: skip
_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _raw(text: str) -> bytes:
    """A text's bytes: callers may send a lone surrogate, which must not raise."""
    return text.encode("utf-8", "surrogatepass")


def _checksum(text: str) -> str:
    number, digits = zlib.crc32(_raw(text)), ""
    while number:
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits.rjust(CHECKSUM_LENGTH, "0")


def mark(body: str, issue_key: bytes) -> str:
    """The mark that shows a gateway that `body` came from this workspace."""
    return hmac.new(issue_key, _raw(body), hashlib.sha256).hexdigest()[:MARK_LENGTH]


def _closed(text: str) -> Secret:
    return Secret(text + _checksum(text))


def issue_token(issue_key: bytes) -> Secret:
    """A new token for a consumer, 65 characters."""
    body = secrets.token_urlsafe(32)
    return _closed(TOKEN_PREFIX + body + mark(body, issue_key))


def issue_management_token() -> Secret:
    """A new token for the management API."""
    return _closed(MANAGEMENT_PREFIX + secrets.token_urlsafe(32))


def issue_sign_in() -> Secret:
    """A new secret for a one-time sign-in link."""
    return _closed(SIGN_IN_PREFIX + secrets.token_urlsafe(32))


def issue_handover_key() -> Secret:
    """A new key of a link that hands a credential over."""
    return _closed(HANDOVER_PREFIX + secrets.token_urlsafe(32))


def issue_client_id() -> str:
    """A new OAuth 2.0 client id; public."""
    return _closed(CLIENT_ID_PREFIX + secrets.token_urlsafe(32)).reveal()


def issue_client_secret() -> Secret:
    """A new OAuth 2.0 client secret."""
    return _closed(CLIENT_SECRET_PREFIX + secrets.token_urlsafe(32))


def issue_webhook_secret() -> Secret:
    """A new key that signs webhooks, as the Standard Webhooks specification writes it."""
    return Secret("whsec_" + base64.b64encode(secrets.token_bytes(32)).decode())


def fingerprint(text: str) -> bytes:
    """The SHA-256 under which a credential is stored and looked up, 32 bytes."""
    return digest(_raw(text))


def digest(raw: bytes) -> bytes:
    """The SHA-256 of bytes, such as the id of a passkey."""
    return hashlib.sha256(raw).digest()


def looks_native(text: str) -> bool:
    """Whether a value has the outer form of a consumer's token of ours.

    The gateway counts bytes, and this characters: they are the same for ASCII alone.
    """
    return len(text) == TOKEN_LENGTH and text.startswith(TOKEN_PREFIX) and text.isascii()


def checksum_ok(text: str) -> bool:
    """Whether the last six characters fit the rest: no typing error."""
    body, given = text[:-CHECKSUM_LENGTH], text[-CHECKSUM_LENGTH:]
    return hmac.compare_digest(_checksum(body).encode(), _raw(given))


def prefix_of(text: str) -> str:
    """What may be shown of a credential's beginning: enough to tell it from others."""
    return text[:8]


def last_four(text: str) -> str:
    return text[-4:]


def masked(prefix: str, last: str) -> str:
    """How a stored credential is shown; a digest alone shows nothing."""
    return f"{prefix}…{last}" if prefix or last else "…"


def problem_with_import(text: str) -> str | None:
    """Why a value that consumers hold already cannot be taken over, or nothing.

    A value of our own form is refused even with this workspace's mark: what we issued is in the
    directory already, and without the mark the gateway would refuse every call that presents it.
    """
    if len(text) not in IMPORTED_LENGTHS:
        return "must have 16 to 512 characters"
    if not all("!" <= char <= "~" for char in text):
        return "must be printable ASCII without spaces"
    other = len(text) == OTHER_LENGTH and text.startswith(_OTHER_PREFIXES) and checksum_ok(text)
    if looks_native(text) or other:
        return "looks like a token that Ostiary issued; it cannot be imported"
    return None


def parse_digest(text: str) -> bytes | None:
    """Read a SHA-256 in 64 hex characters."""
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        return None
    return digest if len(text) == 64 and len(digest) == 32 else None


def client_fingerprint(client_id: str) -> bytes:
    """The fingerprint of an OAuth 2.0 client id: never the one of a token with the same text."""
    return fingerprint(f"oauth2\0{client_id}")


def key_fingerprint(profile_id: int, profile_key: str) -> bytes:
    """The fingerprint of a profile key, which isn't secret or unique, so nothing is looked up by it."""
    return fingerprint(f"profile\0{profile_id}\0{profile_key}")


def issue_profile_key() -> str:
    """A new profile key: public, with enough random bits to be unique."""
    return f"ostp_{secrets.token_urlsafe(18)}"
