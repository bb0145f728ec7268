"""Properties: named text values of a project or of the whole workspace."""

from collections.abc import Mapping

from django.db import transaction
from django.db.models import QuerySet

from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import audit_log, etags, fields
from ostiary.directory.changes.errors import NotFound
from ostiary.directory.changes.permission import project_of, require, require_admin
from ostiary.directory.models import Project, Property

MOST = 1000


def read(*, by: Actor, project_id: int | None, prefix: str) -> dict[str, str]:
    """Names and values that begin with `prefix`."""
    if project_id is None:
        require_admin(by)
    else:
        project_of(by, project_id)
    found = _of(project_id).filter(name__startswith=prefix)
    # SQLite's LIKE ignores case.
    return {p.name: p.value for p in found.order_by("name") if p.name.startswith(prefix)}


def version(project_id: int | None) -> str:
    """The ETag of all properties of a project, or of the workspace."""
    found = _of(project_id).order_by("pk").values_list("pk", "name", "value")
    return etags.of_value((project_id, list(found)))


def write(
    *,
    by: Actor,
    project_id: int | None,
    values: Mapping[str, object],
    if_match: str | None = None,
) -> str:
    """Set properties, or delete those whose value is None; all or none. Raises Invalid, Stale.

    Returns the ETag of what this made, whatever others change after it.
    """
    problems = fields.Problems()
    _require_editor(by, project_id)
    clean = {
        fields.text(problems, "properties", name, maximum=100): None
        if value is None
        else fields.text(problems, name[:100], value, maximum=1024, required=False, lines=True)
        for name, value in values.items()
    }
    twice = [name for name in values if name != name.strip() and name.strip() in values]
    for name in twice:
        problems.add("properties", f"names {name.strip()[:100]!r} twice", code="twice")
    if len(clean) > MOST:
        problems.add("properties", f"at most {MOST} fit into one call")
    problems.raise_if_any()
    with transaction.atomic():
        _check_version(project_id, if_match)
        for name, value in clean.items():
            if value is None:
                _of(project_id).filter(name=name).delete()
            elif not _of(project_id).filter(name=name).update(value=value):
                Property.objects.create(project_id=project_id, name=name, value=value)
        # Values are the owner's configuration, and may be secret: the log names them only.
        audit_log.record(
            by,
            "properties.change",
            target_kind="property",
            target_id=None,
            target_name=", ".join(clean)[:255],
            project_id=project_id,
            after={"deleted": sorted(name for name, value in clean.items() if value is None)},
        )
        return version(project_id)


def delete(*, by: Actor, project_id: int | None, name: str, if_match: str | None = None) -> None:
    """Delete one property; raises NotFound, Forbidden, Stale."""
    _require_editor(by, project_id)
    if not _of(project_id).filter(name=name).exists():
        raise NotFound("property")
    write(by=by, project_id=project_id, values={name: None}, if_match=if_match)


def _check_version(project_id: int | None, if_match: str | None) -> None:
    """Raise Stale unless it is as the caller read it; of two at once, the second one waits."""
    held = Project.objects.filter(pk=project_id) if project_id else _of(None)
    list(held.select_for_update(no_key=True).values_list("pk"))
    if if_match is not None:
        etags.check_tag(version(project_id), if_match)


def _require_editor(by: Actor, project_id: int | None) -> None:
    if project_id is None:
        require_admin(by)
    else:
        require(by, Role.EDITOR, project_of(by, project_id).pk)


def _of(project_id: int | None) -> QuerySet[Property]:
    if project_id is None:
        return Property.objects.filter(project=None)
    return Property.objects.filter(project_id=project_id)
