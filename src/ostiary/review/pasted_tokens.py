"""A pasted signed token: the profile that it names, and whether it is valid.

It is looked at by the code that decides about real ones, and forgotten: no log, address or answer
holds it. A provider's keys are the authority's: of OpenID Connect, the signature is not judged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ostiary.access.methods import AuthMethod
from ostiary.directory import models
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.clients import token_rules
from ostiary.identity import signed_tokens, verification
from ostiary.identity.signed_tokens import BadToken, SignedToken, TokenProblem


@dataclass(frozen=True, slots=True, kw_only=True)
class Pasted:
    """The result of checking a token for one profile."""

    #: The profile's credential that it names; empty: it does not name this profile.
    credential: models.Credential | None
    problem: str = ""
    #: Unix seconds; empty: it does not say.
    until: int | None = None
    #: Whether the signature was judged.
    signed: bool = True
    #: What was looked at to find the profile, and what was left out.
    named: Mapping[str, str] = field(default_factory=dict)


def judged(profile: models.AccessProfile, text: str, now: int) -> Pasted:
    """Check a token for a profile at `now` (Unix seconds); raises Invalid if it isn't a token."""
    if AuthMethod(profile.auth_type) not in token_rules.SIGNED:
        raise Invalid({"token": [f"is for JWT and OpenID Connect, not for {profile.auth_type}"]})
    try:
        token = signed_tokens.read(text)
    except BadToken as error:
        raise Invalid({"token": [f"cannot be read: {error}"]}) from None
    named = _named(token, profile)
    own = _credential(profile, token)
    if own is None:
        return Pasted(credential=None, named=named)
    problem = _signature(profile, token)
    judgement = signed_tokens.judge(token.claims, verification.rules_of(profile.proof), now)
    if problem is None and isinstance(judgement, TokenProblem):
        problem = judgement
    return Pasted(
        credential=own,
        problem=str(problem or ""),
        until=None if isinstance(judgement, TokenProblem) else judgement,
        signed=AuthMethod(profile.auth_type) is AuthMethod.JWT,
        named=named,
    )


def _credential(profile: models.AccessProfile, token: SignedToken) -> models.Credential | None:
    """The profile's credential that the token names. Whom else it names is not told: they may be others'."""
    keys = _keys(profile, token)
    found = models.Credential.objects.filter(profile=profile, public_id__in=keys)
    return found.order_by("-pk").first() if keys else None


def _keys(profile: models.AccessProfile, token: SignedToken) -> tuple[str, ...]:
    """What the token says where the profile's key is looked for; empty: nothing."""
    claim = profile.custom_claim
    if not claim:
        return tuple(filter(None, [signed_tokens.subject(token)]))
    return signed_tokens.keys_of(signed_tokens.claim(token.claims, claim))


def _named(token: SignedToken, profile: models.AccessProfile) -> dict[str, str]:
    """What names a profile in the token, beside what would name this one."""
    claim, said = profile.custom_claim, ", ".join(_keys(profile, token))
    newest = models.Credential.objects.filter(profile=profile).order_by("-pk").first()
    return {
        "looked for in": claim or f"{', '.join(signed_tokens.SUBJECTS)}, kid of the header",
        "the token says": said[:200] or "nothing",
        "the profile's key": newest.public_id if newest else "none",
    }


def _signature(profile: models.AccessProfile, token: SignedToken) -> TokenProblem | None:
    if AuthMethod(profile.auth_type) is AuthMethod.OIDC:
        return None
    return verification.by_own_key(token, profile.proof, token_rules.hmac_secret(profile))
