"""Hand-over links: made and withdrawn by an owner, and opened by a consumer without an account.

The key of a link stands after the `#`, so that it is in no request for the page and in no log. The page
has a button that sends it: what only looks at links opens none. The answer is the page with the
secret itself, since nothing may keep it for a redirect.
"""

import json
import secrets

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.cache import add_never_cache_headers
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from ostiary.access.methods import AuthMethod
from ostiary.console.clients.connection_sheets import sheet
from ostiary.console.frame.form_pages import UnkeptPage, once_page
from ostiary.console.frame.listing import number_of
from ostiary.console.frame.saving import first_time, in_force
from ostiary.console.sign_in import lockout
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import SYSTEM, Actor, Role
from ostiary.directory.catalog import collections
from ostiary.directory.changes.errors import InUse, Invalid
from ostiary.directory.changes.permission import require
from ostiary.directory.clients import access_profiles, handovers
from ostiary.directory.models import AccessProfile
from ostiary.directory.workspace import public_urls

#: For how long a link can be opened: seconds and label.
VALID = {
    3600: "One hour",
    86_400: "One day",
    3 * 86_400: "Three days",
    7 * 86_400: "One week",
    30 * 86_400: "30 days",
}
#: For how long the old credential works beside the new one.
OVERLAPS = {
    86_400: "One day",
    3600: "One hour",
    7 * 86_400: "One week",
    30 * 86_400: "30 days",
    0: "It is revoked immediately",
}
LONGEST_KEY = 200
#: Stricter than that of other pages: no connection, and nothing but our own style and script.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)


@page
@require_http_methods(["GET", "POST"])
@sensitive_post_parameters("secret")
def new(request: HttpRequest, by: Actor, profile_id: int) -> HttpResponse:
    """Make a link for the secret that a form holds, or else for a new one."""
    profile = access_profiles.find(by, profile_id)
    require(by, Role.EDITOR, profile.client.project_id)
    if request.method == "POST":
        return _made(request, by, profile)
    context = {
        "profile": profile,
        "once": secrets.token_urlsafe(16),
        "valid": VALID,
        "usual": handovers.USUAL,
        "overlaps": OVERLAPS,
        "has_secret": handovers.has_secret(profile),
    }
    return render(request, "console/handover_form.html", context)


def _made(request: HttpRequest, by: Actor, profile: AccessProfile) -> HttpResponse:
    if not first_time(request):
        messages.warning(request, "That form was sent already. The link that it made is below.")
        return redirect("profile-credentials", profile.pk)
    try:
        saved = handovers.create(
            by=by,
            profile_id=profile.pk,
            valid_seconds=_seconds(request, "valid", handovers.USUAL),
            overlap_seconds=_seconds(request, "overlap", handovers.OVERLAP),
            secret=request.POST.get("secret") or None,
        )
    except (Invalid, InUse) as error:
        text = error.sentences if isinstance(error, Invalid) else str(error)
        messages.error(request, f"No link was made: {text}.")
        return redirect("profile-credentials", profile.pk)
    in_force(request, saved)
    return link_page(request, saved.value)


def link_page(request: HttpRequest, made: handovers.MadeHandover) -> HttpResponse:
    """The page that shows a new link, once."""
    handover = made.handover
    context = {
        "profile": handover.profile, "url": made.url.reveal(), "handover": handover,
        "is_public": bool(public_urls.configured_console_url()),
    }  # fmt: skip
    replace = reverse("hand-over", args=[handover.profile_id])
    return once_page(request, "console/handover_link.html", context, replace=replace)


def _seconds(request: HttpRequest, name: str, usual: int) -> int:
    number = number_of(request.POST.get(name, str(usual)))
    return -1 if number is None else number


@page
@require_POST
def withdraw(request: HttpRequest, by: Actor, handover_id: int) -> HttpResponse:
    try:
        found = handovers.withdraw(by=by, handover_id=handover_id)
    except InUse as error:
        messages.error(request, f"{error}.")
        return redirect("profile-credentials", handovers.find(by, handover_id).profile_id)
    messages.success(request, "Hand-over link withdrawn. It shows nothing any more.")
    return redirect("profile-credentials", found.profile_id)


@csrf_exempt  # there is no session to misuse: the key in the form is the whole right
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters("code")
def open_link(request: HttpRequest) -> HttpResponse:
    """The consumer's page: a button, and after it the credential with all that a first call needs."""
    if request.method != "POST":
        return _unkept(request, "console/handover_open.html", {})
    key, address = _key(request), str(request.META.get("REMOTE_ADDR", ""))
    tries = f"address:handover:{address}"
    if not lockout.may_try(tries):
        return _unkept(request, "console/handover_open.html", {"wait": True}, status=429)
    opened = handovers.open_link(key, address=address) if key else None
    if opened is None:
        return _unkept(request, "console/handover_open.html", {"nothing": True}, status=404)
    lockout.succeeded(tries)
    profile, credential, secret = opened.profile, opened.credential, opened.secret.reveal()
    end = credential.overlap_until or credential.expires_at
    context = {
        "profile": profile,
        "public": credential.public_id,
        "secret": secret,
        "sheet": sheet(profile, public=credential.public_id, secret=secret, ends=end),
        "code": key,
    }
    return _unkept(request, "console/handover_shown.html", context)


@csrf_exempt  # as above
@require_POST
@sensitive_post_parameters("code")
def document(request: HttpRequest) -> HttpResponse:
    """The OpenAPI document of a collection, for who opened a link of a profile that may call it."""
    key = _key(request)
    profile = handovers.opened_profile(key) if key else None
    collection_id = number_of(request.POST.get("collection")) or 0
    chosen = profile.collections.filter(pk=collection_id).first() if profile else None
    if profile is None or chosen is None:
        raise Http404
    content = collections.document(SYSTEM, chosen.pk, AuthMethod(profile.auth_type))
    text = json.dumps(content, indent=2, ensure_ascii=False)
    response = HttpResponse(text, content_type="application/json")
    response["Content-Disposition"] = f'attachment; filename="{chosen.handle}.json"'
    return _guarded(response)


def _key(request: HttpRequest) -> str:
    """The key that was sent: a whole link was pasted, or what stands after its `#`."""
    return request.POST.get("code", "").strip().rpartition("#")[2][:LONGEST_KEY]


def _unkept(
    request: HttpRequest, template: str, context: dict[str, object], *, status: int = 200
) -> HttpResponse:
    content = render_to_string(template, context, request)
    return _guarded(UnkeptPage(content, status=status))


def _guarded(response: HttpResponse) -> HttpResponse:
    """No cache, no search engine and no other page learns of it."""
    add_never_cache_headers(response)
    response["Cache-Control"] = "no-store"
    response["X-Robots-Tag"] = "noindex, nofollow, noarchive"
    response["Referrer-Policy"] = "no-referrer"
    response["Content-Security-Policy"] = POLICY
    return response
