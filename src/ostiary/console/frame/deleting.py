"""Deletion: a page that explains the effect and asks for the object's name."""

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from ostiary.console.frame.saving import in_force
from ostiary.directory.changes import deletions
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import CannotDestroy, InUse


def by_name(
    request: HttpRequest,
    delete: Callable[[], Saved[Any] | None],
    *,
    what: str,
    name: str,
    consequence: str,
    back: str,
    after: str,
    takes: Sequence[str] = (),
    instead: str = "",
    instead_label: str = "deactivate it instead",
    restorable: bool = False,
    used_by: Sequence[tuple[str, str]] = (),
) -> HttpResponse:
    """Ask for the name, and call `delete` when it matches; `back` and `after` are addresses.

    `takes`: what goes with it; `instead`: where it can be deactivated; `restorable`: it can be put
    back for some days; `used_by`: who uses it, with their addresses. An object in use is not deleted,
    and the page says where it is used.
    """
    problem = ""
    if request.method == "POST":
        if request.POST.get("name", "").strip() != name:
            problem = "The name does not match."
        else:
            try:
                saved = delete()
            except CannotDestroy as error:
                problem = f"It {error.why}."
            except InUse as error:
                problem = f"{error}."
            else:
                if saved is None or in_force(request, saved):
                    messages.success(request, f"The {what} {name} was deleted.")
                return redirect(after)
    context = {
        "what": what,
        "name": name,
        "back": back,
        "consequence": consequence,
        "problem": problem,
        "takes": takes,
        "instead": instead,
        "instead_label": instead_label,
        "used_by": used_by,
        "days": deletions.KEPT.days if restorable else 0,
    }
    return render(request, "console/delete.html", context, status=400 if problem else 200)
