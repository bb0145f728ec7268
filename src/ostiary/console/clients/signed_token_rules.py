"""What guards a profile with signed tokens: its rules, and whether the provider's keys were fetched."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from ostiary import settings
from ostiary.access.methods import AuthMethod
from ostiary.authority import provider_keys
from ostiary.authority.provider_keys import KeySource
from ostiary.console.frame.questions import ConsequenceQuestion
from ostiary.directory.clients import token_rules
from ostiary.directory.models import AccessProfile
from ostiary.directory.workspace import workspace_settings
from ostiary.identity import key_sets
from ostiary.identity.fetching import Fetcher, FetchRefused
from ostiary.identity.key_sets import BadKeySet

#: Algorithms of a provider's keys; its key says which one.
PROVIDER_ALGORITHMS = (
    "RS256 to RS512, PS256 to PS512, ES256 to ES512, EdDSA: what the provider's key is for"
)
#: What follows as long as a provider's keys cannot be fetched.
REFUSED_UNTIL_FETCHED = "Until they are fetched, every call with its tokens is refused."
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


def unfetchable(given: token_rules.ProofInput, stored: Mapping[str, object] | None = None) -> str:
    """Why the keys of a provider that is set cannot be fetched now, in a sentence; empty: they can.

    `stored`: the rules as they are. A provider that stays is not asked.
    """
    stored = stored or {}
    source = KeySource(
        issuer=(given.oidc_issuer or "").removesuffix(token_rules.DISCOVERY),
        jwks_uri=given.oidc_jwks_uri or "",
    )
    before = (stored.get("issuer") or "", stored.get("jwks_uri") or "")
    at = source.issuer or source.jwks_uri
    if not at or (source.issuer, source.jwks_uri) == before:
        return ""
    allowed = workspace_settings.read().fetch_hosts
    try:
        issuer, content = asyncio.run(provider_keys.fetch(Fetcher(), source, allowed))
        key_sets.parse(content, issuer=issuer)
    except (FetchRefused, BadKeySet) as error:
        return f"The keys of {at} can't be fetched now: {error}"
    return ""


def question(problem: str) -> ConsequenceQuestion | None:
    """The question before a provider is saved whose keys cannot be fetched; none: they can."""
    if not problem:
        return None
    return ConsequenceQuestion(
        title="Save without the provider's keys?",
        sentences=(problem, REFUSED_UNTIL_FETCHED),
        verb="Save anyway",
        in_place=False,
        returns=True,
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
