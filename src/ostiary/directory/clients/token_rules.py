"""How signed tokens prove who calls: what an owner may say of it for JWT and OpenID Connect.

A profile keeps it as `proof`, a plain object; the HMAC secret lies sealed beside it. So do the defaults
of a client.
"""

from collections.abc import Mapping
from typing import Annotated

from ostiary import settings
from ostiary.access.methods import AuthMethod
from ostiary.directory.changes.inputs import (
    BLANK,
    Checked,
    FlagOrNull,
    Input,
    ListOf,
    OneOf,
    Problems,
    Text,
    Whole,
    refusal,
)
from ostiary.directory.models import AccessProfile, ClientDefaults
from ostiary.directory.workspace import workspace_settings
from ostiary.identity import fetching, pasted_keys, signed_tokens
from ostiary.identity.sealing import KeyRing
from ostiary.identity.signed_tokens import FAMILIES

SIGNED = frozenset({AuthMethod.JWT, AuthMethod.OIDC})
DISCOVERY = "/.well-known/openid-configuration"
LONGEST_LEEWAY = 300
MOST_ENTRIES = 50

#: What has rules of signed tokens.
Holder = AccessProfile | ClientDefaults


def _pointer(name: str) -> str:
    if name.startswith("/") and not signed_tokens.is_pointer(name):
        raise refusal(
            "pointer",
            f"{name[:80]!r} isn't a JSON Pointer: /name/name, with ~1 for a slash and ~0 for a tilde",
        )
    return name


class _Claim(Text):
    names_value = True

    def checked(self, value: object) -> str:
        return _pointer(super().checked(value))


class _Url(Checked):
    def checked(self, value: object) -> str:
        if not isinstance(value, str) or len(value) > 500:
            raise refusal("url", "must be a URL of at most 500 characters")
        return value


class ProofInput(Input):
    """Input for the rules of signed tokens. `jwt_secret` is a secret if the method is hmac.

    Null, like an empty text, is the default or none; a method or a key that is null stays.
    """

    jwt_method: Annotated[str | None, OneOf(sorted(FAMILIES), named=True)] = None
    jwt_secret: str | None = None
    oidc_issuer: Annotated[str | None, _Url()] = None
    oidc_jwks_uri: Annotated[str | None, _Url()] = None
    access_profile_claim: Annotated[str, _Claim(required=False)] = ""
    required_claims: Annotated[list[str], ListOf(each=_Claim(), most=MOST_ENTRIES)] = []
    allowed_issuers: Annotated[list[str], ListOf(each=Text(), most=MOST_ENTRIES)] = []
    audience: Annotated[str, Text(required=False)] = ""
    leeway_seconds: Annotated[int | None, Whole(least=0, most=LONGEST_LEEWAY)] = None
    #: Accept tokens without `exp`, which never expire. Off for new profiles.
    allow_without_exp: FlagOrNull = None

    @property
    def said(self) -> list[str]:
        """The fields about signed tokens that say something."""
        nothing: tuple[object, ...] = (None, "", [])
        return [name for name in ProofInput.model_fields if getattr(self, name) not in nothing]


def secret_context(profile_id: int) -> str:
    """Where a profile's HMAC secret is sealed to."""
    return f"access_profile:{profile_id}:sealed_secret"


def _context(holder: Holder) -> str:
    if isinstance(holder, ClientDefaults):
        return f"client_defaults:{holder.pk}:sealed_secret"
    return secret_context(holder.pk)


def fill(problems: Problems, profile: Holder, given: ProofInput) -> str:
    """Check what was sent and write it to the profile; returns an HMAC secret to be sealed."""
    method = AuthMethod(profile.auth_type)
    _refuse_null(problems, method, given)
    if method not in SIGNED:
        for name in given.said:
            problems.add(name, f"is for JWT and OpenID Connect, not for {method}")
        return ""
    proof = dict(profile.proof)
    _fill_rules(profile, proof, given)
    secret = _fill_key(problems, profile, proof, given) if method is AuthMethod.JWT else ""
    if method is AuthMethod.OIDC:
        for name in ("jwt_method", "jwt_secret"):
            if name in given.said:
                problems.add(name, "is for JWT, not for OpenID Connect")
    _fill_provider(problems, proof, given, needed=method is AuthMethod.OIDC)
    profile.proof = proof
    return secret


def _refuse_null(problems: Problems, method: AuthMethod, given: ProofInput) -> None:
    """What always has a value cannot be taken away; where it means nothing, null is what is shown."""
    always = {
        AuthMethod.JWT: ("jwt_method", "allow_without_exp"),
        AuthMethod.OIDC: ("allow_without_exp",),
    }
    for name in always.get(method, ()):
        if given.has(name) and getattr(given, name) is None:
            problems.add(name, "can't be null", code="null")


def seal(profile: Holder, secret: str) -> None:
    """Seal an HMAC secret to a profile that has its id."""
    ring = KeyRing.load(settings.current().data / "keyring.json")
    profile.sealed_secret = ring.seal(secret, _context(profile))
    profile.save(update_fields=["sealed_secret"])


def overlap(profile: AccessProfile, other: AccessProfile, secret: str = "") -> bool:
    """Whether a token can prove itself to both profiles: the same key or provider, issuer and audience.

    `secret` is the first one's HMAC secret, if it is not sealed yet.
    """
    one, two = profile.proof, other.proof
    if any(one.get(name) != two.get(name) for name in ("method", "key")):
        return False
    if one.get("method") == "hmac":
        if (secret or hmac_secret(profile)) != hmac_secret(other):
            return False
    elif not one.get("method") and not _same_provider(one, two):
        return False
    for name in ("issuers", "audience"):
        here, there = _named(one.get(name)), _named(two.get(name))
        if here and there and not here & there:
            return False
    return True


