"""The search box of every page, and its results page.

The box uses POST although it changes nothing: the text may be a token, which must not appear in URLs,
histories or logs. Every other text leads on to an address with it, which can be gone back to, linked and
reloaded.
"""

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from ostiary.console.frame import moments
from ostiary.console.insight import places
from ostiary.console.sign_in.viewer import page
from ostiary.directory import search
from ostiary.directory.actor import Actor
from ostiary.usage import outcomes, request_log
from ostiary.usage.models import LoggedCall

#: Kinds in the order in which they are shown: heading, and the page of a hit.
KINDS = {
    "place": ("Pages and actions", ""),
    "call": ("Requests", "log"),
    "client": ("Clients", "client"),
    "profile": ("Access profiles", "client"),
    "collection": ("API collections", "collection"),
    "endpoint": ("Endpoints", "collection"),
    "connection": ("Connections", "edit-connection"),
    "policy": ("Policies", ""),
    "address_list": ("Address lists", "edit-address-list"),
    "recipe": ("Recipes", ""),
    "project": ("Projects", "edit-project"),
    "webhook": ("Webhooks", "webhook"),
    "member": ("Members", ""),
    "token": ("Management tokens", ""),
}
#: Lists for what has no page of its own.
_LISTS = {"policy": "policies", "recipe": "recipes", "member": "members", "token": "tokens"}


@sensitive_post_parameters("find")
@page
@require_http_methods(["GET", "POST"])
def everything(request: HttpRequest, by: Actor) -> HttpResponse:
    text = request.POST.get("find", request.GET.get("find", "")).strip()[: search.LONGEST]
    found_in_box = request.htmx  # type: ignore[attr-defined]  # set by a middleware
    secret = search.may_be_secret(text)
    if request.method == "POST" and not secret and not found_in_box:
        return redirect(f"{reverse('search')}?{urlencode({'find': text})}")
    if request.method == "GET" and secret:
        text = ""
    found = [*_places(by, text), *_calls(by, text), *search.search(by, text)]
    groups = [_shown(group, text) for group in found]
    count = sum(len(group.hits) for group in found)
    context = {
        "groups": groups,
        "count": count,
        "more": any(group.more for group in found),
        "in_box": found_in_box,
        "short": len(text) < search.SHORTEST,
        "secret": secret and request.method == "GET",
        "searched": "" if secret else text,
    }
    return render(request, f"console/{'found' if found_in_box else 'search'}.html", context)


def _shown(group: search.Group, text: str) -> dict[str, Any]:
    rows = search.stated(group)
    return {
        "kind": group.kind,
        "heading": KINDS[group.kind][0],
        "hits": [(hit, _page(group.kind, hit), rows.get(hit.id)) for hit in group.hits],
        "more": group.more,
        "all": _all(group.kind, text),
    }


#: Lists that find the same and have no end.
_WHOLE_LISTS = {
    "client": "clients",
    "profile": "access-profiles",
    "collection": "collections",
    "endpoint": "endpoints",
    "connection": "connections",
    "policy": "policies",
}


def _all(kind: str, text: str) -> str:
    """The whole list of what was found of a kind; empty where there is none."""
    name = _WHOLE_LISTS.get(kind)
    if name is None or search.may_be_secret(text):
        return ""
    return f"{reverse(name)}?{urlencode({'search': text})}"


#: What a request id may look like, whole or in part: it has a digit in it, and no spaces.
_REQUEST_ID = re.compile(r"…?((?=.*\d)[0-9A-Za-z-]{4,40})")


def _calls(by: Actor, text: str) -> list[search.Group]:
    """Calls by their request id, whole or in part."""
    asked = _REQUEST_ID.fullmatch(text)
    if asked is None:
        return []
    found = request_log.named_like(by, asked[1], most=search.MOST + 1)
    hits = [search.Hit(page=call.pk, name=call.request_id, detail=_outcome(call)) for call in found]
    more = len(hits) > search.MOST
    return [search.Group(kind="call", hits=tuple(hits[: search.MOST]), more=more)] if hits else []


def _places(by: Actor, text: str) -> list[search.Group]:
    """Pages and actions by their names; a hit's page is its number among all of them."""
    if len(text) < search.SHORTEST:
        return []
    found = list(places.named(by, text))
    hits = [
        search.Hit(page=places.PLACES.index(place), name=place.label, detail="")
        for place in found[: places.MOST]
    ]
    more = len(found) > places.MOST
    return [search.Group(kind="place", hits=tuple(hits), more=more)] if hits else []


def _outcome(call: LoggedCall) -> str:
    status = str(call.status) if call.status >= 0 else "no answer"
    at = moments.absolute(datetime.fromtimestamp(call.at_ms / 1000, UTC))
    return " · ".join(filter(None, (status, outcomes.reason_label(call.reason), at)))


def _page(kind: str, hit: search.Hit) -> str:
    if kind == "call":
        return reverse("log", args=[hit.name])
    if kind == "place":
        return reverse(places.PLACES[hit.page].address)
    name = KINDS[kind][1]
    return reverse(name, args=[hit.page]) if name else reverse(_LISTS[kind])
