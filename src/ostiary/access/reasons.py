"""Why a call is refused: a closed set, and what a caller is told of each.

The owner sees the reason; the caller sees its public face, which never tells whether a token, a
client or a collection exists. The number is how a gateway remembers a reason.
"""

import enum
from dataclasses import dataclass
from typing import assert_never


class Reason(enum.StrEnum):
    MALFORMED_PATH = "malformed_path"
    LOOP_DETECTED = "loop_detected"
    CONFLICTING_CREDENTIALS = "conflicting_credentials"
    CREDENTIAL_MISSING = "credential_missing"
    UNKNOWN_CREDENTIAL = "unknown_credential"
    AMBIGUOUS_CREDENTIAL = "ambiguous_credential"
    REVOKED_CREDENTIAL = "revoked_credential"
    EXPIRED_CREDENTIAL = "expired_credential"
    METHOD_MISMATCH = "method_mismatch"
    CLIENT_INACTIVE = "client_inactive"
    PROFILE_INACTIVE = "profile_inactive"
    PROFILE_EXPIRED = "profile_expired"
    ADDRESS_UNPARSABLE = "address_unparsable"
    ADDRESS_DENIED = "address_denied"
    ADDRESS_NOT_ALLOWED = "address_not_allowed"
    COLLECTION_NOT_FOUND = "collection_not_found"
    COLLECTION_NOT_GRANTED = "collection_not_granted"
    ENDPOINT_NOT_FOUND = "endpoint_not_found"
    ENDPOINT_INACTIVE = "endpoint_inactive"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    RATE_LIMITED = "rate_limited"
    QUOTA_EXCEEDED = "quota_exceeded"
    INPUT_INVALID = "input_invalid"
    INPUT_TOO_LARGE = "input_too_large"
    RECIPE_STOPPED = "recipe_stopped"
    RECIPE_FAILED = "recipe_failed"
    UPSTREAM_MISSING = "upstream_missing"
    UPSTREAM_UNAVAILABLE = "upstream_unavailable"
    UPSTREAM_FAILED = "upstream_failed"
    UPSTREAM_TIMEOUT = "upstream_timeout"
    AUTHORITY_UNAVAILABLE = "authority_unavailable"
    OVERLOADED = "overloaded"
    MALFORMED_CREDENTIAL = "malformed_credential"
    TOKEN_INVALID = "token_invalid"  # noqa: S105 - a name
    MALFORMED_REQUEST = "malformed_request"
    CREDENTIAL_TOO_LONG = "credential_too_long"
    HEAD_TOO_LARGE = "head_too_large"
    TOO_MANY_CALLS = "too_many_calls"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a caller is told, and the number of the reason (stable: it is in logs)."""

    status: int
    public_reason: str
    message: str
    code: int


def _face(reason: Reason) -> tuple[int, str, str]:
    match reason:
        case Reason.MALFORMED_PATH:
            return 400, "malformed_path", "The path of this call is not accepted."
        case Reason.MALFORMED_REQUEST:
            return 400, "malformed_request", "This call is not well-formed."
        case Reason.LOOP_DETECTED:
            return 508, "loop_detected", "This call has come through this gateway before."
        case Reason.HEAD_TOO_LARGE:
            return 431, "head_too_large", "The request line or a header of this call exceeds 16 KB."
        case Reason.CREDENTIAL_TOO_LONG:
            return 431, "credential_too_long", "A credential has at most 12,000 characters."
        case Reason.CONFLICTING_CREDENTIALS:
            return 400, "conflicting_credentials", "A call must present exactly one credential."
        case (
            Reason.CREDENTIAL_MISSING
            | Reason.UNKNOWN_CREDENTIAL
            | Reason.AMBIGUOUS_CREDENTIAL
            | Reason.MALFORMED_CREDENTIAL
            | Reason.TOKEN_INVALID
            | Reason.REVOKED_CREDENTIAL
            | Reason.EXPIRED_CREDENTIAL
            | Reason.METHOD_MISMATCH
            | Reason.CLIENT_INACTIVE
            | Reason.PROFILE_INACTIVE
            | Reason.PROFILE_EXPIRED
        ):
            return 401, "unauthorized", "A valid credential is required."
        case Reason.ADDRESS_UNPARSABLE | Reason.ADDRESS_DENIED | Reason.ADDRESS_NOT_ALLOWED:
            return 403, "address_not_allowed", "Calls from this address are not allowed."
        case (
            Reason.COLLECTION_NOT_FOUND
            | Reason.COLLECTION_NOT_GRANTED
            | Reason.ENDPOINT_NOT_FOUND
            | Reason.ENDPOINT_INACTIVE
            | Reason.RECIPE_STOPPED
        ):
            return 404, "not_found", "There is nothing at this path."
        case Reason.METHOD_NOT_ALLOWED:
            return 405, "method_not_allowed", "This path does not take this method."
        case Reason.RATE_LIMITED:
            return 429, "rate_limited", "The rate limit is reached; try again later."
        case Reason.QUOTA_EXCEEDED:
            return 429, "quota_exceeded", "The usage quota is used up; try again later."
        case Reason.TOO_MANY_CALLS:
            return 429, "too_many_calls", "Too many calls are open at once; try again."
        case Reason.INPUT_INVALID:
            return 400, "input_invalid", "The input does not fit."
        case Reason.INPUT_TOO_LARGE:
            return 413, "input_too_large", "The body of this call is too large."
        case Reason.RECIPE_FAILED:
            return 422, "recipe_failed", "The recipe failed."
        case Reason.UPSTREAM_MISSING:
            return 503, "upstream_missing", "This API has no upstream yet."
        case Reason.UPSTREAM_UNAVAILABLE:
            return 502, "upstream_unavailable", "The upstream is not available."
        case Reason.UPSTREAM_FAILED:
            return 502, "upstream_failed", "The upstream did not answer rightly."
        case Reason.UPSTREAM_TIMEOUT:
            return 504, "upstream_timeout", "The upstream did not answer in time."
        case Reason.AUTHORITY_UNAVAILABLE:
            return 503, "authority_unavailable", "The call cannot be decided now; try again."
        case Reason.OVERLOADED:
            return 503, "overloaded", "Too much is going on; try again."
        case _:
            assert_never(reason)


#: Written out, since logs and gateways that run hold them: a number is never given twice.
_CODES = {
    Reason.MALFORMED_PATH: 10,
    Reason.CONFLICTING_CREDENTIALS: 11,
    Reason.CREDENTIAL_MISSING: 12,
    Reason.UNKNOWN_CREDENTIAL: 13,
    Reason.REVOKED_CREDENTIAL: 14,
    Reason.EXPIRED_CREDENTIAL: 15,
    Reason.METHOD_MISMATCH: 16,
    Reason.CLIENT_INACTIVE: 17,
    Reason.PROFILE_INACTIVE: 18,
    Reason.PROFILE_EXPIRED: 19,
    Reason.ADDRESS_UNPARSABLE: 20,
    Reason.ADDRESS_DENIED: 21,
    Reason.ADDRESS_NOT_ALLOWED: 22,
    Reason.COLLECTION_NOT_FOUND: 23,
    Reason.COLLECTION_NOT_GRANTED: 24,
    Reason.ENDPOINT_NOT_FOUND: 25,
    Reason.ENDPOINT_INACTIVE: 26,
    Reason.METHOD_NOT_ALLOWED: 27,
    Reason.RATE_LIMITED: 28,
    Reason.QUOTA_EXCEEDED: 29,
    Reason.INPUT_INVALID: 30,
    Reason.INPUT_TOO_LARGE: 31,
    Reason.RECIPE_STOPPED: 32,
    Reason.RECIPE_FAILED: 33,
    Reason.UPSTREAM_MISSING: 34,
    Reason.UPSTREAM_UNAVAILABLE: 35,
    Reason.UPSTREAM_FAILED: 36,
    Reason.UPSTREAM_TIMEOUT: 37,
    Reason.AUTHORITY_UNAVAILABLE: 38,
    Reason.OVERLOADED: 39,
    Reason.MALFORMED_CREDENTIAL: 40,
    Reason.TOKEN_INVALID: 41,
    Reason.MALFORMED_REQUEST: 42,
    Reason.CREDENTIAL_TOO_LONG: 60,
    Reason.HEAD_TOO_LARGE: 61,
    Reason.AMBIGUOUS_CREDENTIAL: 50,
    Reason.LOOP_DETECTED: 51,
    Reason.TOO_MANY_CALLS: 43,
}
_REASONS = {number: reason for reason, number in _CODES.items()}


def refusal(reason: Reason) -> Refusal:
    """What a caller is told for `reason`; total."""
    status, public, message = _face(reason)
    return Refusal(status=status, public_reason=public, message=message, code=_CODES[reason])


def by_code(code: int) -> Reason:
    """The reason of a number that a gateway reported; raises KeyError for any other."""
    return _REASONS[code]