def _same_provider(one: Mapping[str, object], two: Mapping[str, object]) -> bool:
    return any(one.get(name) and one.get(name) == two.get(name) for name in ("issuer", "jwks_uri"))


def _named(value: object) -> frozenset[object]:
    """What a rule asks for; empty: it asks for nothing."""
    if isinstance(value, list):
        return frozenset(value)
    return frozenset({value} if value else ())


def hmac_secret(profile: Holder) -> str:
    """A profile's HMAC secret, unsealed; empty: it has none."""
    if not profile.sealed_secret:
        return ""
    ring = KeyRing.load(settings.current().data / "keyring.json")
    return ring.open(profile.sealed_secret, _context(profile))


def _fill_key(
    problems: Problems, profile: Holder, proof: dict[str, object], given: ProofInput
) -> str:
    method, key = given.jwt_method or proof.get("method"), given.jwt_secret
    if method is None:
        problems.add("jwt_method", BLANK, code="blank")
        return ""
    if method == proof.get("method"):
        if given.has("jwt_secret") and key is None and method != "hmac":
            problems.add("jwt_secret", "can't be null", code="null")
        if key is None or key == proof.get("key"):
            return ""
    if key is None or not key.strip():
        problems.add("jwt_secret", BLANK, code="blank")
        return ""
    proof["method"] = method
    try:
        if method == "hmac":
            proof.pop("key", None)
            secret = pasted_keys.hmac_secret(key)
            return "" if secret == hmac_secret(profile) else secret
        proof["key"] = pasted_keys.public_key(key, str(method))
    except pasted_keys.BadKey as error:
        problems.add("jwt_secret", str(error), code="key")
    return ""


def _fill_provider(
    problems: Problems, proof: dict[str, object], given: ProofInput, *, needed: bool
) -> None:
    if not given.has("oidc_issuer") and not given.has("oidc_jwks_uri"):
        if needed and not (proof.get("issuer") or proof.get("jwks_uri")):
            problems.add("oidc_issuer", "give an issuer, or a JWKS URI", code="blank")
        return
    issuer = _provider(problems, proof.get("issuer"), given, "oidc_issuer")
    jwks_uri = _provider(problems, proof.get("jwks_uri"), given, "oidc_jwks_uri")
    if issuer and jwks_uri:
        problems.add(
            "oidc_issuer" if given.has("oidc_issuer") else "oidc_jwks_uri",
            "give either an issuer or a JWKS URI, not both",
            code="contradiction",
        )
    elif needed and not issuer and not jwks_uri:
        problems.add("oidc_issuer", "give an issuer, or a JWKS URI", code="blank")
    for name, url in (("issuer", issuer), ("jwks_uri", jwks_uri)):
        if url != (proof.get(name) or ""):
            proof[name] = url


def _provider(problems: Problems, stored: object, given: ProofInput, field: str) -> str:
    """A URL of the provider as it will be: the one that was sent, else the stored one."""
    now = str(stored or "")
    if not given.has(field):
        return now
    url = (getattr(given, field) or "").removesuffix(DISCOVERY if field == "oidc_issuer" else "")
    if url and url != now:
        _check_url(problems, field, getattr(given, field))
    return url


def _check_url(problems: Problems, field: str, url: str) -> None:
    try:
        fetching.check_url(url, workspace_settings.read().fetch_hosts)
    except fetching.FetchRefused as error:
        problems.add(field, f"cannot be used: {error}", code="url")


def _fill_rules(profile: Holder, proof: dict[str, object], given: ProofInput) -> None:
    """What tokens must say."""
    if given.has("access_profile_claim"):
        profile.custom_claim = given.access_profile_claim
    rules = {
        "required_claims": ("required", given.required_claims),
        "allowed_issuers": ("issuers", given.allowed_issuers),
        "audience": ("audience", given.audience),
        "allow_without_exp": ("without_exp", given.allow_without_exp is True),
        "leeway_seconds": ("leeway", 60 if given.leeway_seconds is None else given.leeway_seconds),
    }
    # What is stored nowhere means what it is shown as.
    unsaid = {"required": [], "issuers": [], "audience": "", "without_exp": False, "leeway": 60}
    proof |= {
        stored: value
        for field, (stored, value) in rules.items()
        if given.has(field) and value != proof.get(stored, unsaid[stored])
    }


#: Beside a profile whose tokens need not end.
WITHOUT_EXP = (
    "Tokens without exp are accepted, and are good until the key or the profile changes. Have the issuer "
    "set exp, then turn this off."
)


def takes_endless_tokens(profile: Holder) -> bool:
    """Whether a token without `exp` is accepted; it never expires."""
    required = profile.proof.get("required", [])
    signed = AuthMethod(profile.auth_type) in SIGNED
    return signed and profile.proof.get("without_exp") is True and "exp" not in required


def shown(profile: Holder) -> Mapping[str, object]:
    """What is shown of it, under the names in which it is given; never an HMAC secret."""
    proof = profile.proof
    if AuthMethod(profile.auth_type) not in SIGNED:
        return {}
    return {
        "jwt_method": proof.get("method"),
        "jwt_secret": proof.get("key"),
        "oidc_issuer": proof.get("issuer") or None,
        "oidc_jwks_uri": proof.get("jwks_uri") or None,
        "access_profile_claim": profile.custom_claim or None,
        "required_claims": proof.get("required", []),
        "allowed_issuers": proof.get("issuers", []),
        "audience": proof.get("audience") or None,
        "leeway_seconds": proof.get("leeway", 60),
        "allow_without_exp": proof.get("without_exp") is True,
    }
