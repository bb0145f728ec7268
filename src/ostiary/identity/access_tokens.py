"""Access tokens that Ostiary issues for OAuth 2.0: JWTs as RFC 9068 shapes them, signed ES256."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt
from joserfc.jwk import ECKey

from ostiary.identity.secret import Secret
from ostiary.identity.signed_tokens import SignedToken, verified

ALGORITHM = "ES256"
#: RFC 9068, section 2.1.
TYPE = "at+jwt"
LIFETIME_SECONDS = 3600
#: A retired key is published and verifies so long: its last token, and clocks that differ.
RETIRED_SECONDS = LIFETIME_SECONDS + 120


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKeyPair:
    """A key pair of ours."""

    id: str
    key: ECKey


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedAccessToken:
    token: Secret
    expires_in: int = LIFETIME_SECONDS


def new_key() -> tuple[str, Mapping[str, str], Secret]:
    """Key id, public JWK, and the private JWK as a text to be sealed."""
    kid = f"ost-{secrets.token_hex(8)}"
    key = ECKey.import_key(ec.generate_private_key(ec.SECP256R1()), {"kid": kid})
    shown = {"alg": ALGORITHM, "use": "sig"}
    public = {name: str(value) for name, value in key.as_dict(private=False).items()}
    return kid, {**public, **shown}, Secret(json.dumps(key.as_dict(private=True)))


def load_key(kid: str, private: str) -> SigningKeyPair:
    """A key that `new_key` made, to sign with."""
    return SigningKeyPair(id=kid, key=ECKey.import_key(json.loads(private)))


def load_public(public: Mapping[str, Any]) -> ECKey:
    """A key that `new_key` made, to verify with."""
    return ECKey.import_key(
        {k: v for k, v in public.items() if k in {"kty", "crv", "x", "y", "kid"}}
    )


def issue(
    key: SigningKeyPair, *, issuer: str, client_id: str, now: int, lifetime: int = LIFETIME_SECONDS
) -> IssuedAccessToken:
    """A token for a client; `now` in Unix seconds."""
    claims = {
        "iss": issuer,
        "aud": issuer,
        "sub": client_id,
        "client_id": client_id,
        "iat": now,
        "exp": now + lifetime,
        "jti": secrets.token_urlsafe(16),
    }
    header = {"alg": ALGORITHM, "typ": TYPE, "kid": key.id}
    token = Secret(jwt.encode(header, claims, key.key, algorithms=[ALGORITHM]))
    return IssuedAccessToken(token=token, expires_in=lifetime)


def is_ours(token: SignedToken) -> bool:
    """Whether a token says of itself that it is an access token of ours; nothing is proved yet."""
    return token.header.get("typ") == TYPE and (token.key_id or "").startswith("ost-")


def proves(token: SignedToken, key: ECKey) -> bool:
    """Whether `key` signed it."""
    return verified(token, key, {ALGORITHM})
