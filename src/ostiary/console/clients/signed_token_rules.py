"""What guards a profile with signed tokens: its rules, and whether the provider's keys were fetched."""

from dataclasses import dataclass
from datetime import UTC, datetime

from ostiary import settings
from ostiary.access.methods import AuthMethod
from ostiary.authority import provider_keys
from ostiary.authority.provider_keys import KeySource
from ostiary.directory.clients import token_rules
from ostiary.directory.models import AccessProfile

#: Algorithms of a provider's keys; its key says which one.
PROVIDER_ALGORITHMS = (
    "RS256 to RS512, PS256 to PS512, ES256 to ES512, EdDSA: what the provider's key is for"
)
ALGORITHMS = {
    "hmac": "HS256, HS384, HS512, with a shared secret",
    "rsa": "RS256 to RS512, PS256 to PS512",
    "ecdsa": "ES256, ES384, ES512",
    "eddsa": "EdDSA (Ed25519)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedKeys:
    """Keys of a provider, as this machine has them."""

    #: When they were fetched; empty: never.
    at: datetime | None
    ids: tuple[str, ...]
    tried_at: datetime | None
    #: Why the last fetch failed; empty: it did not, or there was none.
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenGuard:
    """What a token must be and say, as the page shows it."""

    issuer: str
    jwks_uri: str
    algorithms: str
    #: A pasted public key; empty: a shared secret, or a provider's keys.
    public_key: str
    claim: str
    required: tuple[str, ...]
    issuers: tuple[str, ...]
    audience: str
    leeway: int
    takes_endless: bool
    #: Only of a provider.
    keys: FetchedKeys | None


def of_profile(profile: AccessProfile) -> TokenGuard | None:
    """What guards a profile; None: its credentials are no signed tokens."""
    if AuthMethod(profile.auth_type) not in token_rules.SIGNED:
        return None
    proof = profile.proof
    source = KeySource(
        issuer=str(proof.get("issuer") or ""), jwks_uri=str(proof.get("jwks_uri") or "")
    )
    is_fetched = profile.auth_type == AuthMethod.OIDC
    return TokenGuard(
        issuer=source.issuer,
        jwks_uri=source.jwks_uri,
        algorithms=PROVIDER_ALGORITHMS if is_fetched else ALGORITHMS[str(proof.get("method"))],
        public_key=str(proof.get("key") or ""),
        claim=profile.custom_claim,
        required=tuple(proof.get("required", ())),
        issuers=tuple(proof.get("issuers", ())),
        audience=str(proof.get("audience") or ""),
        leeway=int(proof.get("leeway", 60)),
        takes_endless=token_rules.takes_endless_tokens(profile),
        keys=_keys(source) if is_fetched else None,
    )


def _keys(source: KeySource) -> FetchedKeys:
    found = provider_keys.status(settings.current().run / provider_keys.FOLDER, source)
    return FetchedKeys(
        at=_moment(found.fetched_at),
        ids=found.key_ids,
        tried_at=_moment(found.tried_at),
        problem=found.problem,
    )


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
