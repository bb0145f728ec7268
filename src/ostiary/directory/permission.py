"""What an actor may do where: the questions that every use case asks first."""

from ostiary.directory.actor import Actor, Role
from ostiary.directory.errors import Forbidden, NotFound
from ostiary.directory.models import Project

#: The project that is made at the first start.
HOME = "Home"


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
    """The project, *Home* if none is named; raises NotFound where the actor sees none."""
    visible = Project.objects.all()
    if not by.sees_all:
        visible = visible.filter(pk__in=by.project_ids)
    chosen = visible.filter(pk=project_id) if project_id is not None else visible.filter(name=HOME)
    project = chosen.first()
    if project is None:
        raise NotFound("project")
    return project
