"""Key sets and metadata of providers, and the access tokens that we issue: what they may hold."""

import json

import pytest
from joserfc.jwk import OctKey, RSAKey

from ostiary.identity import access_tokens, signed_tokens
from ostiary.identity.key_sets import MOST_KEYS, BadKeySet, parse, parse_discovery

KEY = RSAKey.generate_key(2048, {"kid": "a"})
PUBLIC = KEY.as_dict(private=False)


def _set(*keys: object) -> bytes:
    return json.dumps({"keys": keys}).encode()


@pytest.mark.parametrize(
    "entry",
    [
        {**PUBLIC, "use": "enc"},
        {**PUBLIC, "key_ops": ["encrypt"]},
        {**PUBLIC, "kid": 5},
        OctKey.generate_key(512).as_dict(private=True),
        "text",
        None,
    ],
    ids=["for encryption", "other operations", "id is a number", "symmetric", "text", "null"],
)
def test_a_key_that_must_not_verify_is_left_out(entry: object) -> None:
    with pytest.raises(BadKeySet):
        parse(_set(entry))
    assert [key.kid for key in parse(_set(entry, PUBLIC)).keys] == ["a"]


def test_a_key_for_signatures_is_used_and_its_private_half_dropped() -> None:
    (key,) = parse(_set({**KEY.as_dict(private=True), "use": "sig"})).keys
    assert not key.is_private


def test_a_key_set_has_a_bounded_number_of_keys() -> None:
    assert len(parse(_set(*[PUBLIC] * MOST_KEYS)).keys) == MOST_KEYS
    with pytest.raises(BadKeySet):
        parse(_set(*[PUBLIC] * (MOST_KEYS + 1)))


@pytest.mark.parametrize(
    "content", [b"[]", b"5", b"x", b"\xff", b"[" * 60_000, b'{"keys": 5}', b" " * 65_537]
)
def test_an_answer_that_is_not_a_key_set_is_refused(content: bytes) -> None:
    with pytest.raises(BadKeySet):
        parse(content)


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://other.example", "jwks_uri": "https://a.example/keys"},
        {"issuer": 5, "jwks_uri": "https://a.example/keys"},
        {"issuer": "https://a.example", "jwks_uri": 5},
        {"issuer": "https://a.example"},
    ],
)
def test_metadata_of_another_issuer_or_without_keys_is_refused(metadata: object) -> None:
    with pytest.raises(BadKeySet):
        parse_discovery(json.dumps(metadata).encode(), expected="https://a.example")


def test_metadata_say_where_the_keys_are() -> None:
    content = b'{"issuer": "https://a.example/", "jwks_uri": "https://a.example/keys"}'
    found = parse_discovery(content, expected="https://a.example")
    assert found == ("https://a.example/", "https://a.example/keys")


def test_an_access_token_names_its_client_and_expires_after_its_lifetime() -> None:
    kid, public, private = access_tokens.new_key()
    pair = access_tokens.load_key(kid, private.reveal())
    issued = access_tokens.issue(pair, issuer="https://a.example", client_id="c", now=1000)
    token = signed_tokens.read(issued.token.reveal())
    assert token.claims["exp"] - token.claims["iat"] == issued.expires_in
    assert token.claims["iat"] == 1000
    assert (token.claims["sub"], token.claims["client_id"]) == ("c", "c")
    assert access_tokens.is_ours(token)
    assert access_tokens.proves(token, access_tokens.load_public(public))
    other = access_tokens.load_public(access_tokens.new_key()[1])
    assert not access_tokens.proves(token, other)
