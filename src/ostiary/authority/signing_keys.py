"""The keys that access tokens are signed and verified with, read from the directory when needed."""

import json
import time
from dataclasses import dataclass

from joserfc.jwk import ECKey

from ostiary.authority.lookup import Lookup
from ostiary.directory.workspace.signing_keys import context
from ostiary.identity import access_tokens
from ostiary.identity.access_tokens import RETIRED_SECONDS, SigningKeyPair
from ostiary.identity.sealing import KeyRing

#: Seconds until a rotation is noticed; an unknown key id triggers a reload sooner.
FRESH_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _Loaded:
    signing: SigningKeyPair | None
    verifying: dict[str, ECKey]
    published: list[dict[str, str]]


class SigningKeys:
    def __init__(self, lookup: Lookup, keyring: KeyRing) -> None:
        self._lookup, self._keyring = lookup, keyring
        self._loaded = _Loaded(None, {}, [])
        self._known: tuple[object, ...] = ()
        self._read_at = 0.0

    async def signing(self) -> SigningKeyPair | None:
        """The key to sign with."""
        return (await self._fresh()).signing

    async def verifying(self, kid: str) -> ECKey | None:
        """The public key with this id, unless it was retired long ago."""
        return (await self._fresh()).verifying.get(kid)

    async def published(self) -> list[dict[str, str]]:
        """Every public key that verifies, as JWKs."""
        return (await self._fresh()).published

    async def _fresh(self) -> _Loaded:
        if time.monotonic() - self._read_at < FRESH_SECONDS:
            return self._loaded
        limit = int(time.time()) - RETIRED_SECONDS
        stored = [
            key
            for key in await self._lookup.signing_keys()
            if key.retired_at is None or key.retired_at > limit
        ]
        if tuple(stored) != self._known:
            published = [json.loads(key.public) for key in stored]
            newest = next((key for key in stored if key.retired_at is None), None)
            self._loaded = _Loaded(
                self._opened(newest.kid, newest.sealed) if newest else None,
                {public["kid"]: access_tokens.load_public(public) for public in published},
                published,
            )
            self._known = tuple(stored)
        self._read_at = time.monotonic()
        return self._loaded

    def _opened(self, kid: str, sealed: str) -> SigningKeyPair:
        return access_tokens.load_key(kid, self._keyring.open(sealed, context(kid)))
