"""What a browser gets for a form that it sent: always a redirect, so that Back, Forward and reload work.

A view answers a form with a page (a form with mistakes, a preview, a secret) or with a redirect. A
page is kept under the id of a draft, and the browser is redirected to it. Only browsers ask for HTML;
scripts get the page itself.
"""

import base64
import hashlib
import json
import re
import secrets
import zlib
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core import signing
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse

from ostiary.directory.models import Member
from ostiary.directory.people import form_pages

#: The name of a draft's id in addresses.
DRAFT = "draft"
#: A number that a form comes with, for the form as it was typed: `console.js` puts it into the address
#: that Back leads to.
TYPED, _TYPED = "typed", re.compile(r"t-[A-Za-z0-9_-]{22}")
#: Where a page waits for somebody who is not signed in: in their browser alone.
COOKIE, COOKIE_SECONDS, LARGEST_COOKIE = "ostiary_form_page", 600, 3800
#: Sent by `in_place.js` alone.
IN_PLACE = "X-Ostiary-In-Place"
#: Forms that did their work, and where they led, as a session remembers them.
SENT, MOST_SENT = "sent", 50
SENT_BEFORE = "That form was sent already. This is what it led to."


class UnkeptPage(HttpResponse):
    """A page that no draft may hold, since nobody but its reader may ever read it."""


class OncePage(HttpResponse):
    """A page with a secret, which is shown once; `replace`: where the secret can be replaced."""

    def __init__(self, content: str, *, replace: str) -> None:
        super().__init__(content)
        self.replace = replace


def once_page(
    request: HttpRequest, template: str, context: dict[str, Any], *, replace: str
) -> OncePage:
    return OncePage(render_to_string(template, context, request), replace=replace)


def new_typed() -> str:
    return f"t-{secrets.token_urlsafe(16)}"


def keep_typed(request: HttpRequest, form: HttpResponse) -> None:
    """Keep a form as it was typed, secrets too, for who goes back from the step after it."""
    draft = request.POST.get(TYPED, "")
    member = request.user
    if is_browser(request) and _TYPED.fullmatch(draft) and isinstance(member, Member):
        form_pages.keep(member, form.content, draft=draft)


def is_browser(request: HttpRequest) -> bool:
    """Whether a browser goes from page to page: not a script, and not a part of a page."""
    return "text/html" in request.headers.get("Accept", "") and "HX-Request" not in request.headers


class FormPages:
    """Redirects after forms, and shows what was kept for these redirects."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self._get_response(request)
        if request.method != "POST" or not is_browser(request):
            return response
        done = response.status_code == 302 or isinstance(response, OncePage)
        answer = _redirected(request, response)
        if done and answer.status_code == 303:
            _remember(request, answer.headers["Location"])
        return answer

    def process_view(
        self, request: HttpRequest, view: object, args: object, kwargs: object
    ) -> HttpResponse | None:
        match = request.resolver_match
        if match is None or match.namespaces:
            return None
        if request.method == "POST":
            return _sent_before(request)
        if request.method == "GET" and DRAFT in request.GET:
            return _shown(request, request.GET[DRAFT])
        return None


def _redirected(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    if response.status_code == 302:
        response.status_code = 303
        return response
    if IN_PLACE in request.headers:
        # It goes to no other page, and shows the answer where it is.
        return response
    kind = response.headers.get("Content-Type", "")
    # A failure of the database, for one, can keep nothing.
    if response.streaming or response.status_code >= 500 or not kind.startswith("text/html"):
        return response
    if isinstance(response, UnkeptPage):
        return response
    if request.user.is_authenticated:
        return _kept(request, response)
    return _kept_in_browser(request, response)


def _kept(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    member = request.user
    assert isinstance(member, Member)  # noqa: S101 - there are no other users
    once = isinstance(response, OncePage)
    draft = form_pages.keep(
        member,
        response.content,
        once=once,
        replace=response.replace if isinstance(response, OncePage) else "",
    )
    return _to(f"{request.path}?{DRAFT}={draft}")


def _kept_in_browser(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Nobody is signed in: strangers cannot fill a table."""
    draft = secrets.token_urlsafe(9)
    page = base64.b64encode(zlib.compress(response.content, 9)).decode()
    value = signing.dumps([draft, request.path, page], salt=COOKIE)
    if len(value) > LARGEST_COOKIE:
        return response
    answer = _to(f"{request.path}?{DRAFT}={draft}")
    # The cookies that the page itself sets.
    answer.cookies = response.cookies
    answer.set_cookie(
        COOKIE,
        value,
        max_age=COOKIE_SECONDS,
        path=request.path,
        httponly=True,
        samesite="Lax",
        secure=request.is_secure(),
    )
    return answer


def _to(address: str) -> HttpResponse:
    return HttpResponse(status=303, headers={"Location": address})


def _shown(request: HttpRequest, draft: str) -> HttpResponse | None:
    if not request.user.is_authenticated:
        return _shown_from_browser(request, draft)
    member = request.user
    assert isinstance(member, Member)  # noqa: S101 - there are no other users
    found = form_pages.show(member, draft)
    if found is None and _TYPED.fullmatch(draft):
        # The step after it was never reached: browsers fill the form in again themselves.
        return None
    if found is None:
        text = "What was typed in a form is kept for two hours. Nothing was saved by opening this page."
        return _gone(request, "This page has expired", text, request.path, "Start again")
    if found.content is None:
        text = "This secret was shown already, and is shown only once. Replace it if you did not save it."
        return _gone(request, "Shown already", text, found.replace, "Go to where it is replaced")
    return HttpResponse(found.content)


def _shown_from_browser(request: HttpRequest, draft: str) -> HttpResponse | None:
    try:
        id_, path, page = signing.loads(
            request.COOKIES.get(COOKIE, ""), salt=COOKIE, max_age=COOKIE_SECONDS
        )
    except signing.BadSignature:
        return None
    if (id_, path) != (draft, request.path):
        return None
    return HttpResponse(zlib.decompress(base64.b64decode(page)))


def _gone(request: HttpRequest, title: str, text: str, to: str, label: str) -> HttpResponse:
    context = {"title": title, "text": text, "onward": to or reverse("home"), "label": label}
    return render(request, "console/form_page_gone.html", context)


# Forms that make something carry a number of their own, and do it once.


def _key(request: HttpRequest) -> str | None:
    """What tells this very form, with the same content, from every other; if it has a number."""
    once = request.POST.get("once", "")[:64]
    if not once:
        return None
    fields = sorted(
        (name, values) for name, values in request.POST.lists() if name != "csrfmiddlewaretoken"
    )
    text = json.dumps([once, request.path, fields])
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:32]


def _sent_before(request: HttpRequest) -> HttpResponse | None:
    if not request.user.is_authenticated or not (key := _key(request)):
        return None
    led_to: str | None = request.session.get(SENT, {}).get(key)
    if led_to is None:
        return None
    if DRAFT not in led_to:
        messages.warning(request, SENT_BEFORE)
    return redirect(led_to)


def _remember(request: HttpRequest, led_to: str) -> None:
    if not request.user.is_authenticated or not (key := _key(request)):
        return
    sent: dict[str, str] = {**request.session.get(SENT, {}), key: led_to}
    request.session[SENT] = dict(list(sent.items())[-MOST_SENT:])
