"""Codes of errors of the management API: a closed set, each with what it means and what to do.

`code` says what kind of refusal an answer is, `codes` what is wrong with a field. The reference is
written from these tables.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass


class ErrorCode(enum.StrEnum):
    """The `code` of an answer that is an error."""

    INVALID_INPUT = "invalid_input"
    MALFORMED_REQUEST = "malformed_request"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    CANNOT_DESTROY = "cannot_destroy"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    IN_USE = "in_use"
    KEY_REUSED = "key_reused"
    STALE = "stale"
    TOO_LARGE = "too_large"
    TOO_MANY_CALLS = "too_many_calls"
    SERVER_ERROR = "server_error"
    NOT_IN_FORCE = "not_in_force"
    DATABASE_UNAVAILABLE = "database_unavailable"


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What an error means to a caller."""

    status: int
    meaning: str
    remedy: str


ERRORS: Mapping[ErrorCode, Described] = {
    ErrorCode.INVALID_INPUT: Described(
        status=400,
        meaning="The input does not fit. Nothing was saved. `errors` has sentences by field, and `codes` a code for each sentence.",
        remedy="Correct the named fields and call again.",
    ),
    ErrorCode.MALFORMED_REQUEST: Described(
        status=400,
        meaning="The body cannot be read: it isn't valid JSON, or not of the announced kind.",
        remedy="Send JSON, with `Content-Type: application/json`.",
    ),
    ErrorCode.UNAUTHORIZED: Described(
        status=401,
        meaning="There is no management token, or it is unknown, was revoked or has expired.",
        remedy="Send a valid management token as `Authorization: Bearer`. An admin makes one under Tokens in the console, or with `ostiary token create`.",
    ),
    ErrorCode.FORBIDDEN: Described(
        status=403,
        meaning="The token's role does not suffice. `message` names the role that does.",
        remedy="Use a token with that role in the project, or ask an admin.",
    ),
    ErrorCode.CANNOT_DESTROY: Described(
        status=403,
        meaning="The folder or project cannot be deleted as it is. `errors` says why.",
        remedy="Empty it first, or delete it with `force` where the message offers it.",
    ),
    ErrorCode.NOT_FOUND: Described(
        status=404,
        meaning="There is no such object, or the token may not see it; the answer does not tell which.",
        remedy="Check the id and the projects of the token (`GET /api/users/me`).",
    ),
    ErrorCode.METHOD_NOT_ALLOWED: Described(
        status=405,
        meaning="The path exists, but not with this method.",
        remedy="Use a method of the `Allow` header.",
    ),
    ErrorCode.IN_USE: Described(
        status=409,
        meaning="Other objects rely on it, so it cannot be deleted.",
        remedy="Remove what `message` names first.",
    ),
    ErrorCode.KEY_REUSED: Described(
        status=409,
        meaning="The `Idempotency-Key` was used for another call within 24 hours.",
        remedy="Repeat exactly the first call, or use a new key for a new call.",
    ),
    ErrorCode.STALE: Described(
        status=412,
        meaning="The object was changed since the version that `If-Match` names. Nothing was saved.",
        remedy="Read the object again, apply your change to it, and send its new `ETag`.",
    ),
    ErrorCode.TOO_LARGE: Described(
        status=413,
        meaning="The body is larger than the call takes.",
        remedy="Send less at once. `message` has the limit.",
    ),
    ErrorCode.TOO_MANY_CALLS: Described(
        status=429,
        meaning="The token or the address has made more calls in a minute than the workspace allows.",
        remedy="Wait for as many seconds as `Retry-After` says. An admin can change the limits in the settings.",
    ),
    ErrorCode.SERVER_ERROR: Described(
        status=500,
        meaning="Ostiary failed. `id` finds the error in its log.",
        remedy="Look into the log of the control part for the `id`, and report it.",
    ),
    ErrorCode.NOT_IN_FORCE: Described(
        status=503,
        meaning="The change is saved, but the gateway has not confirmed in time that it follows it.",
        remedy="Repeat the call: it is confirmed then. If it lasts, check `/readyz`. Where `result` is in the answer, use it and do not repeat: a new call would issue another secret.",
    ),
    ErrorCode.DATABASE_UNAVAILABLE: Described(
        status=503,
        meaning="The database does not answer or cannot be written; nothing was saved.",
        remedy="Repeat the call after `Retry-After`. If it lasts, `/readyz` and the log say what is wrong.",
    ),
}

