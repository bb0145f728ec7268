"""**Workspace > Recently deleted**: what can be put back."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from ostiary.console.frame.listing import PER_PAGE, asked
from ostiary.console.frame.saving import in_force
from ostiary.console.sign_in.viewer import page
from ostiary.directory import restoring
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import deletions
from ostiary.directory.changes.errors import InUse, Invalid, NotFound
from ostiary.directory.models import DeletedObject

#: Where the page of an object is, by its kind.
_PAGES = {
    "client": "client", "access_profile": "profile", "collection": "collection",
    "endpoint": "edit-endpoint", "connection": "edit-connection", "policy": "edit-policy",
    "address_list": "edit-address-list", "webhook": "webhook",
}  # fmt: skip


@page
@require_safe
def listing(request: HttpRequest, by: Actor) -> HttpResponse:
    found = restoring.deleted_objects(by)
    paging = asked(request).paging(found.count())
    start = (paging.number - 1) * PER_PAGE
    rows = [
        {
            "row": each,
            "label": restoring.KINDS[each.kind].label,
            "takes": restoring.takes(each),
            "until": each.deleted_at + deletions.KEPT,
            "may_restore": _may(by, each),
        }
        for each in found[start : start + PER_PAGE]
    ]
    context = {"rows": rows, "paging": paging, "days": deletions.KEPT.days}
    return render(request, "console/deleted_objects.html", context)


def _may(by: Actor, found: DeletedObject) -> bool:
    return by.admin if found.project_id is None else by.may(Role.EDITOR, found.project_id)


@page
@require_POST
def restore(request: HttpRequest, by: Actor, deleted_id: int) -> HttpResponse:
    try:
        saved = restoring.restore(by=by, deleted_id=deleted_id)
    except (InUse, Invalid) as error:
        text = error.sentences if isinstance(error, Invalid) else str(error)
        messages.error(request, f"Not put back: {text}.")
        return redirect("deleted-objects")
    except NotFound:
        messages.info(request, "That object was put back already, or can't be any more.")
        return redirect("deleted-objects")
    restored = saved.value
    if in_force(request, saved):
        label = restoring.KINDS[restored.kind].label
        messages.success(request, f"{label} {restored.name} was put back.")
    for warning in saved.warnings:
        messages.warning(request, f"{warning}.")
    return redirect(reverse(_PAGES[restored.kind], args=[restored.object_id]))
