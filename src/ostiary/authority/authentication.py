"""Proving who calls: from the credential of a call to the profile it speaks for.

Tokens that Ostiary issued or imported are looked up. A signed token is read first, to find the profiles that
it may speak for; each of them says how the signature is verified. The call belongs to the profile whose
key or issuer verifies the token (decision 28).
"""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ostiary.access.decision import is_active
from ostiary.access.methods import AuthMethod
from ostiary.authority.lookup import Lookup, Row
from ostiary.authority.provider_keys import KeySource, ProviderKeys
from ostiary.authority.signing_keys import SigningKeys
from ostiary.directory.clients.token_rules import secret_context
from ostiary.gateway.contract import BEARER, Question
from ostiary.identity import access_tokens, signed_tokens, verification
from ostiary.identity.sealing import KeyRing
from ostiary.identity.signed_tokens import BadToken, ClaimRules, Key, SignedToken, TokenProblem
from ostiary.identity.tokens import client_fingerprint, fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class Proved:
    """The result of authentication; `row` has no credential if the credential is unknown."""

    row: Row
    method: AuthMethod
    problem: TokenProblem | None = None
    #: When it must be verified again, Unix seconds; empty: as long as the credential is valid.
    until: int | None = None
    #: When the presented token expires, Unix seconds; empty: never.
    ends: int | None = None
    #: Profiles that the token fits, if several; then `row` has no credential.
    fitting: tuple[int, ...] = ()

    @property
    def verified(self) -> bool:
        """Whether the profile's key or issuer made the token, whatever else is wrong with it."""
        return self.problem is None or self.problem.part not in _UNVERIFIED


#: Parts of a token whose problems say that somebody else made it, or that nobody knows who did.
_UNVERIFIED = frozenset({"alg", "kid", "keys", "signature", "iss"})


class Prover:
    def __init__(
        self, lookup: Lookup, signing: SigningKeys, providers: ProviderKeys, keyring: KeyRing
    ) -> None:
        self._lookup, self._signing = lookup, signing
        self._providers, self._keyring = providers, keyring

    async def prove(self, question: Question, now: int) -> Proved:
        """Find the profile of a call's credential; `now` is Unix seconds."""
        text = question.credential
        row = await self._lookup.find(fingerprint(text), question.collection, question.endpoint)
        nothing = Proved(row=row, method=AuthMethod.TOKEN)
        if row.credential is not None or question.form != BEARER:
            return nothing
        if not signed_tokens.looks_signed(text):
            return nothing
        try:
            token = signed_tokens.read(text)
        except BadToken:
            return nothing
        if access_tokens.is_ours(token):
            return await self._ours(token, question, now) or nothing
        return await self._others(token, question, row, now)

    async def _ours(self, token: SignedToken, question: Question, now: int) -> Proved | None:
        """Verify an access token that Ostiary issued (RFC 9068, section 4)."""
        key = await self._signing.verifying(token.key_id or "")
        if key is None or not access_tokens.proves(token, key):
            return None
        digest = client_fingerprint(str(token.claims["sub"]))
        row = await self._lookup.find(digest, question.collection, question.endpoint)
        if row.credential is None:
            return None
        found = signed_tokens.judge(token.claims, ClaimRules(leeway=0), now)
        if not isinstance(found, TokenProblem):
            token_id = str(token.claims["jti"])
            if await self._lookup.token_revoked(fingerprint(token_id)):
                found = TokenProblem(part="jti", expected="a token in force", found="a revoked one")
        return _proved(row, AuthMethod.OAUTH2, found)

    async def _others(
        self, token: SignedToken, question: Question, unknown: Row, now: int
    ) -> Proved:
        """Verify a token that somebody else signed, for a profile with JWT or OpenID Connect.

        If profiles include the collection, only they count. Otherwise, somebody who may not grant the
        collection could shut out its consumers with a profile that has the same key.
        """
        rows = await self._rows(token, question)
        rows = [row for row in rows if row.granted] or rows
        judged = await asyncio.gather(*(self._judged(token, row, now) for row in rows))
        return _chosen(judged, unknown, now)

    async def _judged(self, token: SignedToken, row: Row, now: int) -> Proved:
        """What a token proves to one of the profiles that it names."""
        method = AuthMethod(row.auth_type)
        settings = json.loads(row.proof)
        rules = verification.rules_of(settings)
        if method is AuthMethod.JWT:
            problem = self._signature(token, row, settings)
            return _proved(row, method, problem or signed_tokens.judge(token.claims, rules, now))
        source = KeySource(issuer=settings.get("issuer", ""), jwks_uri=settings.get("jwks_uri", ""))
        keys, until, matter = await self._providers.find(source, token)
        candidates = keys.candidates(token) if keys else ()
        if not _verified(token, candidates):
            # A key without an id may have been replaced by another one without.
            keys, until, matter = await self._providers.again(source, keys, until, matter)
            candidates = keys.candidates(token) if keys else ()
        if not _verified(token, candidates):
            replaced = keys is not None and keys.unnamed
            problem = _unverified(token, matter, known=bool(candidates), replaced=replaced)
            return _proved(row, method, problem)
        if keys and keys.issuer and not rules.issuers:
            rules = replace(rules, issuers=(keys.issuer,))
        found = signed_tokens.judge(token.claims, rules, now)
        return _proved(row, method, found, until)

    async def _rows(self, token: SignedToken, question: Question) -> list[Row]:
        """The profiles that the token names, each once."""
        named = [
            (name, key)
            for name in await self._lookup.custom_claims()
            for key in signed_tokens.keys_of(signed_tokens.claim(token.claims, name))
        ]
        named.append(("", signed_tokens.subject(token)))
        found: dict[int, Row] = {}
        for name, key in named:
            if key:
                rows = await self._lookup.named(name, key, question.collection, question.endpoint)
                found |= {row.profile: row for row in rows}
        return list(found.values())

    def _signature(
        self, token: SignedToken, row: Row, settings: dict[str, str]
    ) -> TokenProblem | None:
        secret = ""
        if settings.get("method") == "hmac":
            secret = self._keyring.open(row.sealed_secret, secret_context(row.profile))
        return verification.by_own_key(token, settings, secret)


