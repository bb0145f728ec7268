"""The steps of a sign-in, and the signed-in member of a session.

Between the steps nobody is signed in: the session holds a note of the first step, and only the
second step reads it. Each step begins a session with a new key.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import wraps
from typing import Any, Concatenate, ParamSpec
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth import login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.http import url_has_allowed_host_and_scheme

from ostiary.console.sign_in.sessions import ENTRY
from ostiary.directory.actor import Actor
from ostiary.directory.models import Member
from ostiary.directory.models.sign_in import PASSKEY
from ostiary.directory.people import second_factors, sign_ins, single_sign_on
from ostiary.directory.people.members import actor_of

P = ParamSpec("P")

BACKEND = "django.contrib.auth.backends.ModelBackend"
#: Names in a session: the first step, when somebody showed again who they are, came by a link.
PENDING, CONFIRMED, LINKED = "pending", "confirmed", "by_link"
#: Seconds that the second step may take, a confirmation is good for, and a sign-in is fresh.
SECOND_STEP, CONFIRMATION, FRESH = 600, 300, 600

#: What a member who must set up a second factor may reach before.
OPEN_BEFORE = frozenset({
    "second-factor", "add-app", "add-passkey", "passkey-options", "confirm", "set-password",
    "sign-out", "healthz", "readyz", "metrics",
})  # fmt: skip


def address_of(request: HttpRequest) -> str:
    return str(request.META.get("REMOTE_ADDR", ""))


def member_of(request: HttpRequest) -> Member:
    """The signed-in member; views are behind `signed_in`."""
    member = request.user
    assert isinstance(member, Member)  # noqa: S101 - `signed_in` stands before
    return member


def actor_for(request: HttpRequest, member: Member) -> Actor:
    return actor_of(member, address_of(request))


def onward(wanted: str | None) -> str:
    """Where to go after a step: always a page of this console, whatever the query says."""
    safe = url_has_allowed_host_and_scheme(wanted, allowed_hosts=None)
    return wanted if wanted and safe and wanted.startswith("/") else "/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A first step that is done, and what is to happen after the second."""

    member: Member
    step: str
    then: str
    #: The member's issuer and subject at the provider, if it is to be linked when they are in.
    link: tuple[str, str] | None


def after_first(
    request: HttpRequest,
    member: Member,
    *,
    step: str,
    then: str = "/",
    link: tuple[str, str] | None = None,
) -> HttpResponse:
    """Continue with the second step if the member has one, else sign in."""
    if not second_factors.of(member).exists():
        return enter(request, member, [step], then=then, link=link)
    request.session.flush()
    request.session[PENDING] = {
        "member": member.pk,
        # Another password, or "sign out everywhere", ends what is under way as well.
        "hash": member.get_session_auth_hash(),
        "at": int(time.time()),
        "step": step,
        "then": then,
        "link": link,
    }
    return redirect("second-step")


def pending(request: HttpRequest) -> Pending | None:
    """The first step that this session has behind it, if it is still good."""
    note: dict[str, Any] | None = request.session.get(PENDING)
    if note is None or time.time() - note["at"] > SECOND_STEP:
        return None
    member = Member.objects.filter(pk=note["member"], is_active=True).first()
    if member is None or not constant_time_compare(note["hash"], member.get_session_auth_hash()):
        return None
    link = note["link"]
    return Pending(
        member=member,
        step=note["step"],
        then=note["then"],
        link=(link[0], link[1]) if link else None,
    )


def enter(
    request: HttpRequest,
    member: Member,
    steps: list[str],
    *,
    then: str = "/",
    strong: bool = False,
    link: tuple[str, str] | None = None,
) -> HttpResponse:
    """Begin the member's session. `strong`: a second factor was shown."""
    by = actor_for(request, member)
    if link is not None and not single_sign_on.link(
        by=by, member=member, issuer=link[0], subject=link[1]
    ):
        messages.error(request, "That account at the provider belongs to another member.")
        return redirect("sign-in")
    request.session.flush()
    request.session[ENTRY] = {
        "at": timezone.now().isoformat(),
        "strong": strong,
        "address": address_of(request),
        "browser": request.headers.get("User-Agent", "")[:200],
    }
    if steps[0] == "link":
        request.session[LINKED] = int(time.time())
        if not member.has_usable_password():
            then = reverse("set-password")
    login(request, member, backend=BACKEND)
    sign_ins.signed_in(by=by, member=member, steps=steps)
    return redirect(then)


def _age(request: HttpRequest) -> float:
    """Seconds since the session began."""
    at = request.session.get(ENTRY, {}).get("at")
    return (timezone.now() - datetime.fromisoformat(at)).total_seconds() if at else 1e9


def _seconds_since(request: HttpRequest, name: str) -> float:
    return time.time() - float(request.session.get(name, 0))


def has_just_signed_in(request: HttpRequest) -> bool:
    return _age(request) < FRESH


def came_by_link(request: HttpRequest) -> bool:
    """Whether a one-time link opened this session, and it may set a password without the present one.

    A first password at any time, since the link is used up; another one just after the sign-in.
    """
    if not member_of(request).has_usable_password():
        return LINKED in request.session
    return _seconds_since(request, LINKED) < FRESH


def can_return(member: Member) -> bool:
    """Whether the member can sign in again without a new link."""
    return (
        member.has_usable_password()
        or second_factors.of(member).filter(kind=PASSKEY).exists()
        or (single_sign_on.provider() is not None and single_sign_on.links(member).exists())
    )


def can_confirm(member: Member) -> bool:
    return member.has_usable_password() or second_factors.of(member).exists()


def is_confirmed(request: HttpRequest) -> bool:
    """Whether the member confirmed their identity recently."""
    if _seconds_since(request, CONFIRMED) < CONFIRMATION:
        return True
    return not can_confirm(member_of(request)) and has_just_signed_in(request)


def may_add(request: HttpRequest) -> bool:
    """Whether a second factor may be added: who has just signed in has shown who they are."""
    return has_just_signed_in(request) or is_confirmed(request)


def confirm(request: HttpRequest) -> None:
    request.session.cycle_key()
    request.session[CONFIRMED] = int(time.time())


def to_confirm(then: str) -> HttpResponse:
    return redirect(f"{reverse('confirm')}?{urlencode({'next': then})}")


def confirmed(
    view: Callable[Concatenate[HttpRequest, P], HttpResponse],
) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """A view that needs a recent confirmation; it asks for one otherwise."""

    @wraps(view)
    def wrapped(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if is_confirmed(request):
            return view(request, *args, **kwargs)
        return to_confirm(request.path)

    return wrapped


def mark_strong(request: HttpRequest) -> None:
    """The session's member has just set up a second factor in it."""
    request.session[ENTRY] = {**request.session.get(ENTRY, {}), "strong": True}


class SecondFactorRequired:
    """If the workspace requires a second factor, members without one can only set one up."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_view(
        self, request: HttpRequest, view: object, args: object, kwargs: object
    ) -> HttpResponse | None:
        match = request.resolver_match
        # The API asks for a management token, and no session opens it.
        if match is None or match.namespaces or match.url_name in OPEN_BEFORE:
            return None
        if not request.user.is_authenticated:
            return None
        if request.session.get(ENTRY, {}).get("strong"):
            return None
        if not second_factors.are_required():
            return None
        if second_factors.of(member_of(request)).exists():
            # It was set up elsewhere; this session has not shown it.
            request.session.flush()
            return redirect("sign-in")
        return redirect("second-factor")
