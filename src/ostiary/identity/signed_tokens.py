"""Signed tokens (JWS compact form, RFC 7515; JWT, RFC 7519): read strictly, verified, judged.

Nothing of a token is believed before its signature is verified with a key and a family of
algorithms that were settled without looking at it. What is read before serves to find out which
profile the token claims to speak for, and no more.
"""

import base64
import binascii
import json
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError, SecurityWarning
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

Key = RSAKey | ECKey | OKPKey | OctKey

#: Longest token that is looked at, in characters; the gateway's own buffers end at 16 KB.
LONGEST = 12_000
#: Algorithms by family; a profile has one family, and a token cannot choose another.
FAMILIES: Mapping[str, frozenset[str]] = {
    "hmac": frozenset({"HS256", "HS384", "HS512"}),
    "rsa": frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}),
    "ecdsa": frozenset({"ES256", "ES384", "ES512"}),
    # RFC 9864 names the curve; RFC 8037 did not.
    "eddsa": frozenset({"EdDSA", "Ed25519"}),
}
#: RFC 7518, section 3.4: each algorithm has one curve.
CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}

#: Entries of a list in which a profile key is looked for: each is a look-up, before anything is verified.
MOST_KEYS = 32

#: Claims of the payload that name a profile, in this order, then `kid` of the header.
SUBJECTS = ("https://www.workato.com/sub", "workato_sub", "sub")

_SEGMENT = re.compile(r"[A-Za-z0-9_-]+")


class BadToken(ValueError):
    """The text isn't a signed token; the sentence is for the owner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedToken:
    """A parsed token. `header` and `claims` are not verified yet."""

    text: str
    header: Mapping[str, Any]
    claims: Mapping[str, Any]

    @property
    def algorithm(self) -> str:
        return str(self.header["alg"])

    @property
    def key_id(self) -> str | None:
        return self.header.get("kid")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenProblem:
    """Why a token is rejected: which part, what was expected, and what it holds."""

    part: str
    expected: str
    found: str
    #: Transient: a retry may succeed.
    passing: bool = False

    def __str__(self) -> str:
        return f"{self.part}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRules:
    """What the claims of a token must be. `leeway` in seconds; empty: not asked for."""

    issuers: tuple[str, ...] = ()
    audience: str = ""
    required: tuple[str, ...] = ()
    leeway: int = 60
    #: Accept tokens without `exp`: they are valid as long as the key.
    without_exp: bool = False


def looks_signed(text: str) -> bool:
    """Whether a bearer token has the outer form of a JWS: three segments."""
    return text.count(".") == 2


def read(text: str) -> SignedToken:
    """Take a token apart; raises BadToken with what is wrong."""
    if len(text) > LONGEST:
        raise BadToken(f"it is longer than {LONGEST} characters")
    segments = text.split(".")
    if len(segments) != 3 or not all(_SEGMENT.fullmatch(segment) for segment in segments):
        raise BadToken("it is not three base64url segments")
    header, claims = _object(segments[0], "header"), _object(segments[1], "payload")
    if not isinstance(header.get("alg"), str):
        raise BadToken("its header has no alg")
    if not isinstance(header.get("kid", ""), str):
        raise BadToken("its kid isn't a text")
    # RFC 7515, section 4.1.11: what must be understood, and is not, refuses. We understand none.
    for name in ("crit", "b64", "zip", "enc"):
        if name in header:
            raise BadToken(f"its header has {name}, which is not supported")
    return SignedToken(text=text, header=header, claims=claims)


def _object(segment: str, name: str) -> Mapping[str, Any]:
    try:
        raw = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
        content = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_no_twins, parse_constant=_no_constant
        )
    except (binascii.Error, ValueError, RecursionError):
        raise BadToken(f"its {name} is not base64url of a JSON object") from None
    if not isinstance(content, dict):
        raise BadToken(f"its {name} isn't a JSON object")
    return content


def _no_twins(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object whose names are unique: two readers of twins would each believe another one."""
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError
    return content


def _no_constant(_: str) -> Any:
    raise ValueError  # JSON has neither NaN nor Infinity


def verified(token: SignedToken, key: Key, allowed: Collection[str]) -> bool:
    """Whether `key` made the signature, with one of the `allowed` algorithms."""
    if token.algorithm not in allowed or token.algorithm not in algorithms_of(key):
        return False
    try:
        with warnings.catch_warnings():
            # `EdDSA` is what most issuers still write for Ed25519 (RFC 9864).
            warnings.simplefilter("ignore", SecurityWarning)
            jws.deserialize_compact(token.text, key, algorithms=[token.algorithm])
    except (JoseError, ValueError, TypeError):
        return False
    return True


