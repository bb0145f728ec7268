"""Codes of authenticator apps by the examples of RFC 6238, and recovery codes as people type them."""

import base64

import pytest

from ostiary.identity import one_time_codes
from ostiary.identity.secret import Secret

SECRET = Secret(base64.b32encode(b"12345678901234567890").decode())
#: RFC 6238, appendix B; the last six of its eight digits.
EXAMPLES = {
    59: "287082",
    1111111109: "081804",
    1111111111: "050471",
    1234567890: "005924",
    2000000000: "279037",
    20000000000: "353130",
}


@pytest.mark.parametrize(("now", "code"), EXAMPLES.items())
def test_the_examples_of_the_standard(now: int, code: str) -> None:
    assert one_time_codes.step_of(SECRET, code, now) == now // 30
    assert one_time_codes.step_of(SECRET, f" {code[:3]} {code[3:]} ", now) == now // 30


@pytest.mark.parametrize(
    ("shift", "good"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)]
)
def test_one_step_to_either_side_is_taken_and_no_more(shift: int, good: bool) -> None:
    assert (one_time_codes.step_of(SECRET, "005924", 1234567890 + shift) is not None) is good


@pytest.mark.parametrize("text", ["", "00592", "0059245", "٠٠٥٩٢٤", "00592x", "\ud800", "+05924"])
def test_what_is_no_code_is_none(text: str) -> None:
    assert one_time_codes.step_of(SECRET, text, 1234567890) is None


def test_recovery_codes_are_known_however_they_are_typed() -> None:
    codes = one_time_codes.recovery_codes()
    assert len({code.reveal() for code in codes}) == 10
    for text in (code.reveal() for code in codes):
        plain = one_time_codes.plain_recovery_code(text)
        assert plain
        for typed in (text.upper(), text.replace("-", " "), f" {plain} ", text.replace("-", "")):
            assert one_time_codes.plain_recovery_code(typed) == plain
    assert one_time_codes.plain_recovery_code("123456") is None
    assert one_time_codes.plain_recovery_code("a" * 17) is None


def test_a_secret_does_not_show() -> None:
    address = one_time_codes.address(SECRET, account="a@b.example", issuer="Ostiary")
    assert SECRET.reveal() not in f"{address} {SECRET!r}"
    assert address.reveal().startswith("otpauth://totp/Ostiary:a%40b.example?")
