"""Access profiles of a client, switched or moved together."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from ostiary.console.frame.listing import number_of
from ostiary.console.frame.saving import in_force
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.clients import clients, profile_bulk
from ostiary.directory.models import Client


@page
@require_POST
def change(request: HttpRequest, by: Actor, client_id: int) -> HttpResponse:
    """Switch or move the chosen profiles of a client, all or none."""
    client = clients.find(by, client_id)
    what = request.POST.get("what", "")
    ids = [number_of(text) or 0 for text in request.POST.getlist("profiles")]
    if not ids:
        messages.error(request, "Nothing was changed: choose at least one access profile.")
        return redirect("client", client_id)
    try:
        saved = profile_bulk.change(
            by=by,
            given=profile_bulk.BulkInput.of(
                profile_ids=ids,
                active={"on": True, "off": False}.get(what),
                client_id=_other(by, client, request.POST.get("to", ""))
                if what == "move"
                else None,
            ),
        )
    except Invalid as error:
        messages.error(request, f"Nothing was changed: {error.sentences}.")
        return redirect("client", client_id)
    if in_force(request, saved):
        number = len(saved.value)
        many = "1 access profile was" if number == 1 else f"{number} access profiles were"
        done = {"on": "switched on", "off": "switched off"}.get(what, "moved")
        messages.success(request, f"{many} {done}.")
    return redirect("client", client_id)


def _other(by: Actor, client: Client, said: str) -> int:
    """The client of the project that a name or an id means; raises Invalid."""
    seen = clients.clients(by).filter(project_id=client.project_id)
    named = list(seen.filter(name=said.strip()).values_list("pk", flat=True)[:2])
    if not named:
        named = list(seen.filter(pk=number_of(said) or 0).values_list("pk", flat=True))
    if len(named) == 1:
        return int(named[0])
    which = "several clients are called so; give the id" if named else "there is no such client"
    raise Invalid({"to": [which]})
