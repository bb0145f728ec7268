"""What callers are told is total, stable in its numbers, and tells a stranger nothing."""

import pytest

from ostiary.access.reasons import REASONS, Reason, by_code, describe
from ostiary.access.stages import STAGES, Stage

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
    "limits_unavailable": 62,
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
    "limits_unavailable": 503,
    "overloaded": 503,
    "upstream_timeout": 504,
}


def test_every_reason_has_the_number_it_has_always_had() -> None:
    assert {reason.value: describe(reason).code for reason in Reason} == NUMBERS


@pytest.mark.parametrize("reason", Reason, ids=str)
def test_a_reason_is_found_again_by_its_number(reason: Reason) -> None:
    assert by_code(describe(reason).code) is reason


@pytest.mark.parametrize("number", [-1, 0, 9, max(NUMBERS.values()) + 1])
def test_other_numbers_mean_no_reason(number: int) -> None:
    with pytest.raises(KeyError):
        by_code(number)


def test_every_reason_has_a_row() -> None:
    assert set(REASONS) == set(Reason)
    assert len({row.code for row in REASONS.values()}) == len(Reason)


@pytest.mark.parametrize("reason", Reason, ids=str)
def test_a_row_tells_the_owner_what_happened_and_what_to_do(reason: Reason) -> None:
    row = describe(reason)
    for text in (row.meaning, row.remedy):
        assert text[0].isupper()
        assert text.endswith(".")


def test_a_status_of_nginx_has_one_reason() -> None:
    statuses = [status for row in REASONS.values() for status in row.nginx_statuses]
    assert len(set(statuses)) == len(statuses)


def test_every_stage_has_a_question() -> None:
    assert list(STAGES) == list(Stage)
    assert all(row.question.endswith("?") for row in STAGES.values())


def test_every_reason_has_its_status() -> None:
    assert {reason.value: describe(reason).status for reason in Reason} == STATUSES


@pytest.mark.parametrize("status", [401, 403, 404])
def test_refusals_that_could_tell_what_exists_all_look_alike(status: int) -> None:
    faces = [describe(r) for r in Reason if describe(r).status == status]
    assert len({(face.public.name, face.public.message) for face in faces}) == 1
    assert len(faces) > 1


@pytest.mark.parametrize("reason", Reason, ids=str)
def test_a_message_is_one_sentence_that_fits_json_and_configuration_as_it_is(
    reason: Reason,
) -> None:
    message = describe(reason).public.message
    assert message.endswith(".")
    assert message.isascii()
    assert not set(message) & set("\"\\'%{}[]\r\n")


@pytest.mark.parametrize(
    ("reason", "admitted", "replayed", "of_the_call"),
    [
        (Reason.CREDENTIAL_MISSING, False, False, True),
        (Reason.REVOKED_CREDENTIAL, False, False, False),
        (Reason.ADDRESS_DENIED, False, True, False),
        (Reason.UPSTREAM_TIMEOUT, True, True, False),
    ],
)
def test_the_stage_of_a_reason_says_what_another_decision_could_change(
    reason: Reason, *, admitted: bool, replayed: bool, of_the_call: bool
) -> None:
    row = describe(reason)
    assert row.is_admitted == admitted
    assert row.is_replayed == replayed
    assert row.is_of_the_call == of_the_call


def test_a_row_has_every_status_that_a_call_can_get() -> None:
    assert describe(Reason.HEAD_TOO_LARGE).statuses == (414, 431)
    assert describe(Reason.RATE_LIMITED).statuses == (429,)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_label_in_words_of_its_own(reason: Reason) -> None:
    labels = [each.label for each in Reason]
    assert labels.count(reason.label) == 1
    assert "_" not in reason.label
    assert reason.label[0].isupper()
