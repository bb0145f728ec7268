"""Tokens: what they look like, and what cannot pass for one."""

import base64
import hashlib
import hmac
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.models.marks import mark_ok

from ostiary.identity import tokens
from ostiary.identity.secret import Secret

KEY = b"k" * 32


def test_a_token_has_its_form_and_carries_the_mark() -> None:
    text = tokens.issue_token(KEY).reveal()
    assert len(text) == 65
    assert text.startswith("ost_")
    assert tokens.looks_native(text)
    assert tokens.checksum_ok(text)
    assert mark_ok(text, KEY)
    assert not mark_ok(text, b"x" * 32)
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
        ("!" * 16, True),
        ("~" * 16, True),
        # As long as ours, or with a prefix of ours: without our checksum it is somebody else's.
        ("x" * 54, True),
        ("ostm_" + "x" * 49, True),
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


@pytest.mark.parametrize(
    ("text", "prefix"),
    [
        (tokens.issue_management_token().reveal(), "ostm_"),
        (tokens.issue_sign_in().reveal(), "osts_"),
        (tokens.issue_client_id(), "ostc_"),
        (tokens.issue_client_secret().reveal(), "ostk_"),
    ],
    ids=["management", "sign-in", "client id", "client secret"],
)
def test_what_is_no_consumers_token_has_its_own_prefix_and_a_checksum(
    text: str, prefix: str
) -> None:
    assert text.startswith(prefix)
    assert len(text) == 54
    assert tokens.checksum_ok(text)
    assert not tokens.looks_native(text)
    assert tokens.problem_with_import(text)


@given(st.text(st.characters(), max_size=80))
def test_no_text_of_a_stranger_raises_or_passes(text: str) -> None:
    for value in (text, "ost_" + text, ("ost_" + text).ljust(65, "A")[:65]):
        assert not mark_ok(value, KEY)
        assert isinstance(tokens.checksum_ok(value), bool)
        assert len(tokens.fingerprint(value)) == 32


@given(st.integers(4, 58), st.sampled_from("Zz9_"))
def test_a_changed_body_or_mark_is_not_ours(position: int, char: str) -> None:
    text = tokens.issue_token(KEY).reveal()
    wrong = text[:position] + char + text[position + 1 :]
    assert mark_ok(wrong, KEY) == (wrong == text)


def test_a_token_has_as_many_bytes_as_characters() -> None:
    text = tokens.issue_token(KEY).reveal()
    assert not tokens.looks_native(text[:-1] + "ü")
    assert not tokens.looks_native(text + "A")
    assert not tokens.looks_native("OST_" + text[4:])


def test_a_stored_token_is_shown_by_its_ends_alone() -> None:
    text = tokens.issue_token(KEY).reveal()
    shown = tokens.masked(tokens.prefix_of(text), tokens.last_four(text))
    assert shown == f"{text[:8]}…{text[-4:]}"
    assert tokens.masked("", "") == "…"


def test_a_secret_does_not_get_into_json() -> None:
    import json

    with pytest.raises(TypeError) as caught:
        json.dumps({"token": Secret("hush")})
    assert "hush" not in str(caught.value)
    assert "hush" not in json.dumps({"token": Secret("hush")}, default=str)


def test_secrets_of_any_text_are_compared() -> None:
    assert Secret("\ud800") == Secret("\ud800") != Secret("\ud801")


def test_a_webhook_secret_is_a_key_of_32_bytes_in_base64() -> None:
    prefix, _, key = tokens.issue_webhook_secret().reveal().partition("_")
    assert prefix == "whsec"
    assert len(base64.b64decode(key, validate=True)) == 32
