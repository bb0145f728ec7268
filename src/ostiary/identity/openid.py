"""Signing somebody in at an OpenID provider: authorization code flow with PKCE, as a client.

OpenID Connect Core 1.0, section 3.1; RFC 7636 (PKCE, S256); RFC 9207 (`iss` in the answer). Every
URL is fetched by the rules of `fetching`, also those that the provider names.
"""

import base64
import hashlib
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from ostiary.identity import fetching, key_sets, signed_tokens
from ostiary.identity.fetching import Fetcher, FetchRefused
from ostiary.identity.key_sets import BadKeySet
from ostiary.identity.secret import Secret
from ostiary.identity.signed_tokens import BadToken, ClaimRules

DISCOVERY = "/.well-known/openid-configuration"
SCOPE = "openid email"
#: What may sign an id token: never a secret that both sides have.
ALGORITHMS = frozenset().union(
    *(family for name, family in signed_tokens.FAMILIES.items() if name != "hmac")
)
#: OpenID Connect Core 1.0, section 2: longer subjects are none, and all are ASCII.
LONGEST_SUBJECT = 255


class SignInFailed(Exception):
    """The provider did not sign anybody in; a sentence for the admin, with no secret in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelyingParty:
    """What we are to a provider. `allowed_hosts`: those that may be private and plain."""

    issuer: str
    id: str
    secret: Secret
    allowed_hosts: Collection[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoints:
    """Where a provider does what, as its metadata say."""

    issuer: str
    authorization: str
    token: str
    keys: str
    userinfo: str
    #: The client's secret goes into the form, not into a header.
    secret_in_form: bool
    #: The answer names its issuer.
    names_issuer: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInAttempt:
    """One sign-in under way: what only this browser's session knows."""

    state: str
    nonce: str
    verifier: str
    redirect_uri: str

    @classmethod
    def new(cls, redirect_uri: str) -> "SignInAttempt":
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        return cls(state=state, nonce=nonce, verifier=verifier, redirect_uri=redirect_uri)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIdPerson:
    """Who signed in there. `email` only if the provider has verified it."""

    issuer: str
    subject: str
    email: str


async def discover(fetcher: Fetcher, client: RelyingParty) -> Endpoints:
    """Ask the provider where it does what; raises SignInFailed."""
    url = client.issuer.rstrip("/") + DISCOVERY
    try:
        fetched = await fetcher.fetch(url, client.allowed_hosts)
        issuer, keys = key_sets.parse_discovery(fetched.content, expected=client.issuer)
        told = key_sets.parse_object(fetched.content)
    except (FetchRefused, BadKeySet) as error:
        raise SignInFailed(str(error)) from None
    methods = told.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    return Endpoints(
        issuer=issuer,
        authorization=_url(told, "authorization_endpoint", client),
        token=_url(told, "token_endpoint", client),
        keys=keys,
        userinfo=_url(told, "userinfo_endpoint", client) if "userinfo_endpoint" in told else "",
        secret_in_form=isinstance(methods, list) and "client_secret_basic" not in methods,
        names_issuer=told.get("authorization_response_iss_parameter_supported") is True,
    )


def _url(told: Mapping[str, Any], name: str, client: RelyingParty) -> str:
    url = told.get(name)
    if not isinstance(url, str):
        raise SignInFailed(f"The provider's metadata has no {name}.")
    try:
        fetching.check_url(url, client.allowed_hosts)
    except FetchRefused as error:
        raise SignInFailed(f"The provider's {name} cannot be used: {error}") from None
    return url


def address(endpoints: Endpoints, client: RelyingParty, attempt: SignInAttempt) -> str:
    """Where the browser goes to sign in."""
    digest = hashlib.sha256(attempt.verifier.encode()).digest()
    query = urlencode({
        "response_type": "code",
        "client_id": client.id,
        "redirect_uri": attempt.redirect_uri,
        "scope": SCOPE,
        "state": attempt.state,
        "nonce": attempt.nonce,
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
    })  # fmt: skip
    joint = "&" if "?" in endpoints.authorization else "?"
    return f"{endpoints.authorization}{joint}{query}"


