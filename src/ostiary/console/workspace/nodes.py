"""Nodes as a page: what each machine runs, and whether it is heard of."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor
from ostiary.directory.changes.errors import InUse
from ostiary.directory.changes.permission import require_admin
from ostiary.directory.workspace import nodes


@page
@require_safe
def listing(request: HttpRequest, by: Actor) -> HttpResponse:
    """All nodes; those whose release or recipes differ from the others' are marked."""
    require_admin(by)
    found = nodes.listed()
    live = [each for each in found if each.state in {nodes.RUNNING, nodes.DRAINING}]
    context = {
        "nodes": found,
        "releases_differ": len({each.release for each in live}) > 1,
        "recipes_differ": len({each.recipes for each in live if each.role == nodes.GATEWAY}) > 1,
    }
    return render(request, "console/nodes.html", context)


@page
@require_POST
def forget(request: HttpRequest, by: Actor, node_id: int) -> HttpResponse:
    """Remove a node that does not run any more."""
    try:
        nodes.forget(by, node_id)
    except InUse as error:
        messages.error(request, f"{error}.")
    else:
        messages.success(request, "The node was removed.")
    return redirect("nodes")
