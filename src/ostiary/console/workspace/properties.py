"""Properties of a project, or of the workspace: named values, set and deleted."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from ostiary.console.frame.forms import sent
from ostiary.console.frame.questions import ConsequenceQuestion, unanswered
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes.permission import require_admin
from ostiary.directory.models import Folder
from ostiary.directory.projects import projects
from ostiary.directory.workspace import properties


@page
@require_http_methods(["GET", "POST"])
def of_workspace(request: HttpRequest, by: Actor) -> HttpResponse:
    """For admins."""
    require_admin(by)
    return _shown(request, by, None)


@page
@require_http_methods(["GET", "POST"])
def of_project(request: HttpRequest, by: Actor, project_id: int) -> HttpResponse:
    """Whoever sees the project reads them, and its editors change them."""
    return _shown(request, by, projects.find(by, project_id))


def _shown(request: HttpRequest, by: Actor, project: Folder | None) -> HttpResponse:
    project_id = project.pk if project else None

    def save() -> HttpResponse:
        name = request.POST.get("name", "")
        gone = "delete" in request.POST
        value = None if gone else request.POST.get("value", "")
        properties.write(by=by, project_id=project_id, values={name: value})
        messages.success(request, f"The property {name} was {'deleted' if gone else 'set'}.")
        return redirect(request.path)

    if request.method == "POST" and "delete" in request.POST:
        question = unanswered(request, lambda: _deleted(request), back=request.path)
        if question:
            return question
    answer, errors = sent(request, save)
    name = request.POST.get("name", "")
    context = {
        "project": project,
        "properties": properties.read(by=by, project_id=project_id, prefix=""),
        "may_change": project is None or by.may(Role.EDITOR, project.pk),
        "given": request.POST if errors else {},
        # A value's sentences are under its name, and a name's under the field of all.
        "of_name": errors.get("properties", []),
        "of_value": errors.get(name[:100], []) if name != "properties" else [],
    }
    return answer or render(
        request, "console/properties.html", context, status=400 if errors else 200
    )


def _deleted(request: HttpRequest) -> ConsequenceQuestion:
    return ConsequenceQuestion(
        title=f"Delete the property {request.POST.get('name', '')[:100]}?",
        sentences=("Scripts that read it find nothing then. Its value cannot be brought back.",),
        verb="Delete",
    )
