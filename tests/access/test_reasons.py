"""What callers are told is total, stable in its numbers, and tells a stranger nothing."""

import pytest

from ostiary.access.reasons import Reason, by_code, refusal

#: Numbers in logs and in gateways that run; a new reason adds a line, no line ever changes.
NUMBERS = {
    "malformed_path": 10,
    "conflicting_credentials": 11,
    "credential_missing": 12,
    "unknown_credential": 13,
    "revoked_credential": 14,
    "expired_credential": 15,
    "method_mismatch": 16,
    "client_inactive": 17,
    "profile_inactive": 18,
    "profile_expired": 19,
    "address_unparsable": 20,
    "address_denied": 21,
    "address_not_allowed": 22,
    "collection_not_found": 23,
    "collection_not_granted": 24,
    "endpoint_not_found": 25,
    "endpoint_inactive": 26,
    "method_not_allowed": 27,
    "rate_limited": 28,
    "quota_exceeded": 29,
    "input_invalid": 30,
    "input_too_large": 31,
    "recipe_stopped": 32,
    "recipe_failed": 33,
    "upstream_missing": 34,
    "upstream_unavailable": 35,
    "upstream_failed": 36,
    "upstream_timeout": 37,
    "authority_unavailable": 38,
    "overloaded": 39,
    "malformed_credential": 40,
    "token_invalid": 41,
    "malformed_request": 42,
    "credential_too_long": 60,
    "head_too_large": 61,
    "too_many_calls": 43,
    "ambiguous_credential": 50,
    "loop_detected": 51,
}
STATUSES = {
    "malformed_path": 400,
    "malformed_request": 400,
    "credential_too_long": 431,
    "head_too_large": 431,
    "conflicting_credentials": 400,
    "input_invalid": 400,
    "credential_missing": 401,
    "unknown_credential": 401,
    "malformed_credential": 401,
    "token_invalid": 401,
    "revoked_credential": 401,
    "expired_credential": 401,
    "method_mismatch": 401,
    "client_inactive": 401,
    "profile_inactive": 401,
    "profile_expired": 401,
    "address_unparsable": 403,
    "address_denied": 403,
    "address_not_allowed": 403,
    "collection_not_found": 404,
    "collection_not_granted": 404,
    "endpoint_not_found": 404,
    "endpoint_inactive": 404,
    "recipe_stopped": 404,
    "method_not_allowed": 405,
    "input_too_large": 413,
    "recipe_failed": 422,
    "rate_limited": 429,
    "quota_exceeded": 429,
    "too_many_calls": 429,
    "ambiguous_credential": 401,
    "loop_detected": 508,
    "upstream_unavailable": 502,
    "upstream_failed": 502,
    "upstream_missing": 503,
    "authority_unavailable": 503,
    "overloaded": 503,
    "upstream_timeout": 504,
}


def test_every_reason_has_the_number_it_has_always_had() -> None:
    assert {reason.value: refusal(reason).code for reason in Reason} == NUMBERS


@pytest.mark.parametrize("reason", Reason, ids=str)
def test_a_reason_is_found_again_by_its_number(reason: Reason) -> None:
    assert by_code(refusal(reason).code) is reason


@pytest.mark.parametrize("number", [-1, 0, 9, max(NUMBERS.values()) + 1])
def test_other_numbers_mean_no_reason(number: int) -> None:
    with pytest.raises(KeyError):
        by_code(number)


def test_every_reason_has_its_status() -> None:
    assert {reason.value: refusal(reason).status for reason in Reason} == STATUSES


@pytest.mark.parametrize("status", [401, 403, 404])
def test_refusals_that_could_tell_what_exists_all_look_alike(status: int) -> None:
    faces = [refusal(r) for r in Reason if refusal(r).status == status]
    assert len({(face.public_reason, face.message) for face in faces}) == 1
    assert len(faces) > 1


@pytest.mark.parametrize("reason", Reason, ids=str)
def test_a_message_is_one_sentence_that_fits_json_and_configuration_as_it_is(
    reason: Reason,
) -> None:
    message = refusal(reason).message
    assert message.endswith(".")
    assert message.isascii()
    assert not set(message) & set("\"\\'%{}[]\r\n")
