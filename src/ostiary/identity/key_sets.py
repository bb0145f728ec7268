"""Key sets (RFC 7517, section 5): what a provider publishes, read within bounds."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from ostiary.identity.pasted_keys import RSA_BITS
from ostiary.identity.signed_tokens import Key, SignedToken, algorithms_of

LARGEST = 64 * 1024
MOST_KEYS = 100
#: Keys that are tried for a token that does not say which one made it.
MOST_TRIED = 8


class BadKeySet(ValueError):
    """The answer isn't a usable key set or provider metadata; one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """Verification keys and the provider's issuer (empty if the document has none)."""

    keys: tuple[Key, ...]
    issuer: str = ""

    def candidates(self, token: SignedToken) -> tuple[Key, ...]:
        """The keys that may have made a token's signature, a few at most."""
        fitting = [key for key in self.keys if token.algorithm in algorithms_of(key)]
        if token.key_id is not None:
            # Some providers write ids into tokens, and none into their keys.
            named = [key for key in fitting if key.get("kid") == token.key_id]
            fitting = named or [key for key in fitting if key.get("kid") is None]
        return tuple(fitting[:MOST_TRIED])

    def knows(self, token: SignedToken) -> bool:
        """Whether the key that a token names is one of the set's, or may be one that has no name."""
        return token.key_id is None or any(
            key.get("kid") in {None, token.key_id} for key in self.keys
        )

    @property
    def unnamed(self) -> bool:
        """Whether some of its keys have no id: whether one is new shows by trying it alone."""
        return any(key.get("kid") is None for key in self.keys)


def parse_object(content: bytes) -> Mapping[str, Any]:
    """A provider's answer as a JSON object; raises BadKeySet."""
    if len(content) > LARGEST:
        raise BadKeySet("The answer is larger than 64 KB.")
    try:
        parsed = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError):
        raise BadKeySet("The answer is not JSON.") from None
    if not isinstance(parsed, dict):
        raise BadKeySet("The answer isn't a JSON object.")
    return parsed


def parse(content: bytes, *, issuer: str = "") -> KeySet:
    """The usable keys; others are skipped. Raises BadKeySet if none is usable."""
    listed = parse_object(content).get("keys")
    if not isinstance(listed, list) or len(listed) > MOST_KEYS:
        raise BadKeySet(f"The answer must have a list of at most {MOST_KEYS} keys.")
    keys = tuple(key for key in map(_key, listed) if key is not None)
    if not keys:
        raise BadKeySet("The key set has no usable key.")
    return KeySet(keys=keys, issuer=issuer)


def _key(entry: object) -> Key | None:
    """A public key for signatures; never a symmetric one, whatever the set says."""
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
        return None
    if "verify" not in entry.get("key_ops", ["verify"]) or not _texts(entry):
        return None
    public = {k: v for k, v in entry.items() if k in _MEMBERS}
    try:
        match entry.get("kty"):
            case "RSA":
                key: Key = RSAKey.import_key(public)
                size = key.raw_value.key_size  # type: ignore[union-attr]  # every such key has one
                return key if size in RSA_BITS else None
            case "EC":
                return ECKey.import_key(public)
            case "OKP":
                return OKPKey.import_key(public)
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return None


#: Members that say which public key it is; private ones, should one be published, are left out.
_MEMBERS = frozenset({"kty", "kid", "alg", "n", "e", "crv", "x", "y"})


def _texts(entry: Mapping[str, Any]) -> bool:
    return all(isinstance(entry[name], str) for name in _MEMBERS if name in entry)


def parse_discovery(content: bytes, *, expected: str) -> tuple[str, str]:
    """Issuer and key set URL of a provider's metadata; raises BadKeySet.

    OpenID Connect Discovery 1.0, section 4.3: the issuer must be the one that was asked for.
    """
    told = parse_object(content)
    issuer, url = told.get("issuer"), told.get("jwks_uri")
    if not isinstance(issuer, str) or issuer.rstrip("/") != expected.rstrip("/"):
        raise BadKeySet(f"The provider calls itself {str(issuer)[:200]!r}, not {expected!r}.")
    if not isinstance(url, str):
        raise BadKeySet("The provider's metadata has no jwks_uri.")
    return issuer, url
