"""Projects and folders. A project is a top-level folder; both have one space of ids."""

from typing import ClassVar

from django.db import IntegrityError, transaction
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import audit_log, etags, keys
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import CannotDestroy, Forbidden, Invalid, NotFound, Problem
from ostiary.directory.changes.inputs import Description, IdOrNull, Name, Problems
from ostiary.directory.changes.permission import require, visible_projects
from ostiary.directory.changes.snapshots import snapshot
from ostiary.directory.models import Client, Folder, Membership, Project
from ostiary.directory.projects import project_deletion
from ostiary.directory.projects.project_deletion import Deleted


class FolderInput(keys.KeyedInput):
    """What an owner says of a folder; one without a parent is a project."""

    required: ClassVar[tuple[str, ...]] = ("name",)
    apart: ClassVar[tuple[str, ...]] = ("parent_id",)

    name: Name = ""
    description: Description = ""
    #: Null: none. A folder cannot become a project, nor the other way round.
    parent_id: IdOrNull = None


def projects(by: Actor) -> QuerySet[Project]:
    """The projects that `by` may see, by id."""
    return visible_projects(by)


def editable(by: Actor) -> QuerySet[Project]:
    """The projects that `by` may change, by id."""
    found = visible_projects(by)
    if by.sees_all:
        return found if by.may_somewhere(Role.EDITOR) else found.none()
    return found.filter(pk__in=[pk for pk in by.project_ids if by.may(Role.EDITOR, pk)])


def with_counts(found: QuerySet[Project]) -> QuerySet[Project]:
    """The same projects, each with `client_count` and `member_count`."""
    # Each counted by itself: joined, there would be a row for every pair of them.
    clients = Client.objects.filter(project=OuterRef("pk")).order_by().values("project")
    members = Membership.objects.filter(project=OuterRef("pk")).order_by().values("project")
    return found.annotate(
        client_count=Coalesce(Subquery(clients.annotate(n=Count("pk")).values("n")), 0),
        member_count=Coalesce(Subquery(members.annotate(n=Count("pk")).values("n")), 0),
    )


def folders(by: Actor, *, parent_id: int | None, nested: bool) -> QuerySet[Folder]:
    """Folders below one (or at the top); with `nested`, at every depth."""
    visible = Folder.objects.order_by("pk")
    if not by.sees_all:
        visible = visible.filter(Q(project_id__in=by.project_ids) | Q(pk__in=by.project_ids))
    if nested and parent_id is None:
        return visible
    if not nested:
        return visible.filter(parent_id=parent_id)
    return visible.filter(pk__in=_below(parent_id))


def _below(parent_id: int | None) -> set[int]:
    found: set[int] = set()
    level = {parent_id}
    while level:
        level = set(Folder.objects.filter(parent_id__in=level).values_list("pk", flat=True))
        found |= {pk for pk in level if pk is not None}
    return found


def find(by: Actor, folder_id: int) -> Folder:
    """A folder (or project) by id; raises NotFound."""
    folder = Folder.objects.filter(pk=folder_id).first()
    if folder is None or not by.sees(folder.root_id):
        raise NotFound("folder")
    return folder


def find_project(by: Actor, project_id: int) -> Project:
    """A project by id; raises NotFound, also for a folder in one."""
    project = visible_projects(by).filter(pk=project_id).first()
    if project is None:
        raise NotFound("project")
    return project


def create_folder(*, by: Actor, given: FolderInput) -> Folder:
    """Make a folder, or without a parent a project; raises Invalid, NotFound, Forbidden."""
    given.check_complete()
    folder = Folder()
    if given.parent_id is not None:
        folder.parent = _parent(by, given.parent_id)
        folder.project_id = folder.parent.root_id
        require(by, Role.EDITOR, folder.parent.root_id)
    elif not by.admin:
        raise Forbidden("Only a workspace admin may create projects")
    given.assign(folder)
    with transaction.atomic():
        _save(folder)
        _record(by, "create", folder)
    return folder


def change_folder(
    *, by: Actor, folder_id: int, given: FolderInput, if_match: str | None = None
) -> Folder:
    """Rename, describe or move a folder; a project cannot be moved."""
    problems = Problems(FolderInput)
    with transaction.atomic():
        folder = find(by, folder_id)
        require(by, Role.OWNER if folder.parent_id is None else Role.EDITOR, folder.root_id)
        etags.check(folder, if_match)
        given.check_fixed(folder)
        before, stored = _shown(folder), snapshot(folder)
        given.assign(folder)
        if given.has("parent_id") and given.parent_id != folder.parent_id:
            _move(by, folder, given.parent_id, problems)
        problems.raise_if_any()
        if snapshot(folder) == stored:
            return folder
        _save(folder)
        _record(by, "change", folder, before=before)
    return folder


def _save(folder: Folder) -> None:
    problems = Problems(FolderInput)
    keys.check(problems, folder)
    problems.raise_if_any()
    try:
        with transaction.atomic():
            folder.save()
    except IntegrityError:
        raise Invalid({"name": ["has already been taken"]}) from None


def _move(by: Actor, folder: Folder, parent_id: int | None, problems: Problems) -> None:
    if folder.parent_id is None:
        problems.add("parent_id", "a project cannot be moved")
        return
    if parent_id is None:
        problems.add("parent_id", "can't be null: a folder cannot become a project", code="null")
        return
    parent = _parent(by, parent_id)
    if parent.root_id != folder.root_id:
        problems.add("parent_id", "must be in the same project")
    elif parent.pk == folder.pk or parent.pk in _below(folder.pk):
        problems.add("parent_id", "must not be inside the folder itself")
    else:
        folder.parent = parent


def _parent(by: Actor, parent_id: int) -> Folder:
    try:
        return find(by, parent_id)
    except NotFound:
        sentence = f"there is no folder {parent_id}"
        problem = Problem(field="parent_id", code="unknown", sentence=sentence)
        raise Invalid([problem], noun=FolderInput) from None


def delete_folder(
    *, by: Actor, folder_id: int, force: bool, if_match: str | None = None
) -> Saved[Deleted]:
    """Delete a folder, or a project with all that it holds. Raises CannotDestroy without `force`."""
    with transaction.atomic():
        folder = find(by, folder_id)
        if folder.parent_id is None:
            return project_deletion.delete(
                by=by, project_id=folder.pk, force=force, if_match=if_match
            )
        require(by, Role.EDITOR, folder.root_id)
        etags.check(folder, if_match)
        below = len(_below(folder.pk))
        if below and not force:
            holds = project_deletion.described({"folders": below})
            raise CannotDestroy(f"holds {holds}; force=true deletes them with it")
        _record(by, "delete", folder)
        folder.delete()
    return Saved(value=Deleted(counts={"folders": below} if below else {}), sequence=0)


def _shown(folder: Folder) -> dict[str, object]:
    return {**FolderInput.stored(folder), "parent_id": folder.parent_id}


def _record(by: Actor, verb: str, folder: Folder, before: dict[str, object] | None = None) -> None:
    kind = "project" if folder.parent_id is None else "folder"
    audit_log.record(
        by,
        f"{kind}.{verb}",
        target_kind=kind,
        target_id=folder.pk,
        target_name=folder.name,
        project_id=folder.root_id,
        before=before,
        after=_shown(folder),
    )