#: Codes of problems with one field.
FIELDS: Mapping[str, str] = {
    "address": "It isn't an IP address or a CIDR range.",
    "ambiguous": "Several objects have this name.",
    "blank": "It must not be empty.",
    "characters": "It holds characters that it may not have.",
    "contradiction": "It contradicts another field of the same call.",
    "extra_forbidden": "There is no such field or parameter.",
    "fixed": "It cannot be changed once the object is made.",
    "follows": "It comes from the client, which this follows.",
    "forbidden": "The token may not set it to this value.",
    "handle": "It isn't a handle: lower-case letters, digits and hyphens.",
    "header": "It isn't the name of a header, or not of one that may be named here.",
    "id": "It isn't an id: a whole number from 1 to 2,147,483,647.",
    "invalid": "It does not fit, for the reason that the sentence gives.",
    "key": "It isn't a key of the kind that is needed.",
    "label": "It isn't a label: a name and a short text.",
    "missing": "It is required.",
    "not_in_list": "It isn't one of the values that are possible.",
    "null": "It must not be null.",
    "origin": "It isn't an origin, such as `https://app.example.com`.",
    "out_of_range": "It isn't a whole number, or it is too small or too large.",
    "past": "It must be in the future.",
    "path": "It isn't a path that can be served.",
    "place": "It isn't a place where a call can carry its key.",
    "pointer": "It isn't the path of a claim.",
    "refused": "What it names cannot be used here, for the reason that the sentence gives.",
    "scope": "It isn't a list of scopes as OAuth 2.0 has them.",
    "taken": "Another object has it already.",
    "time": "It isn't a date and time.",
    "too_late": "It is too far in the future.",
    "too_long": "It has too many characters.",
    "too_many": "It has too many entries.",
    "twice": "It is there twice.",
    "type": "It is of another type, such as a number where a text must be.",
    "unknown": "It names something that does not exist, or that the token may not see.",
    "url": "It isn't a URL that can be called.",
}

#: What the library that reads bodies and parameters calls its findings → our codes.
_OF_THE_LIBRARY: Mapping[str, str] = {
    "greater_than_equal": "out_of_range",
    "less_than_equal": "out_of_range",
    "int_parsing_size": "out_of_range",
    "string_too_long": "too_long",
    "string_too_short": "blank",
    "too_short": "blank",
    "literal_error": "not_in_list",
    "enum": "not_in_list",
    "datetime_parsing": "time",
    "datetime_from_date_parsing": "time",
}


#: Codes of errors that are known by their status alone.
_OF_STATUS: Mapping[int, ErrorCode] = {
    401: ErrorCode.UNAUTHORIZED,
    403: ErrorCode.FORBIDDEN,
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    413: ErrorCode.TOO_LARGE,
    429: ErrorCode.TOO_MANY_CALLS,
}


def of_status(status: int) -> ErrorCode:
    """The code of an error that has nothing but a status."""
    otherwise = ErrorCode.SERVER_ERROR if status >= 500 else ErrorCode.MALFORMED_REQUEST
    return _OF_STATUS.get(status, otherwise)


def of_field(code: str) -> str:
    """The code of one problem with a field, of the closed set."""
    if code in FIELDS:
        return code
    if code in _OF_THE_LIBRARY:
        return _OF_THE_LIBRARY[code]
    return "type" if code.endswith(("_type", "_parsing")) else "invalid"
