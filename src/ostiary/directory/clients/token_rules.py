"""How signed tokens prove who calls: what an owner may say of it for JWT and OpenID Connect.

A profile keeps it as `proof`, a plain object; the HMAC secret lies sealed beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ostiary import settings
from ostiary.access.methods import AuthMethod
from ostiary.directory.changes import fields
from ostiary.directory.models import AccessProfile
from ostiary.directory.workspace import workspace_settings
from ostiary.identity import fetching, pasted_keys, signed_tokens
from ostiary.identity.sealing import KeyRing
from ostiary.identity.signed_tokens import FAMILIES

SIGNED = frozenset({AuthMethod.JWT, AuthMethod.OIDC})
DISCOVERY = "/.well-known/openid-configuration"
LONGEST_LEEWAY = 300
MOST_ENTRIES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What an owner may say; empty where it does not. `jwt_secret` is a secret if method is hmac."""

    jwt_method: object = None
    jwt_secret: object = None
    oidc_issuer: object = None
    oidc_jwks_uri: object = None
    access_profile_claim: object = None
    required_claims: object = None
    allowed_issuers: object = None
    audience: object = None
    leeway_seconds: object = None
    #: Take tokens that do not say when they end.
    allow_without_exp: object = None

    @property
    def given(self) -> list[str]:
        return [name for name in self.__slots__ if getattr(self, name) not in (None, "", [], ())]


def secret_context(profile_id: int) -> str:
    """Where a profile's HMAC secret is sealed to."""
    return f"access_profile:{profile_id}:sealed_secret"


def fill(problems: fields.Problems, profile: AccessProfile, given: Proof) -> str:
    """Check what is given and write it to the profile; returns an HMAC secret to be sealed."""
    method = AuthMethod(profile.auth_type)
    if method not in SIGNED:
        for name in given.given:
            problems.add(name, f"is for JWT and OpenID Connect, not for {method}")
        return ""
    proof = dict(profile.proof)
    _fill_lists(problems, profile, proof, given)
    secret = _fill_key(problems, proof, given) if method is AuthMethod.JWT else ""
    if method is AuthMethod.OIDC:
        for name in ("jwt_method", "jwt_secret"):
            if name in given.given:
                problems.add(name, "is for JWT, not for OpenID Connect")
    _fill_provider(problems, proof, given, needed=method is AuthMethod.OIDC)
    profile.proof = proof
    return secret


def seal(profile: AccessProfile, secret: str) -> None:
    """Seal an HMAC secret to a profile that has its id."""
    ring = KeyRing.load(settings.current().data / "keyring.json")
    profile.sealed_secret = ring.seal(secret, secret_context(profile.pk))
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


def hmac_secret(profile: AccessProfile) -> str:
    """A profile's HMAC secret, unsealed; empty: it has none."""
    if not profile.sealed_secret:
        return ""
    ring = KeyRing.load(settings.current().data / "keyring.json")
    return ring.open(profile.sealed_secret, secret_context(profile.pk))


def _fill_key(problems: fields.Problems, proof: dict[str, object], given: Proof) -> str:
    method, key = given.jwt_method, given.jwt_secret
    if method is None:
        method = proof.get("method")
    if method is None:
        problems.add("jwt_method", "can't be blank")
        return ""
    if not isinstance(method, str) or method not in FAMILIES:
        problems.add("jwt_method", f"must be one of {', '.join(sorted(FAMILIES))}")
        return ""
    if key is None and method == proof.get("method"):
        return ""
    if not isinstance(key, str) or not key.strip():
        problems.add("jwt_secret", "can't be blank" if key in (None, "") else "must be a text")
        return ""
    proof["method"] = method
    try:
        if method == "hmac":
            proof.pop("key", None)
            return pasted_keys.hmac_secret(key)
        proof["key"] = pasted_keys.public_key(key, method)
    except pasted_keys.BadKey as error:
        problems.add("jwt_secret", str(error))
    return ""


def _fill_provider(
    problems: fields.Problems, proof: dict[str, object], given: Proof, *, needed: bool
) -> None:
    if given.oidc_issuer is None and given.oidc_jwks_uri is None:
        if needed and not (proof.get("issuer") or proof.get("jwks_uri")):
            problems.add("oidc_issuer", "give an issuer, or a JWKS URI")
        return
    issuer = _url(problems, "oidc_issuer", given.oidc_issuer)
    jwks_uri = _url(problems, "oidc_jwks_uri", given.oidc_jwks_uri)
    if bool(issuer) == bool(jwks_uri) and (needed or issuer):
        problems.add("oidc_issuer", "give either an issuer or a JWKS URI, not both")
    proof["issuer"], proof["jwks_uri"] = issuer.removesuffix(DISCOVERY), jwks_uri


def _url(problems: fields.Problems, field: str, value: object) -> str:
    if value in (None, ""):
        return ""
    if not isinstance(value, str) or len(value) > 500:
        problems.add(field, "must be a URL of at most 500 characters")
        return ""
    try:
        fetching.check_url(value, workspace_settings.read().fetch_hosts)
    except fetching.FetchRefused as error:
        problems.add(field, f"cannot be used: {error}")
    return value


def _fill_lists(
    problems: fields.Problems, profile: AccessProfile, proof: dict[str, object], given: Proof
) -> None:
    if given.access_profile_claim is not None:
        profile.custom_claim = fields.text(
            problems, "access_profile_claim", given.access_profile_claim, required=False
        )
        _check_pointer(problems, "access_profile_claim", profile.custom_claim)
    for field, name in (("required_claims", "required"), ("allowed_issuers", "issuers")):
        value = getattr(given, field)
        if value is not None:
            texts = _texts(problems, field, value)
            proof[name] = texts
            for text in texts if name == "required" else ():
                _check_pointer(problems, field, text)
    if given.audience is not None:
        proof["audience"] = fields.text(problems, "audience", given.audience, required=False)
    if given.allow_without_exp is not None:
        if isinstance(given.allow_without_exp, bool):
            proof["without_exp"] = given.allow_without_exp
        else:
            problems.add("allow_without_exp", "must be true or false")
    if given.leeway_seconds is not None:
        proof["leeway"] = fields.number(
            problems, "leeway_seconds", given.leeway_seconds,
            least=0, most=LONGEST_LEEWAY, default=60,
        )  # fmt: skip


def _check_pointer(problems: fields.Problems, field: str, name: str) -> None:
    if name.startswith("/") and not signed_tokens.is_pointer(name):
        problems.add(
            field,
            f"{name[:80]!r} is no JSON Pointer: /name/name, with ~1 for a slash and ~0 for a tilde",
        )


#: Beside a profile whose tokens need not end.
WITHOUT_EXP = (
    "Tokens without exp are accepted, and are good until the key or the profile changes. Have the issuer "
    "set exp, then turn this off."
)


def takes_endless_tokens(profile: AccessProfile) -> bool:
    """Whether a token without `exp` is accepted; it never expires."""
    required = profile.proof.get("required", [])
    signed = AuthMethod(profile.auth_type) in SIGNED
    return signed and profile.proof.get("without_exp") is True and "exp" not in required


def _texts(problems: fields.Problems, field: str, value: object) -> list[str]:
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) > MOST_ENTRIES:
        problems.add(field, f"must be a list of at most {MOST_ENTRIES} texts")
        return []
    return [fields.text(problems, field, entry) for entry in value]


def shown(profile: AccessProfile) -> Mapping[str, object]:
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
