"""What a profile's settings ask of a signed token: its own key, and rules for the claims.

The settings are those that `directory.clients.token_rules` stores. Knows no ORM and fetches nothing.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from ostiary.identity import signed_tokens
from ostiary.identity.signed_tokens import FAMILIES, ClaimRules, Key, SignedToken, TokenProblem

#: Profiles with OpenID Connect take any family but the one with shared secrets.
ASYMMETRIC = frozenset().union(*(FAMILIES[name] for name in ("rsa", "ecdsa", "eddsa")))


def rules_of(settings: Mapping[str, Any]) -> ClaimRules:
    """What the claims must be."""
    return ClaimRules(
        issuers=tuple(settings.get("issuers", ())),
        audience=settings.get("audience", ""),
        required=tuple(settings.get("required", ())),
        leeway=settings.get("leeway", 60),
        without_exp=settings.get("without_exp") is True,
    )


def by_own_key(token: SignedToken, settings: Mapping[str, Any], secret: str) -> TokenProblem | None:
    """Whether the profile's own key made the signature, with its own family of algorithms.

    `secret` is the shared one; it is looked at where the method is `hmac`.
    """
    method = settings.get("method", "")
    key = _key(method, secret if method == "hmac" else settings.get("key", ""))
    allowed = FAMILIES[method]
    if token.algorithm not in allowed:
        expected = " or ".join(sorted(allowed))
        return TokenProblem(part="alg", expected=expected, found=token.algorithm[:40])
    if signed_tokens.verified(token, key, allowed):
        return None
    return TokenProblem(part="signature", expected="one by the profile's key", found="another")


@lru_cache(maxsize=1_000)
def _key(method: str, text: str) -> Key:
    match method:
        case "hmac":
            return OctKey.import_key(text)
        case "rsa":
            return RSAKey.import_key(text)
        case "ecdsa":
            return ECKey.import_key(text)
        case _:
            return OKPKey.import_key(text)
