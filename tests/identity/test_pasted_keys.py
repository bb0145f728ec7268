"""Pasted keys: what is taken, and what the sentence says of the rest."""

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from hypothesis import given
from hypothesis import strategies as st

from ostiary.identity.pasted_keys import BadKey, hmac_secret, kind, public_key

RSA = rsa.generate_private_key(65537, 2048)
WEAK = rsa.generate_private_key(65537, 1024)
EC = ec.generate_private_key(ec.SECP256R1())
KOBLITZ = ec.generate_private_key(ec.SECP256K1())
ED = ed25519.Ed25519PrivateKey.generate()
DSA = dsa.generate_private_key(2048)

PEM, SPKI = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
NONE = serialization.NoEncryption()
PKCS8 = RSA.private_bytes(PEM, serialization.PrivateFormat.PKCS8, NONE).decode()
PKCS1 = RSA.private_bytes(PEM, serialization.PrivateFormat.TraditionalOpenSSL, NONE).decode()
SSH = RSA.private_bytes(PEM, serialization.PrivateFormat.OpenSSH, NONE).decode()


def spki(key: object) -> str:
    return key.public_key().public_bytes(PEM, SPKI).decode()  # type: ignore[attr-defined, no-any-return]


def pkcs1(key: rsa.RSAPrivateKey) -> str:
    return key.public_key().public_bytes(PEM, serialization.PublicFormat.PKCS1).decode()


REFUSED = {
    "PKCS 8": (PKCS8, "rsa", "private key"),
    "PKCS 1": (PKCS1, "rsa", "private key"),
    "OpenSSH": (SSH, "rsa", "private key"),
    "1024 bits": (spki(WEAK), "rsa", "1024 bits"),
    "ECDSA as RSA": (spki(EC), "rsa", "key for ECDSA"),
    "RSA as ECDSA": (spki(RSA), "ecdsa", "key for RSA"),
    "RSA as EdDSA": (spki(RSA), "eddsa", "key for RSA"),
    "another curve": (spki(KOBLITZ), "ecdsa", "secp256k1"),
    "DSA": (spki(DSA), "rsa", "something else"),
    "a text": ("hello", "rsa", "a text of 5 bytes"),
    "a JWK": ('{"kty": "RSA"}', "rsa", "JSON Web Key"),
    "a broken PEM": (spki(RSA)[:200], "rsa", "cannot be read"),
    "a broken OpenSSH": ("ssh-rsa AAAA", "rsa", "cannot be read"),
    "too long": ("x" * 20_000, "rsa", "longer"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_key_that_will_not_do_is_named(case: str) -> None:
    text, method, sentence = REFUSED[case]
    with pytest.raises(BadKey, match=sentence):
        public_key(text, method)


def test_keys_come_out_in_one_form() -> None:
    assert public_key(pkcs1(RSA), "rsa") == public_key(f"\n{spki(RSA)}  ", "rsa") == spki(RSA)
    assert public_key(spki(EC), "ecdsa") == spki(EC)
    assert public_key(spki(ED), "eddsa") == spki(ED)


@pytest.mark.parametrize("text", [spki(RSA), PKCS8, SSH, "ssh-ed25519 AAAA x", '{"kty":"oct"}'])
def test_a_key_is_no_shared_secret(text: str) -> None:
    with pytest.raises(BadKey, match="not a shared secret"):
        hmac_secret(text)


@pytest.mark.parametrize("text", ["", "short", "a" * 64, "abcabcabc" * 8, "x" * 31 + "\n"])
def test_a_secret_that_can_be_guessed_is_refused(text: str) -> None:
    with pytest.raises(BadKey):
        hmac_secret(text)


@given(st.text(max_size=300), st.sampled_from(["rsa", "ecdsa", "eddsa"]))
def test_any_text_is_a_key_or_a_sentence(text: str, method: str) -> None:
    assert kind(text)
    try:
        assert hmac_secret(text) == text
        assert public_key(text, method)
    except BadKey as error:
        assert str(error)
