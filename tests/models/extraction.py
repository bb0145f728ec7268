"""Extraction: which credential a call presents, read from its headers alone.

What the gateway does in Lua (`credentials.lua`), said in Python: the two are tested to agree. It
knows no credential, so it cannot say whether one is good.
"""

import base64
import binascii
import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from ostiary.access.reasons import Reason
from ostiary.identity.places import NONE, Places
from ostiary.identity.secret import Secret

TOKEN_HEADER = "api-token"
BASIC_USER = "api-token"

#: RFC 9110, section 11.4: a scheme, spaces, and what it carries.
_AUTHORIZATION = re.compile(
    r"(?P<scheme>[!#$%&'*+.^_`|~0-9A-Za-z-]+)(?: +(?P<rest>.*))?", re.DOTALL
)
_BEARER = re.compile(r"[!-+\--~]+")
#: A credential without a scheme before it.
_BARE = re.compile(r"[!-~]+")
_VISIBLE = re.compile(r"[ -~\x80-\xff]+")


class Form(enum.StrEnum):
    """Where in a call a credential was."""

    API_TOKEN = "api_token"
    BASIC = "basic"
    BEARER = "bearer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    form: Form
    credential: Secret


def extract(
    headers: Iterable[tuple[str, str]],
    *,
    query: str = "",
    places: Places = NONE,
    leave_authorization: bool = False,
) -> Presented | Reason:
    """The one credential of a call; `headers` are its lines in order, decoded as Latin-1, `query`
    is the target's without its question mark.

    Each line that could hold a credential counts, whatever is in it, and a comma parts an
    Authorization line in two: two of them are CONFLICTING_CREDENTIALS, also when they say the same or one is of a scheme that is not ours.
    So do query parameters and subprotocols of `places`. Other schemes and other users are
    CREDENTIAL_MISSING, as is an empty value; a line in one of our forms that does not read is
    MALFORMED_CREDENTIAL. A caller is told the same of these two.

    With `leave_authorization`, Authorization is the upstream's; two of it are refused all the same.
    """
    lines = [(name.lower(), value.strip(" \t")) for name, value in headers]
    authorizations = [value for name, value in lines if name == "authorization"]
    found: list[tuple[str, str]] = []
    for name, value in lines:
        if name == TOKEN_HEADER or name in places.headers:
            found.append((name, value))
    if not leave_authorization:
        found += [("authorization", value) for value in authorizations]
    found += [("", value) for value in _in_query(query, places)]
    found += [("", value) for value in _in_subprotocols(lines, places)]
    if len(found) > 1 or len(authorizations) > 1:
        return Reason.CONFLICTING_CREDENTIALS
    if not found:
        return Reason.CREDENTIAL_MISSING
    name, value = found[0]
    if name == TOKEN_HEADER:
        # There is no other header for a signed token.
        return _presented(Form.BEARER if leave_authorization else Form.API_TOKEN, value)
    if name != "authorization":
        return _presented(Form.BEARER, value)
    if "," in value:
        return Reason.CONFLICTING_CREDENTIALS
    return _authorization(value, places)


def _in_query(query: str, places: Places) -> list[str]:
    """Values of the parameters that are places; a plus is a plus."""
    if not places.query:
        return []
    pairs = (pair.partition("=") for pair in query.split("&"))
    return [_unescaped(value) for name, _, value in pairs if _unescaped(name) in places.query]


def _unescaped(text: str) -> str:
    return unquote_to_bytes(text.encode("latin-1")).decode("latin-1")


def _in_subprotocols(lines: Iterable[tuple[str, str]], places: Places) -> list[str]:
    offered = [
        offer.strip(" \t")
        for name, value in lines
        if name == "sec-websocket-protocol"
        for offer in value.split(",")
    ]
    return [
        offer[len(prefix) :]
        for offer in offered
        if (prefix := subprotocol_prefix(offer, places)) is not None
    ]


def subprotocol_prefix(offer: str, places: Places) -> str | None:
    """The prefix by which an offered subprotocol is a credential: the first that fits."""
    return next((prefix for prefix in places.subprotocols if offer.startswith(prefix)), None)


def _authorization(value: str, places: Places) -> Presented | Reason:
    parts = _AUTHORIZATION.fullmatch(value)
    scheme, rest = (parts["scheme"].lower(), parts["rest"]) if parts else ("", None)
    if scheme == "basic":
        return _basic(rest or "")
    if scheme == "bearer" or (scheme in places.schemes and rest is not None):
        if rest and not _BEARER.fullmatch(rest):
            return Reason.MALFORMED_CREDENTIAL
        return _presented(Form.BEARER, rest or "")
    if places.bare and _BARE.fullmatch(value):
        return _presented(Form.BEARER, value)
    return Reason.CREDENTIAL_MISSING


def _basic(rest: str) -> Presented | Reason:
    """RFC 7617: the user's name ends at the first colon, the password may hold more of them."""
    # Python takes more padding than there should be, the gateway does not.
    if len(rest) % 4:
        return Reason.MALFORMED_CREDENTIAL
    try:
        decoded = base64.b64decode(rest, validate=True).decode("latin-1")
    except (binascii.Error, ValueError):
        return Reason.MALFORMED_CREDENTIAL
    user, colon, password = decoded.partition(":")
    if not colon:
        return Reason.MALFORMED_CREDENTIAL
    if user.lower() != BASIC_USER:
        return Reason.CREDENTIAL_MISSING
    return _presented(Form.BASIC, password)


def _presented(form: Form, text: str) -> Presented | Reason:
    if not text:
        return Reason.CREDENTIAL_MISSING
    if not _VISIBLE.fullmatch(text):
        return Reason.MALFORMED_CREDENTIAL
    return Presented(form=form, credential=Secret(text))
