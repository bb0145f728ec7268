"""The tab **Credentials** of an access profile: all that it has or had, their rotation, and hand-over links."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from ostiary.access.methods import AuthMethod
from ostiary.console.clients import credential_table
from ostiary.console.frame import live, tables
from ostiary.console.sign_in.viewer import page
from ostiary.directory import states
from ostiary.directory.actor import Actor, Role
from ostiary.directory.clients import access_profiles, handovers
from ostiary.review import rotations

#: Hand-over links that the page of a profile shows, the newest.
MOST_HANDOVERS = 10


@page
@require_safe
def show(request: HttpRequest, by: Actor, profile_id: int) -> HttpResponse:
    profile = access_profiles.find(by, profile_id)
    context: dict[str, object] = {
        **tables.part(request, by, credential_table.OF_PROFILE, {"profile": str(profile_id)}),
        "profile": profile,
        "may_change": by.may(Role.EDITOR, profile.client.project_id),
        "is_issued": profile.auth_type in {AuthMethod.TOKEN, AuthMethod.OAUTH2},
        "handovers": handovers.handovers(by, profile_id)[:MOST_HANDOVERS],
        "can_hand_over": handovers.has_secret(profile),
        "rotation": rotations.of_profile(profile, timezone.now()),
    }
    also = [states.of(profile).text, live.minute()]
    return live.render(request, "console/profile_credentials.html", context, *also)
