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

from ostiary.access.reasons import Reason
from ostiary.identity.secret import Secret

TOKEN_HEADER = "api-token"  # noqa: S105 - a header's name
BASIC_USER = "api-token"

#: RFC 9110, section 11.4: a scheme, spaces, and what it carries.
_AUTHORIZATION = re.compile(
    r"(?P<scheme>[!#$%&'*+.^_`|~0-9A-Za-z-]+)(?: +(?P<rest>.*))?", re.DOTALL
)
_BEARER = re.compile(r"[!-+\--~]+")
_VISIBLE = re.compile(r"[ -~\x80-\xff]+")


class Form(enum.StrEnum):
    """Where in a call a credential was."""

    API_TOKEN = "api_token"  # noqa: S105 - a name
    BASIC = "basic"
    BEARER = "bearer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Presented:
    form: Form
    credential: Secret


def extract(headers: Iterable[tuple[str, str]]) -> Presented | Reason:
    """The one credential of a call; `headers` are its lines in order, decoded as Latin-1.

    Each line that could hold a credential counts, whatever is in it, and a comma parts an
    Authorization line in two: two of them are CONFLICTING_CREDENTIALS, also when they say the same or one is of a scheme that is not ours.
    Other schemes and other users are CREDENTIAL_MISSING, as is an empty value; a line in one of our
    forms that does not read is MALFORMED_CREDENTIAL. A caller is told the same of these two.
    """
    lines = [
        (name.lower(), value.strip(" \t"))
        for name, value in headers
        if name.lower() in {TOKEN_HEADER, "authorization"}
    ]
    if len(lines) > 1:
        return Reason.CONFLICTING_CREDENTIALS
    if not lines:
        return Reason.CREDENTIAL_MISSING
    name, value = lines[0]
    if name == TOKEN_HEADER:
        return _presented(Form.API_TOKEN, value)
    if "," in value:
        return Reason.CONFLICTING_CREDENTIALS
    return _authorization(value)


def _authorization(value: str) -> Presented | Reason:
    parts = _AUTHORIZATION.fullmatch(value)
    if parts is None:
        return Reason.CREDENTIAL_MISSING
    rest = parts["rest"] or ""
    match parts["scheme"].lower():
        case "bearer" if not rest or _BEARER.fullmatch(rest):
            return _presented(Form.BEARER, rest)
        case "bearer":
            return Reason.MALFORMED_CREDENTIAL
        case "basic":
            return _basic(rest)
        case _:
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
