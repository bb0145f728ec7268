"""Projects: what lies in each, and who may see it."""

from collections.abc import Mapping

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from ostiary.console.frame.deleting import by_name
from ostiary.console.frame.forms import filled, initial, sent
from ostiary.console.frame.questions import ConsequenceQuestion, counted, unanswered
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import etags
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.models import Folder
from ostiary.directory.people import members
from ostiary.directory.projects import project_deletion, projects
from ostiary.directory.workspace import project_quotas


@page
@require_http_methods(["GET", "POST"])
def listing(request: HttpRequest, by: Actor) -> HttpResponse:
    """The projects that the viewer sees; admins make new ones here."""

    def save() -> HttpResponse:
        made = projects.create_folder(by=by, given=filled(projects.FolderInput, request.POST))
        messages.success(request, f"The project {made.name} was made.")
        return redirect("projects")

    answer, errors = sent(request, save)
    found = projects.projects(by).order_by("name")
    context = {
        "projects": projects.with_counts(found),
        "errors": errors,
        "given": request.POST,
        "may_make": by.admin,
        "changeable": {project.pk for project in found if by.may(Role.OWNER, project.pk)},
    }
    return answer or render(
        request, "console/projects.html", context, status=400 if errors else 200
    )


@page
@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, by: Actor, project_id: int) -> HttpResponse:
    def save() -> HttpResponse:
        projects.change_folder(
            by=by,
            folder_id=project_id,
            given=filled(projects.FolderInput, request.POST),
            if_match=request.POST.get("read"),
        )
        messages.success(request, "The project was changed.")
        return redirect("projects")

    projects.find(by, project_id)
    answer, errors = sent(request, save)
    project = projects.find(by, project_id)
    given = request.POST or initial(projects.FolderInput, project)
    context = {
        "project": project,
        "read": etags.etag(project),
        "given": given,
        "errors": errors,
        "may_delete": by.may(Role.OWNER, project_id),
        "roles": [role.value for role in Role],
        "held": members.of_project(by, project_id) if by.may(Role.OWNER, project_id) else (),
    }
    return answer or render(
        request, "console/project_form.html", context, status=400 if errors else 200
    )


#: Quotas as the form names them.
_QUOTAS = {
    "clients": "Clients",
    "access_profiles": "Access profiles",
    "api_collections": "API collections",
    "api_endpoints": "Endpoints",
    "connections": "Connections",
    "address_lists": "Address lists",
    "policies": "Policies",
    "webhooks": "Webhooks",
    project_quotas.UPCALLS: "First calls per second",
    project_quotas.LEASES: "Leases in ten minutes",
}


def _quotas(
    request: HttpRequest, by: Actor, project_id: int, errors: Mapping[str, list[str]]
) -> list[dict[str, object]]:
    stored, used = project_quotas.of(by, project_id), project_quotas.used(project_id)
    return [
        {
            "name": name,
            "label": label,
            "given": request.POST.get(f"quota_{name}", str(stored.get(name, ""))),
            "most": stored.get(name),
            "used": used.get(name),
            "errors": errors.get(name, []),
        }
        for name, label in _QUOTAS.items()
    ]


@page
@require_http_methods(["GET", "POST"])
def quotas(request: HttpRequest, by: Actor, project_id: int) -> HttpResponse:
    """What the project may hold and ask, for admins to set and for its members to see."""
    project = projects.find(by, project_id)
    errors: Mapping[str, list[str]] = {}
    if request.method == "POST":
        texts = {name: request.POST.get(f"quota_{name}", "").strip() for name in _QUOTAS}
        typed = {
            name: int(text) if text.isascii() and text.isdigit() and len(text) < 16 else text
            for name, text in texts.items()
        }
        try:
            project_quotas.change(
                by=by, project_id=project_id,
                quotas={name: None if value == "" else value for name, value in typed.items()},
            )  # fmt: skip
        except Invalid as error:
            errors = error.errors
        else:
            messages.success(request, f"The quotas of {project.name} were changed.")
            return redirect("edit-project", project_id)
    context = {
        "project": project,
        "quotas": _quotas(request, by, project_id, errors),
        "may_set_quotas": by.admin,
    }
    return render(request, "console/project_quotas.html", context, status=400 if errors else 200)


@page
@require_POST
def member(request: HttpRequest, by: Actor, project_id: int) -> HttpResponse:
    """A role of a member in the project: given, changed, or taken away."""
    project = projects.find(by, project_id)
    email, role = request.POST.get("email", ""), request.POST.get("role") or None
    if role is None:
        back = reverse("edit-project", args=[project_id])
        if answer := unanswered(request, lambda: _without(by, project, email), back=back):
            return answer
    try:
        members.invite(by=by, project_id=project_id, email=email, role=role)
    except Invalid as error:
        said = error.sentences
        messages.error(request, f"{email[:254] or 'Nobody'} {said}.")
    else:
        has = f"is {role} of" if role else "has no role any more in"
        messages.success(request, f"{email.strip()} {has} {project.name}.")
    if by.may(Role.VIEWER, project_id):
        return redirect("edit-project", project_id)
    return redirect("projects")


def _without(by: Actor, project: Folder, email: str) -> ConsequenceQuestion:
    others = max(0, members.of_project(by, project.pk).count() - 1)
    return ConsequenceQuestion(
        title=f"Remove {email[:254]} from {project.name}?",
        sentences=(
            (
                "They no longer see anything in this project."
                f" {counted(others, 'other member')} keep{'s' if others == 1 else ''} access."
            ),
        ),
        verb="Remove",
    )


@page
@require_http_methods(["GET", "POST"])
def delete(request: HttpRequest, by: Actor, project_id: int) -> HttpResponse:
    project = projects.find(by, project_id)
    return by_name(
        request,
        lambda: projects.delete_folder(by=by, folder_id=project_id, force=True),
        what="project",
        name=project.name,
        consequence=_consequence(project_deletion.contents(by, project.pk)),
        back=reverse("projects"),
        after=reverse("projects"),
    )


def _consequence(held: Mapping[str, int]) -> str:
    """What goes with a project."""
    tokens = "Management tokens that have no other project are revoked."
    if not held:
        return f"Nothing is in it. {tokens}"
    return (
        f"With it goes all that it holds: {project_deletion.described(held)}. Consumers' credentials, the "
        f"upstreams' secrets and the properties' values cannot be brought back. {tokens}"
    )
