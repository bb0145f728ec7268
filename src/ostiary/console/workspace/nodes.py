"""Nodes as a page: what each machine runs, and whether it is heard of."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from ostiary.console.frame import moments
from ostiary.console.frame.questions import ConsequenceQuestion, counted, unanswered
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor
from ostiary.directory.changes.errors import InUse, NotFound
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
    require_admin(by)
    if answer := unanswered(request, lambda: _forgotten(node_id), back=reverse("nodes")):
        return answer
    try:
        nodes.forget(by, node_id)
    except InUse as error:
        messages.error(request, f"{error}.")
    else:
        messages.success(request, "The node was removed.")
    return redirect("nodes")


def _forgotten(node_id: int) -> ConsequenceQuestion:
    every = nodes.listed()
    node = next((each for each in every if each.id == node_id), None)
    if node is None:
        raise NotFound("node")
    gateways = sum(each.role == nodes.GATEWAY and each.id != node_id for each in every)
    return ConsequenceQuestion(
        title=f"Remove the node {node.name} from the list?",
        sentences=(
            (
                f"Its last report came {moments.relative(node.seen_at, timezone.now())}. Revocations no longer"
                f" wait for it; {counted(gateways, 'gateway')} remain{'s' if gateways == 1 else ''}."
            ),
            "If it starts again, it enters itself again.",
        ),
        verb="Remove",
    )
