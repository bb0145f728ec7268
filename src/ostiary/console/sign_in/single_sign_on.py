"""Signing in at the workspace's OpenID provider, and its settings."""

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from django.contrib import messages
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from ostiary.console.frame.questions import ConsequenceQuestion, counted, unanswered
from ostiary.console.sign_in import passkeys, steps
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor
from ostiary.directory.changes.errors import Invalid, NotFound
from ostiary.directory.changes.permission import require_admin
from ostiary.directory.people import single_sign_on
from ostiary.identity import openid
from ostiary.identity.fetching import Fetcher
from ostiary.identity.openid import Endpoints, RelyingParty, SignInAttempt, SignInFailed

log = logging.getLogger(__name__)

#: The attempt in the session, and seconds that somebody may take at the provider.
ATTEMPT, SECONDS = "provider", 600
#: Seconds for which a provider's metadata are good: strangers cannot make us ask more often.
METADATA = 60

NO_MEMBER = (
    "The provider knows you, but the email address that it has verified isn't an active member's here, "
    "or is linked to another account there; ask an admin to add you."
)
FAILED = "The provider could not sign you in; try again, or use your password."


def callback_url(request: HttpRequest) -> str:
    """Where the provider sends people back to; it must be told before."""
    return passkeys.site_of(request).origin + reverse("provider-callback")


def _endpoints(client: RelyingParty) -> Endpoints:
    key = f"provider:{client.issuer}"
    found = cache.get(key)
    if not isinstance(found, Endpoints):
        found = asyncio.run(openid.discover(Fetcher(), client))
        cache.set(key, found, METADATA)
    return found


@require_safe
def start(request: HttpRequest) -> HttpResponse:
    """Off to the provider. A link, not a form: our policy lets forms lead to ourselves alone."""
    provider = single_sign_on.provider()
    if provider is None:
        return redirect("sign-in")
    client = single_sign_on.client_at(provider)
    try:
        endpoints = _endpoints(client)
    except SignInFailed as failure:
        return _failed(request, failure)
    attempt = SignInAttempt.new(callback_url(request))
    request.session[ATTEMPT] = {
        "attempt": asdict(attempt),
        "issuer": client.issuer,
        "then": steps.onward(request.GET.get("next")),
        "at": int(time.time()),
    }
    return redirect(openid.address(endpoints, client, attempt))


@require_safe
def callback(request: HttpRequest) -> HttpResponse:
    """Back from the provider, with a code that is good once and for this browser's session alone."""
    note: dict[str, Any] | None = request.session.pop(ATTEMPT, None)
    provider = single_sign_on.provider()
    state = request.GET.get("state", "")
    if note is None or provider is None or time.time() - note["at"] > SECONDS:
        return _refused(request, FAILED)
    attempt = SignInAttempt(**note["attempt"])
    if provider.issuer != note["issuer"] or not secrets.compare_digest(
        state.encode(), attempt.state.encode()
    ):
        return _refused(request, FAILED)
    client = single_sign_on.client_at(provider)
    try:
        endpoints = _endpoints(client)
        _check_issuer(request, endpoints)
        person = asyncio.run(
            openid.person(Fetcher(), endpoints, client, attempt, _code(request), int(time.time()))
        )
    except SignInFailed as failure:
        return _failed(request, failure)
    found = single_sign_on.find(person)
    if found is None:
        return _refused(request, NO_MEMBER)
    return steps.after_first(
        request, found.member, step="single sign-on", then=note["then"], link=found.link
    )


def _code(request: HttpRequest) -> str:
    code = request.GET.get("code", "")
    if not code or len(code) > 4096:
        said = request.GET.get("error", "no code")[:60]
        raise SignInFailed(f"The provider answered {said!r}.")
    return code


def _check_issuer(request: HttpRequest, endpoints: Endpoints) -> None:
    """RFC 9207: an answer of another provider is not taken to this one."""
    said = request.GET.get("iss")
    if said != endpoints.issuer and (said is not None or endpoints.names_issuer):
        raise SignInFailed("The answer is of another provider.")


def _failed(request: HttpRequest, failure: SignInFailed) -> HttpResponse:
    # For the admin: the reason may say things about the provider that strangers need not know.
    log.warning("single sign-on failed: %s", failure)
    return _refused(request, FAILED)


def _refused(request: HttpRequest, sentence: str) -> HttpResponse:
    messages.error(request, sentence)
    return redirect("sign-in")


@sensitive_post_parameters("client_secret")
@page
@require_http_methods(["GET", "POST"])
def settings(request: HttpRequest, by: Actor) -> HttpResponse:
    """The provider, with the secret that it gave us; that is never shown again."""
    require_admin(by)
    provider = single_sign_on.provider()
    errors: Mapping[str, list[str]] = {}
    given: Mapping[str, Any] = {
        "issuer": provider.issuer if provider else "",
        "client_id": provider.client_id if provider else "",
        "label": provider.label if provider else "Sign in with your organisation",
    }
    if request.method == "POST":
        given = request.POST
        try:
            saved = single_sign_on.configure(
                by=by,
                issuer=request.POST.get("issuer"),
                client_id=request.POST.get("client_id"),
                client_secret=request.POST.get("client_secret", ""),
                label=request.POST.get("label"),
            )
        except Invalid as error:
            errors = error.errors
        else:
            _try(request, single_sign_on.client_at(saved))
            return redirect("single-sign-on")
    context = {
        "given": given,
        "errors": errors,
        "provider": provider,
        "callback": callback_url(request),
    }
    return render(request, "console/single_sign_on.html", context, status=400 if errors else 200)


def _try(request: HttpRequest, client: RelyingParty) -> None:
    """Say at once if the provider cannot be reached."""
    cache.delete(f"provider:{client.issuer}")
    try:
        _endpoints(client)
    except SignInFailed as failure:
        messages.warning(request, f"Saved, but nobody can sign in that way yet. {failure}")
    else:
        messages.success(request, "Single sign-on is set up: the provider answers.")


@page
@require_POST
def remove(request: HttpRequest, by: Actor) -> HttpResponse:
    require_admin(by)
    if answer := unanswered(request, _off, back=reverse("single-sign-on")):
        return answer
    try:
        single_sign_on.remove(by=by)
    except NotFound:
        return redirect("single-sign-on")
    messages.success(request, "Single sign-on is off.")
    return redirect("single-sign-on")


def _off() -> ConsequenceQuestion:
    members = counted(single_sign_on.linked_members(), "member")
    return ConsequenceQuestion(
        title="Turn off single sign-on?",
        sentences=(
            f"Nobody can sign in at the provider then. {members} used it to sign in.",
            "Whoever has neither a password nor a passkey needs a sign-in link.",
        ),
        verb="Turn off",
    )
