"""Management tokens: listed, made and revoked. For admins."""

import secrets
from collections.abc import Mapping

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from ostiary.console.frame.listing import asked, number_of
from ostiary.console.frame.saving import first_time
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.changes.permission import require_admin
from ostiary.directory.people import management_tokens
from ostiary.directory.projects import projects

ORDERS = {
    "-created": ("Newest first", ("-pk",)),
    "name": ("Name, A to Z", ("name", "pk")),
}


@page
@require_http_methods(["GET", "POST"])
def token_list(request: HttpRequest, by: Actor) -> HttpResponse:
    """Management tokens; a new one is shown only once."""
    require_admin(by)
    errors: Mapping[str, list[str]] = {}
    if request.method == "POST" and first_time(request):
        admin = request.POST.get("role") == "admin"
        try:
            issued = management_tokens.create(
                by=by,
                name=request.POST.get("name", ""),
                admin=admin,
                role=None if admin else request.POST.get("role"),
                everywhere=not admin and request.POST.get("everywhere") == "1",
                project_ids=[] if admin else _ids(request, "projects"),
            )
        except Invalid as error:
            errors = error.errors
        else:
            shown = {
                "title": f"The management token {issued.token.name} was made",
                "label": "Management token",
                "value": issued.secret.reveal(),
                "text": "It is for the management API, with the role that you chose.",
                "back": "tokens",
            }
            return render(request, "console/shown_once.html", shown)
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
        "given": request.POST if errors else {},
        "once": secrets.token_urlsafe(16),
    }
    return render(request, "console/tokens.html", context, status=400 if errors else 200)


def _ids(request: HttpRequest, name: str) -> list[int]:
    """The ids of the ticked boxes; an invalid one becomes 0, which no object has."""
    return [number_of(text) or 0 for text in request.POST.getlist(name)]


@page
@require_POST
def revoke_token(request: HttpRequest, by: Actor, token_id: int) -> HttpResponse:
    made_with = len(management_tokens.revoke(by=by, token_id=token_id)) - 1
    also = f", and {made_with} that {'was' if made_with == 1 else 'were'} made with it"
    messages.success(request, f"The management token was revoked{also if made_with > 0 else ''}.")
    return redirect("tokens")
