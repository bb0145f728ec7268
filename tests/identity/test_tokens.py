"""Tokens: what they look like, and what cannot pass for one."""

import hashlib
import hmac
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.identity import tokens
from ostiary.identity.secret import Secret

KEY = b"k" * 32


def test_a_token_has_its_form_and_carries_the_mark() -> None:
    text = tokens.issue_token(KEY).reveal()
    assert len(text) == 65
    assert text.startswith("ost_")
    assert tokens.looks_native(text)
    assert tokens.checksum_ok(text)
    assert tokens.mark_ok(text, KEY)
    assert not tokens.mark_ok(text, b"x" * 32)
    body = text[4:47]
    assert text[47:59] == hmac.new(KEY, body.encode(), hashlib.sha256).hexdigest()[:12]


def test_no_two_tokens_are_alike() -> None:
    made = {tokens.issue_token(KEY).reveal() for _ in range(1000)}
    assert len(made) == 1000


def test_the_checksum_is_a_crc_in_base_62() -> None:
    text = tokens.issue_management_token().reveal()
    assert text.startswith("ostm_")
    digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    number = 0
    for char in text[-6:]:
        number = number * 62 + digits.index(char)
    assert number == zlib.crc32(text[:-6].encode())


@given(st.integers(0, 64), st.sampled_from("Aa0_"))
def test_a_typing_error_is_seen(position: int, char: str) -> None:
    text = tokens.issue_token(KEY).reveal()
    wrong = text[:position] + char + text[position + 1 :]
    if wrong != text:
        assert not tokens.checksum_ok(wrong)


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("x" * 16, True),
        ("x" * 15, False),
        ("x" * 513, False),
        ("x" * 20 + " y", False),
        ("ü" * 20, False),
        ("x" * 20 + "\n", False),
    ],
)
def test_what_can_be_imported(text: str, fits: bool) -> None:
    assert (tokens.problem_with_import(text) is None) == fits


def test_a_token_of_ours_cannot_be_imported() -> None:
    assert tokens.problem_with_import(tokens.issue_token(KEY).reveal())


@pytest.mark.parametrize("text", ["", "0" * 63, "g" * 64, "0" * 66, " " + "0" * 63])
def test_what_is_no_digest(text: str) -> None:
    assert tokens.parse_digest(text) is None


def test_a_digest_is_the_fingerprint() -> None:
    assert tokens.parse_digest(hashlib.sha256(b"abc").hexdigest()) == tokens.fingerprint("abc")


def test_a_secret_shows_stars_whatever_is_done_with_it() -> None:
    secret = Secret("hush")
    shown = f"{secret} {secret!r} {secret!s} {secret:>10} {[secret]} {secret.__str__()}"
    assert "hush" not in shown
    assert secret.reveal() == "hush"
    assert secret == Secret("hush") != Secret("other")
    assert secret != "hush"
    assert len({secret, Secret("hush")}) == 1
    assert not Secret("")


def test_a_secret_is_not_pickled() -> None:
    import pickle

    with pytest.raises(TypeError):
        pickle.dumps(Secret("hush"))
