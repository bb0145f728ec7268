"""The summary beside the form of a new access profile: what it would allow, while it is filled in.

It reads what is typed so far, also where that cannot be saved yet, and never a secret.
"""

from dataclasses import dataclass
from datetime import datetime

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.views.decorators.http import require_POST

from ostiary.access import addresses
from ostiary.access.addresses import ParsedAddressList
from ostiary.access.methods import AuthMethod
from ostiary.console.frame.forms import end_of_day
from ostiary.console.frame.listing import number_of
from ostiary.console.frame.questions import counted
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor
from ostiary.directory.catalog import collections
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.clients import address_lists, clients, policies
from ostiary.directory.models import Client, Policy

#: What a consumer calls with, by the method of its profile.
_WITH = {
    AuthMethod.TOKEN: "an auth token",
    AuthMethod.OAUTH2: "an OAuth 2.0 access token",
    AuthMethod.JWT: "a JSON web token (JWT)",
    AuthMethod.OIDC: "a token of an OpenID provider",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileSummary:
    """What a profile would allow, as parts of one sentence."""

    client: str
    collections: int
    credential: str
    policy: Policy | None
    #: Where calls may come from; empty: every address.
    allowed: tuple[str, ...]
    denied: tuple[str, ...]
    watched: bool
    expires_at: datetime | None


def of_form(by: Actor, client: Client, data: QueryDict) -> ProfileSummary:
    """The summary of a form as it is filled in."""
    method = data.get("auth_type", AuthMethod.TOKEN)
    usable = policies.usable_in(by, client.project_id)
    return ProfileSummary(
        client=client.name,
        collections=collections.collections(by).filter(pk__in=_ids(data, "collections")).count(),
        credential=next((said for known, said in _WITH.items() if known == method), ""),
        policy=usable.filter(pk=number_of(data.get("policy")) or 0).first(),
        allowed=_addresses(by, client, data, "allowed"),
        denied=_addresses(by, client, data, "denied"),
        watched=data.get("addresses_watched") == "1",
        expires_at=_end(data.get("expires_on", "")),
    )


def _ids(data: QueryDict, name: str) -> list[int]:
    found = (number_of(text) for text in data.getlist(name))
    return [each for each in found if each is not None]


def _addresses(by: Actor, client: Client, data: QueryDict, which: str) -> tuple[str, ...]:
    typed = addresses.parse_list(data.get(f"{which}_ips", "")[:20_000])
    lists = address_lists.address_lists(by).filter(
        project_id=client.project_id, pk__in=_ids(data, f"{which}_lists")
    )
    named = tuple(f"the list {each.name}" for each in lists)
    return (*_counted(typed), *named)


def _counted(typed: ParsedAddressList) -> tuple[str, ...]:
    """How many entries were typed; not how many of them can be read, if some cannot."""
    if typed.problems:
        return ("addresses that can't be read yet",)
    if not typed.entries:
        return ()
    single = sum(entry.addresses == 1 for entry in typed.entries)
    ranges = len(typed.entries) - single
    parts = [counted(single, "address", "addresses")] if single else []
    return (*parts, counted(ranges, "range")) if ranges else tuple(parts)


def _end(text: str) -> datetime | None:
    try:
        return end_of_day(text)
    except Invalid:
        return None


@page
@require_POST
def show(request: HttpRequest, by: Actor, client_id: int) -> HttpResponse:
    """The summary of the form as it is now."""
    client = clients.find(by, client_id)
    context = {"summary": of_form(by, client, request.POST)}
    return render(request, "console/profile_summary.html", context)
