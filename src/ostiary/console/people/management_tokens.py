"""Management tokens: listed, made, changed, rotated and revoked. For admins."""

import secrets
from collections.abc import Mapping
from datetime import UTC, date, timedelta

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from ostiary.console.frame.form_pages import once_page
from ostiary.console.frame.forms import day_of, end_of_day, sent
from ostiary.console.frame.listing import asked, number_of
from ostiary.console.frame.questions import ConsequenceQuestion, made_at, unanswered
from ostiary.console.frame.saving import first_time
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import etags
from ostiary.directory.changes.errors import Invalid, Refused
from ostiary.directory.changes.permission import require_admin
from ostiary.directory.models import ManagementToken
from ostiary.directory.people import management_tokens
from ostiary.directory.people.management_tokens import TokenInput
from ostiary.directory.projects import projects
from ostiary.directory.workspace import workspace_settings
from ostiary.identity.tokens import masked

ORDERS = {
    "-created": ("Newest first", ("-pk",)),
    "name": ("Name, A to Z", ("name", "pk")),
}
#: How long a rotated secret may go on working, in the words of the form.
OVERLAPS = {0: "None: the old secret stops now", 3600: "1 hour", 86_400: "1 day", 604_800: "7 days"}


@page
@require_http_methods(["GET", "POST"])
def token_list(request: HttpRequest, by: Actor) -> HttpResponse:
    """Management tokens; a new one is shown only once."""
    require_admin(by)
    errors: Mapping[str, list[str]] = {}
    if request.method == "POST" and first_time(request):
        admin = request.POST.get("role") == "admin"
        try:
            ends = end_of_day(request.POST.get("expires_on", ""))
            issued = management_tokens.create(
                by=by,
                expires_at=ends,
                everlasting=ends is None,
                name=request.POST.get("name", ""),
                admin=admin,
                role=None if admin else request.POST.get("role"),
                everywhere=not admin and request.POST.get("everywhere") == "1",
                project_ids=[] if admin else _ids(request, "projects"),
            )
        except Invalid as error:
            errors = error.errors
        else:
            return _shown_once(request, issued, "made")
    wanted = asked(request, ORDERS)
    found = management_tokens.management_tokens(by, search=wanted.search)
    paging = wanted.paging(found.count())
    context = {
        "tokens": wanted.sliced(found, paging),
        "asked": wanted,
        "paging": paging,
        "nouns": "token,tokens",
        "chosen": request.POST.getlist("projects") if errors else [],
        "projects": projects.projects(by).order_by("name"),
        "roles": [role.value for role in Role],
        "errors": errors,
        "given": request.POST if errors else {"expires_on": _default_day().isoformat()},
        "latest": _latest_day(),
        "now": timezone.now(),
        "once": secrets.token_urlsafe(16),
    }
    return render(request, "console/tokens.html", context, status=400 if errors else 200)


def _shown_once(
    request: HttpRequest, issued: management_tokens.IssuedManagementToken, verb: str
) -> HttpResponse:
    shown = {
        "title": f"The management token {issued.token.name} was {verb}",
        "label": "Management token",
        "value": issued.secret.reveal(),
        "text": "It is for the management API, with the role that was chosen.",
        "back": "tokens",
    }
    replace = f"{reverse('edit-token', args=[issued.token.pk])}#rotate"
    return once_page(request, "console/shown_once.html", shown, replace=replace)


def _default_day() -> date:
    return _today() + timedelta(days=workspace_settings.read().token_default_days - 1)


def _latest_day() -> str:
    """The last day that a token may expire on, if there is one."""
    longest = workspace_settings.read().token_longest_days
    return (_today() + timedelta(days=longest - 1)).isoformat() if longest else ""


def _today() -> date:
    return timezone.now().astimezone(UTC).date()


@page
@require_http_methods(["GET", "POST"])
def edit_token(request: HttpRequest, by: Actor, token_id: int) -> HttpResponse:
    """Name and expiry, and the way to a new secret."""
    require_admin(by)
    token = management_tokens.find(by, token_id)

    def save() -> HttpResponse:
        changed = management_tokens.change(
            by=by, token_id=token_id, given=_change(request, token), if_match=request.POST["read"]
        )
        messages.success(request, f"The management token {changed.name} was changed.")
        return redirect("tokens")

    if token.revoked_at is not None:
        messages.error(request, f"The management token {token.name} was revoked.")
        return redirect("tokens")
    answer, errors = sent(request, save)
    context = {
        "token": token,
        "read": etags.etag(token),
        "given": request.POST or {"name": token.name, "expires_on": day_of(token.expires_at)},
        "latest": _latest_day(),
        "errors": errors,
        "overlaps": OVERLAPS,
        "may_rotate": by.id == token.created_by_id,
        "once": secrets.token_urlsafe(16),
    }
    return answer or render(
        request, "console/token_form.html", context, status=400 if errors else 200
    )


def _change(request: HttpRequest, token: ManagementToken) -> TokenInput:
    """What the form changes. The day that it came with is no change of the time within it."""
    day = request.POST.get("expires_on", "").strip()
    expiry = {} if day == day_of(token.expires_at) else {"expires_at": end_of_day(day)}
    return TokenInput.of(name=request.POST.get("name", ""), **expiry)


@page
@require_POST
def rotate_token(request: HttpRequest, by: Actor, token_id: int) -> HttpResponse:
    """A new secret, shown only once."""
    require_admin(by)
    if not first_time(request):
        return redirect("tokens")
    overlap = number_of(request.POST.get("overlap")) or 0
    try:
        issued = management_tokens.rotate(by=by, token_id=token_id, overlap_seconds=overlap)
    except Invalid as error:
        messages.error(request, error.sentences)
    except Refused as error:
        messages.error(request, f"{error}.")
    else:
        return _shown_once(request, issued, "rotated")
    return redirect("edit-token", token_id)


def _ids(request: HttpRequest, name: str) -> list[int]:
    """The ids of the ticked boxes; an invalid one becomes 0, which no object has."""
    return [number_of(text) or 0 for text in request.POST.getlist(name)]


@page
@require_POST
def revoke_token(request: HttpRequest, by: Actor, token_id: int) -> HttpResponse:
    require_admin(by)
    back = reverse("tokens")
    if answer := unanswered(request, lambda: _revoked(by, token_id), back=back):
        return answer
    made_with = len(management_tokens.revoke(by=by, token_id=token_id)) - 1
    also = f", and {made_with} that {'was' if made_with == 1 else 'were'} made with it"
    messages.success(request, f"The management token was revoked{also if made_with > 0 else ''}.")
    return redirect(made_at(request, back))


def _revoked(by: Actor, token_id: int) -> ConsequenceQuestion:
    token = management_tokens.find(by, token_id)
    last = (
        f"It was last used {token.last_used_at:%-d %B %Y, %H:%M} UTC."
        if token.last_used_at
        else "It was never used."
    )
    return ConsequenceQuestion(
        title=f"Revoke the token {token.name} ({masked(token.prefix, token.last_four)})?",
        sentences=(
            (
                f"{last} Whatever uses it stops working at once, and so do tokens that were made with"
                " it. This cannot be undone."
            ),
        ),
        verb="Revoke",
    )