def _verified(token: SignedToken, candidates: Sequence[Key]) -> bool:
    return any(signed_tokens.verified(token, key, verification.ASYMMETRIC) for key in candidates)


def _chosen(judged: Sequence[Proved], unknown: Row, now: int) -> Proved:
    """Choose the profile that the token fits best. Inactive profiles do not count.

    A token that is valid for several profiles is refused as ambiguous. A token that fits several and is
    valid for none belongs to no profile.
    """
    if not judged:
        return Proved(row=unknown, method=AuthMethod.TOKEN)
    good = [each for each in judged if each.problem is None]
    live = [each for each in good if _alive(each.row, now)]
    if len(live) > 1:
        fitting = tuple(sorted(each.row.profile for each in live))
        sequence = min(each.row.sequence for each in live)
        row = replace(live[0].row, credential=None, sequence=sequence)
        return Proved(row=row, method=live[0].method, fitting=fitting)
    best = live or good or [each for each in judged if each.verified] or list(judged)
    alive = [each for each in best if _alive(each.row, now)] or best
    if len(alive) == 1 or alive[0].verified:
        return min(alive, key=lambda each: each.row.profile)
    passing = [each for each in alive if each.problem and each.problem.passing]
    return Proved(
        row=unknown, method=AuthMethod.TOKEN, problem=passing[0].problem if passing else None
    )


def _alive(row: Row, now: int) -> bool:
    """Whether a profile can call at all: it, its client and its key are active."""
    ends = (row.expires_at, row.overlap_until, row.profile_expires_at)
    in_time = all(end is None or end > now for end in ends)
    profile = is_active(bool(row.profile_active), row.profile_inactive_until, now)
    client = is_active(bool(row.client_active), row.client_inactive_until, now)
    return profile and client and in_time and row.revoked_at is None


def _proved(
    row: Row, method: AuthMethod, found: TokenProblem | int | None, keys_until: int | None = None
) -> Proved:
    """What a token proves: `found` says what is wrong with it, or when it expires."""
    if isinstance(found, TokenProblem):
        return Proved(row=row, method=method, problem=found)
    moments = [moment for moment in (found, keys_until) if moment is not None]
    return Proved(row=row, method=method, until=min(moments, default=None), ends=found)


def _unverified(token: SignedToken, matter: str, *, known: bool, replaced: bool) -> TokenProblem:
    """Describe the problem; `replaced`: keys have no ids, so the provider may have exchanged its key."""
    if matter:
        return TokenProblem(part="keys", expected="the provider's", found=matter, passing=True)
    if known:
        expected = "one by the provider's key"
        return TokenProblem(part="signature", expected=expected, found="another", passing=replaced)
    found = f"kid {token.key_id!r}, alg {token.algorithm!r}"[:200]
    return TokenProblem(part="kid", expected="a key of the provider", found=found, passing=True)
