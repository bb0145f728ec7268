"""What a consumer needs to make its first call: where, with which header, how often and from where."""

import re
import shlex
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime

from ostiary.access import addresses
from ostiary.access.methods import AuthMethod
from ostiary.directory.clients import policies
from ostiary.directory.models import AccessProfile, AddressList, Collection
from ostiary.directory.workspace import public_urls

#: Entries of a shared address list that are written out.
MOST_ENTRIES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetCollection:
    """One API that the consumer may call."""

    id: int
    name: str
    version: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSheet:
    """All of it in words; no secret stands in it but in `call`, if one is given."""

    collections: tuple[SheetCollection, ...]
    header: str
    call: str
    limits: tuple[str, ...]
    #: Empty: every address.
    allowed: tuple[str, ...]
    denied: tuple[str, ...]
    ends: datetime | None


def sheet(
    profile: AccessProfile,
    *,
    seen: AbstractSet[int] | None = None,
    public: str = "",
    secret: str = "",
    ends: datetime | None = None,
) -> ConnectionSheet:
    """The sheet of a profile; `ends` is when its credential does.

    `seen`: the collections that a member sees, for a profile may span projects. The consumer sees all.
    """
    gateway = public_urls.gateway_url()
    granted = profile.collections.order_by("name")
    chosen = [each for each in granted if seen is None or each.pk in seen]
    both = [end for end in (ends, profile.expires_at) if end is not None]
    return ConnectionSheet(
        collections=tuple(
            SheetCollection(
                id=each.pk, name=each.name, version=each.version, url=f"{gateway}/{each.handle}"
            )
            for each in chosen
        ),
        header=_header(profile, public),
        call=_call(profile, public, secret, f"{gateway}{_first_target(chosen)}", gateway),
        limits=_limits(profile),
        allowed=(*profile.allow_list, *_entries(list(profile.allowed_lists.all()))),
        denied=(*profile.deny_list, *_entries(list(profile.denied_lists.all()))),
        ends=min(both, default=None),
    )


def _header(profile: AccessProfile, public: str) -> str:
    match AuthMethod(profile.auth_type):
        case AuthMethod.TOKEN:
            return "API-TOKEN: <auth token>"
        case AuthMethod.OAUTH2:
            return "Authorization: Bearer <access token>"
        case _:
            claim = profile.custom_claim or "sub"
            return f"Authorization: Bearer <JWT with {claim}: {public}>"


def _call(profile: AccessProfile, public: str, secret: str, url: str, gateway: str) -> str:
    """What a consumer pastes into a shell: paths and imported tokens may hold `$(`, quotes and `&`."""
    match AuthMethod(profile.auth_type):
        case AuthMethod.TOKEN:
            return token_call(secret, url)
        case AuthMethod.OAUTH2:
            return (
                f"TOKEN=$(curl -s -u {shlex.quote(f'{public}:{secret}')} -d grant_type=client_credentials "
                f"{shlex.quote(f'{gateway}/oauth2/token')} "
                '| sed \'s/.*"access_token": *"\\([^"]*\\)".*/\\1/\')\n'
                f'curl -H "Authorization: Bearer $TOKEN" {shlex.quote(url)}'
            )
        case _:
            return f'curl -H "Authorization: Bearer $TOKEN" {shlex.quote(url)}'


def token_call(token: str, url: str, *options: str) -> str:
    """The command that calls an API with an auth token, in the words of a shell."""
    return shlex.join(["curl", *options, "-H", f"API-TOKEN: {token}", url])


def _first_target(chosen: Sequence[Collection]) -> str:
    """The path of the first endpoint that answers GET, with 1 for each parameter."""
    for collection in chosen:
        active = collection.endpoints.filter(active=True, method="GET").order_by("path").first()
        if active is not None:
            return f"/{collection.handle}{re.sub(r'{[^}]*}', '1', active.path)}"
    return f"/{chosen[0].handle}/" if chosen else "/"


def _limits(profile: AccessProfile) -> tuple[str, ...]:
    policy = profile.policy
    if policy is None:
        return ()
    rates = [
        f"{each.limit:,} requests per {each.interval}" for each in policies.rate_limits(policy)
    ]
    if policy.quota_limit:
        rates.append(f"{policy.quota_limit:,} requests per {policy.quota_interval}")
    return tuple(rates)


def _entries(lists: Sequence[AddressList]) -> list[str]:
    found: list[str] = []
    for each in lists:
        entries = addresses.parse_list(each.text).entries
        found += [entry.text for entry in entries[:MOST_ENTRIES]]
        if len(entries) > MOST_ENTRIES:
            found.append(f"and {len(entries) - MOST_ENTRIES:,} more of {each.name}")
    return found
