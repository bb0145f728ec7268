"""Off until a moment: a client or a profile that comes back by itself."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from ostiary.console.frame.saving import in_force
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.changes.permission import require
from ostiary.directory.clients import access_profiles, clients

#: Seconds and label.
SPANS = {
    3600: "One hour",
    4 * 3600: "Four hours",
    86_400: "One day",
    7 * 86_400: "One week",
    30 * 86_400: "30 days",
}
#: The choice of a moment that is typed.
TYPED = "typed"


@page
@require_http_methods(["GET", "POST"])
def of_profile(request: HttpRequest, by: Actor, profile_id: int) -> HttpResponse:
    profile = access_profiles.find(by, profile_id)
    require(by, Role.EDITOR, profile.client.project_id)

    def switch(until: datetime) -> Saved[Any]:
        return access_profiles.switch(by=by, profile_id=profile_id, active=False, until=until)

    effect = "Its requests are refused immediately."
    return _asked(request, switch, name=profile.name, effect=effect, back=("profile", profile_id))


@page
@require_http_methods(["GET", "POST"])
def of_client(request: HttpRequest, by: Actor, client_id: int) -> HttpResponse:
    client = clients.find(by, client_id)
    require(by, Role.EDITOR, client.project_id)

    def switch(until: datetime) -> Saved[Any]:
        return clients.switch(by=by, client_id=client_id, active=False, until=until)

    many = client.profiles.filter(active=True).count()
    profiles = "1 active access profile" if many == 1 else f"{many:,} active access profiles"
    effect = f"Requests of its {profiles} are refused immediately."
    return _asked(request, switch, name=client.name, effect=effect, back=("client", client_id))


def _asked(
    request: HttpRequest,
    switch: Callable[[datetime], Saved[Any]],
    *,
    name: str,
    effect: str,
    back: tuple[str, int],
) -> HttpResponse:
    problems: list[str] = []
    if request.method == "POST":
        try:
            saved = switch(_until(request))
        except Invalid as error:
            problems = [problem.sentence for problem in error.problems]
        else:
            if in_force(request, saved):
                until = saved.value.inactive_until.astimezone(UTC)
                text = f"{name} deactivated until {until:%-d %B %Y, %H:%M} UTC. It comes back by itself."
                messages.success(request, text)
            return redirect(*back)
    context = {
        "name": name, "effect": effect, "spans": SPANS, "back": back, "problems": problems,
        "given": request.POST, "typed": TYPED,
    }  # fmt: skip
    return render(request, "console/pause.html", context, status=400 if problems else 200)


def _until(request: HttpRequest) -> datetime:
    """The moment that was chosen; raises Invalid."""
    chosen = request.POST.get("span", "")
    if chosen == TYPED:
        try:
            return datetime.fromisoformat(request.POST.get("until", "")).replace(tzinfo=UTC)
        except ValueError:
            raise Invalid({"until": ["must be a date and a time, in UTC"]}) from None
    spans = {str(seconds): seconds for seconds in SPANS}
    if chosen not in spans:
        raise Invalid({"until": ["choose for how long"]})
    return timezone.now() + timedelta(seconds=spans[chosen])
