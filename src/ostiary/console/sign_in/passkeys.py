"""Passkeys in the browser: the site they are for, questions kept in the session, answers checked."""

import time
from typing import Any
from urllib.parse import urlsplit

from django.core.exceptions import BadRequest
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, JsonResponse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from ostiary.console.sign_in import steps
from ostiary.console.sign_in.steps import member_of
from ostiary.directory.models import Member, SecondFactor
from ostiary.directory.models.sign_in import PASSKEY, TOTP
from ostiary.directory.people import second_factors
from ostiary.directory.workspace import public_urls
from ostiary.identity import passkeys
from ostiary.identity.passkeys import BadPasskey, Passkey, PasskeyChallenge, PasskeyOwner, Site

#: What a question is for; an answer is good for that alone.
SIGN_IN, SECOND_STEP, CONFIRM, REGISTER = "sign-in", "second-step", "confirm", "register"
QUESTION = "passkey"
#: Seconds in which a question can be answered.
ANSWER = 300

_PORTS = {"http": 80, "https": 443}


def site_of(request: HttpRequest) -> Site:
    """The console as browsers see it: by the workspace's setting, else as it was asked."""
    configured = public_urls.configured_console_url()
    url = urlsplit(configured or f"{request.scheme}://{request.get_host()}")
    host = (url.hostname or "").lower()
    shown = f"[{host}]" if ":" in host else host
    try:
        port = "" if url.port in (None, _PORTS[url.scheme]) else f":{url.port}"
    except ValueError:
        raise BadRequest("The Host header has no usable port") from None
    return Site(origin=f"{url.scheme}://{shown}{port}")


def ways(request: HttpRequest, member: Member) -> dict[str, Any]:
    """How a member can show a second factor here, for a page that asks for one."""
    site = site_of(request)
    kinds = set(second_factors.of(member).values_list("kind", flat=True))
    usable = bool(second_factors.passkeys(member, site.host)) and not site.problem
    return {
        "has_app": TOTP in kinds,
        "has_passkey": PASSKEY in kinds,
        "origin": site.origin if usable else "",
        "no_passkey": site.problem or "Your passkeys were made for another address of the console.",
    }


@sensitive_post_parameters()
@require_POST
def options(request: HttpRequest) -> HttpResponse:
    """A question for the browser, as JSON."""
    purpose, site = request.POST.get("for", ""), site_of(request)
    asked = None if site.problem else _ask(request, purpose, site)
    if asked is None:
        return HttpResponseBadRequest()
    request.session[QUESTION] = {
        "for": purpose,
        "state": dict(asked.state),
        "at": int(time.time()),
    }
    return JsonResponse(dict(asked.options))


def _ask(request: HttpRequest, purpose: str, site: Site) -> PasskeyChallenge | None:
    if purpose == SIGN_IN:
        return passkeys.ask(site, None)
    if purpose == SECOND_STEP:
        first = steps.pending(request)
        if first is None:
            return None
        return passkeys.ask(site, second_factors.passkeys(first.member, site.host))
    if not request.user.is_authenticated:
        return None
    member = member_of(request)
    known = second_factors.passkeys(member, site.host)
    if purpose == CONFIRM:
        return passkeys.ask(site, known)
    if purpose == REGISTER and steps.may_add(request):
        handle = member.pk.to_bytes(8, "big")
        person = PasskeyOwner(handle=handle, name=member.email, shown=member.name or member.email)
        return passkeys.ask_to_register(site, person, known)
    return None


def _state(request: HttpRequest, purpose: str) -> dict[str, Any] | None:
    """The question that was asked for this purpose; it is asked once."""
    asked: dict[str, Any] | None = request.session.pop(QUESTION, None)
    if asked is None or asked["for"] != purpose or time.time() - asked["at"] > ANSWER:
        return None
    state: dict[str, Any] = asked["state"]
    return state


def answered(request: HttpRequest, purpose: str) -> SecondFactor | None:
    """The passkey that answers rightly, or nothing."""
    state, site = _state(request, purpose), site_of(request)
    answer = request.POST.get("passkey", "")
    if state is None or site.problem:
        return None
    try:
        factor = second_factors.passkey(passkeys.id_of(answer), site.host)
        if factor is None:
            return None
        count = passkeys.verify(site, state, bytes(factor.credential), answer)
    except BadPasskey:
        return None
    return factor if second_factors.use_passkey(factor, count) else None


def shown_by(request: HttpRequest, purpose: str, member: Member) -> str | None:
    """Says that the member has shown a passkey of theirs, or nothing."""
    factor = answered(request, purpose)
    return "passkey" if factor and factor.member_id == member.pk else None


def registered(request: HttpRequest) -> Passkey | None:
    """The new passkey that the browser's answer registers, or nothing."""
    state, site = _state(request, REGISTER), site_of(request)
    if state is None or site.problem:
        return None
    try:
        return passkeys.register(site, state, request.POST.get("passkey", ""))
    except BadPasskey:
        return None