async def person(
    fetcher: Fetcher,
    endpoints: Endpoints,
    client: RelyingParty,
    attempt: SignInAttempt,
    code: str,
    now: int,
) -> OpenIdPerson:
    """Who came back with this code; raises SignInFailed. `now` in Unix seconds."""
    try:
        answer = await _tokens(fetcher, endpoints, client, attempt, code)
        claims = await _claims(fetcher, endpoints, client, attempt, answer, now)
        subject = str(claims["sub"])
        if "email" not in claims and endpoints.userinfo:
            claims = await _userinfo(fetcher, endpoints, client, answer)
            if claims.get("sub") != subject:
                raise SignInFailed("The provider's userinfo speaks of somebody else.")
    except (FetchRefused, BadKeySet, BadToken) as error:
        raise SignInFailed(f"The provider's answer cannot be used: {error}") from None
    email = claims.get("email")
    verified = claims.get("email_verified") is True
    readable = isinstance(email, str) and email.isprintable()
    return OpenIdPerson(
        issuer=endpoints.issuer,
        subject=subject,
        email=str(email).strip() if verified and readable else "",
    )


async def _tokens(
    fetcher: Fetcher, endpoints: Endpoints, client: RelyingParty, attempt: SignInAttempt, code: str
) -> Mapping[str, Any]:
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": attempt.redirect_uri,
        "code_verifier": attempt.verifier,
    }
    headers = {}
    if client.secret and not endpoints.secret_in_form:
        # RFC 6749, section 2.3.1: both are form-encoded first.
        pair = f"{quote(client.id, safe='')}:{quote(client.secret.reveal(), safe='')}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    else:
        form["client_id"] = client.id
        if client.secret:
            form["client_secret"] = client.secret.reveal()
    fetched = await fetcher.submit(endpoints.token, form, client.allowed_hosts, headers=headers)
    return key_sets.parse_object(fetched.content)


async def _claims(
    fetcher: Fetcher,
    endpoints: Endpoints,
    client: RelyingParty,
    attempt: SignInAttempt,
    answer: Mapping[str, Any],
    now: int,
) -> Mapping[str, Any]:
    """The claims of the id token, verified (OpenID Connect Core 1.0, section 3.1.3.7)."""
    text = answer.get("id_token")
    if not isinstance(text, str):
        raise SignInFailed("The provider answered without an id token.")
    token = signed_tokens.read(text)
    fetched = await fetcher.fetch(endpoints.keys, client.allowed_hosts)
    keys = key_sets.parse(fetched.content)
    if not any(signed_tokens.verified(token, key, ALGORITHMS) for key in keys.candidates(token)):
        raise SignInFailed("None of the provider's keys made the id token.")
    claims = token.claims
    rules = ClaimRules(
        issuers=(endpoints.issuer,), audience=client.id, required=("exp", "iat", "sub", "nonce")
    )
    judged = signed_tokens.judge(claims, rules, now)
    if isinstance(judged, signed_tokens.TokenProblem):
        raise SignInFailed(f"The id token does not fit; {judged}.")
    audience = claims["aud"]
    several = isinstance(audience, list) and len(audience) > 1
    if claims.get("azp", None if several else client.id) != client.id:
        raise SignInFailed("The id token is for another client.")
    if claims["nonce"] != attempt.nonce:
        raise SignInFailed("The id token is of another sign-in.")
    subject = claims["sub"]
    readable = isinstance(subject, str) and subject.isascii() and subject.isprintable()
    if not readable or len(subject) > LONGEST_SUBJECT:
        raise SignInFailed("The id token has no usable subject.")
    return claims


async def _userinfo(
    fetcher: Fetcher, endpoints: Endpoints, client: RelyingParty, answer: Mapping[str, Any]
) -> Mapping[str, Any]:
    access = answer.get("access_token")
    if not isinstance(access, str) or not access.isascii() or not access.isprintable():
        raise SignInFailed("The provider answered without an access token.")
    headers = {"Authorization": f"Bearer {access}"}
    fetched = await fetcher.fetch(endpoints.userinfo, client.allowed_hosts, headers=headers)
    return key_sets.parse_object(fetched.content)
