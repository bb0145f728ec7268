"""Permission checks that every use case makes first."""

from django.db.models import QuerySet

from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes.errors import Forbidden, Invalid, NotFound, Problem
from ostiary.directory.models import Project


def require(by: Actor, role: Role, project_id: int) -> None:
    """Raise Forbidden unless `by` has at least `role`; NotFound if it sees nothing there."""
    if not by.sees(project_id):
        raise NotFound("project")
    if not by.may(role, project_id):
        raise Forbidden(f"This needs the role {role.value} in the project")


def require_admin(by: Actor) -> None:
    if not by.admin:
        raise Forbidden("Only a workspace admin may do this")


def project_of(by: Actor, project_id: int | None) -> Project:
    """The project that input names, else the one that is meant; raises Invalid."""
    if project_id is None:
        return _unnamed(by)
    project = visible_projects(by).filter(pk=project_id).first()
    if project is None:
        sentence = f"there is no project {project_id}"
        raise Invalid([Problem(field="project_id", code="unknown", sentence=sentence)])
    return project


def visible_projects(by: Actor) -> QuerySet[Project]:
    """The projects that `by` may see, by id."""
    found = Project.objects.order_by("pk")
    return found if by.sees_all else found.filter(pk__in=by.project_ids)


def root_of(by: Actor) -> Project | None:
    """The project that is meant where none is named: *Home*, else the only one that `by` sees."""
    seen = list(visible_projects(by).order_by("-home", "pk")[:2])
    return seen[0] if seen and (seen[0].home or len(seen) == 1) else None


def _unnamed(by: Actor) -> Project:
    project = root_of(by)
    if project is None:
        raise Invalid({"project_id": ["can't be blank: name one of the projects that you may see"]})
    return project
