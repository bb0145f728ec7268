"""A key serves the algorithm that it was published for, and no other of its family."""

import jwt
import pytest
from joserfc.jwk import ECKey, Key, OctKey, OKPKey, RSAKey

from ostiary.identity import signed_tokens

RSA = RSAKey.generate_key(2048)
OCT = OctKey.generate_key(512)
FAMILY = {
    "rsa": ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    "hmac": ("HS256", "HS384", "HS512"),
}


def with_algorithm(key: Key, algorithm: str) -> Key:
    return type(key).import_key({**key.as_dict(private=True), "alg": algorithm})


def signed(key: Key, algorithm: str) -> signed_tokens.SignedToken:
    if isinstance(key, OctKey):
        text = jwt.encode({"sub": "x"}, key.raw_value, algorithm=algorithm)
    else:
        pem = key.as_pem(private=True)
        text = jwt.encode({"sub": "x"}, pem, algorithm=algorithm)
    return signed_tokens.read(text)


@pytest.mark.parametrize(("family", "key"), [("rsa", RSA), ("hmac", OCT)], ids=["rsa", "hmac"])
def test_a_key_serves_no_other_algorithm_of_its_family(family: str, key: Key) -> None:
    allowed = frozenset(FAMILY[family])
    for own in FAMILY[family]:
        said = with_algorithm(key, own)
        for used in FAMILY[family]:
            good = signed_tokens.verified(signed(key, used), said, allowed)
            assert good == (used == own), (own, used)
    # One that says nothing serves them all, as far as its owner allows.
    for used in FAMILY[family]:
        assert signed_tokens.verified(signed(key, used), key, allowed)


def test_an_algorithm_that_does_not_fit_its_key_fits_nothing() -> None:
    for key, said in (
        (RSA, "HS256"), (OCT, "RS256"), (ECKey.generate_key("P-256"), "ES384"),
        (OKPKey.generate_key("Ed25519"), "ES256"), (RSA, "none"), (RSA, ""),
    ):  # fmt: skip
        assert signed_tokens.algorithms_of(with_algorithm(key, said)) == frozenset()