def algorithms_of(key: Key) -> frozenset[str]:
    """The algorithms that fit a key's type and curve; none where it says another `alg` or use."""
    if isinstance(key, OctKey):
        fitting = FAMILIES["hmac"]
    elif isinstance(key, RSAKey):
        fitting = FAMILIES["rsa"]
    elif isinstance(key, ECKey):
        fitting = frozenset({CURVES.get(key.curve_name, "")} - {""})
    else:
        fitting = FAMILIES["eddsa"] if key.curve_name == "Ed25519" else frozenset()
    said = key.get("alg")
    if said is not None:
        same = FAMILIES["eddsa"] if said in FAMILIES["eddsa"] else frozenset({said})
        fitting &= same
    return fitting


def claim(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its exact name, else by a dotted path; None where there is none.

    A name that begins with a slash is a JSON Pointer (RFC 6901), and nothing else: it reaches names
    that have dots or slashes themselves.
    """
    if name.startswith("/"):
        return _at(claims, [_unescaped(part) for part in name[1:].split("/")])
    if name in claims:
        return claims[name]
    return _at(claims, name.split("."))


def _at(claims: Any, parts: Sequence[str]) -> Any:
    for part in parts:
        if not isinstance(claims, Mapping) or part not in claims:
            return None
        claims = claims[part]
    return claims


def _unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")


def is_pointer(name: str) -> bool:
    """Whether a name that begins with a slash is a JSON Pointer."""
    return re.fullmatch(r"(/([^~/]|~[01])+)+", name) is not None


def named(value: object) -> str:
    """A claim's value as a profile key; empty if it cannot be one."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def keys_of(value: object) -> tuple[str, ...]:
    """The profile keys that a claim's value holds: itself, or each entry of a list of at most MOST_KEYS."""
    entries = value if isinstance(value, list) else [value]
    if len(entries) > MOST_KEYS:
        return ()
    return tuple(dict.fromkeys(key for entry in entries if (key := named(entry))))


def subject(token: SignedToken) -> str:
    """The standard claim that names the profile: the first non-empty one, without a fall-back."""
    for name in SUBJECTS:
        found = token.claims.get(name)
        if found not in (None, ""):
            return found if isinstance(found, str) else ""
    return token.key_id or ""


def judge(claims: Mapping[str, Any], rules: ClaimRules, now: int) -> TokenProblem | int | None:
    """The first problem of the claims, else when they expire (None: never).

    RFC 7519, section 4.1; `now` and the result are Unix seconds.
    """
    problem = _judge_times(claims, rules, now) or _judge_names(claims, rules)
    if problem is not None:
        return problem
    return int(claims["exp"]) + rules.leeway if "exp" in claims else None


def _judge_times(claims: Mapping[str, Any], rules: ClaimRules, now: int) -> TokenProblem | None:
    for name in ("exp", "nbf"):
        if name in claims and not _a_date(claims[name]):
            return TokenProblem(part=name, expected="a number", found=_short(claims[name]))
    if "exp" not in claims and not rules.without_exp:
        return TokenProblem(part="exp", expected="a time at which the token ends", found="none")
    if "exp" in claims and int(claims["exp"]) + rules.leeway <= now:
        return TokenProblem(part="exp", expected=f"after {now}", found=_short(claims["exp"]))
    if "nbf" in claims and claims["nbf"] - rules.leeway > now:
        return TokenProblem(
            part="nbf", expected=f"not after {now}", found=_short(claims["nbf"]), passing=True
        )
    return None


def _a_date(value: object) -> bool:
    """RFC 7519, section 2: a NumericDate, within what a clock can show."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1 << 40


def _judge_names(claims: Mapping[str, Any], rules: ClaimRules) -> TokenProblem | None:
    if rules.issuers and claims.get("iss") not in rules.issuers:
        return TokenProblem(
            part="iss", expected=" or ".join(rules.issuers), found=_short(claims.get("iss"))
        )
    audience = claims.get("aud")
    named_in = audience if isinstance(audience, list) else [audience]
    if rules.audience and rules.audience not in named_in:
        return TokenProblem(part="aud", expected=rules.audience, found=_short(audience))
    for name in rules.required:
        if claim(claims, name) in (None, "", [], {}):
            return TokenProblem(part=name, expected="a value", found="none")
    return None


def _short(value: object) -> str:
    return "none" if value is None else json.dumps(value, ensure_ascii=False, default=str)[:200]
