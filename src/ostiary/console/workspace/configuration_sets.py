"""Sets of configuration files as a page: when they were applied, and what was changed beside them."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from ostiary.configuration import sets
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor


@page
@require_safe
def listing(request: HttpRequest, by: Actor) -> HttpResponse:
    """The sets of all projects that the viewer sees."""
    rows = list(sets.visible(by))
    for row in rows:
        row.named = sets.drift(by, row)  # type: ignore[attr-defined]  # for the template
    return render(request, "console/configuration_sets.html", {"sets": rows})
