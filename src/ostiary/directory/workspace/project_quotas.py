"""A project's quotas: objects that it may have, and load that it may cause. Set by admins alone.

Without a number there is no bound of its own: what the settings say holds for every project.
"""

from collections.abc import Callable, Mapping

from django.db import models, transaction

from ostiary.directory.actor import Actor
from ostiary.directory.changes import audit_log, etags, fields
from ostiary.directory.changes.errors import Invalid, NotFound
from ostiary.directory.changes.permission import require_admin, visible_projects
from ostiary.directory.models import (
    AccessProfile,
    AddressList,
    Client,
    Collection,
    Connection,
    Endpoint,
    Folder,
    Policy,
    Project,
    Webhook,
)

MOST = 1_000_000_000

#: Objects that a project holds, by the names of their quotas.
HELD: Mapping[str, Callable[[int], models.QuerySet[models.Model]]] = {
    "clients": lambda pk: Client.objects.filter(project_id=pk),
    "access_profiles": lambda pk: AccessProfile.objects.filter(client__project_id=pk),
    "api_collections": lambda pk: Collection.objects.filter(project_id=pk),
    "api_endpoints": lambda pk: Endpoint.objects.filter(collection__project_id=pk),
    "connections": lambda pk: Connection.objects.filter(project_id=pk),
    "address_lists": lambda pk: AddressList.objects.filter(project_id=pk),
    "policies": lambda pk: Policy.objects.filter(project_id=pk),
    "webhooks": lambda pk: Webhook.objects.filter(project_id=pk),
}
#: What the project's profiles may ask of the authority: first calls in a second, and leases in ten
#: minutes, above which they live for seconds (`authority.ceilings`).
UPCALLS, LEASES = "upcalls_per_second", "leases"
NAMES = (*HELD, UPCALLS, LEASES)


def of(by: Actor, project_id: int) -> Mapping[str, int]:
    """The quotas that are set, by name; raises NotFound."""
    project = visible_projects(by).filter(pk=project_id).first()
    if project is None:
        raise NotFound("project")
    return {name: project.quotas[name] for name in NAMES if name in project.quotas}


def used(project_id: int) -> Mapping[str, int]:
    """How many of each kind of object a project holds."""
    return {name: held(project_id).count() for name, held in HELD.items()}


def change(
    *, by: Actor, project_id: int, quotas: Mapping[str, object], if_match: str | None = None
) -> Project:
    """Set quotas: a number, or None for none; those that are not named stay.

    One below what is there takes nothing away: it refuses what is made from then on. The authority
    reads them with each first call. Raises Invalid, NotFound, Forbidden.
    """
    project = visible_projects(by).filter(pk=project_id).first()
    if project is None:
        raise NotFound("project")
    require_admin(by)
    problems = fields.Problems()
    with transaction.atomic():
        project = Project.objects.select_for_update().get(pk=project_id)
        etags.check(project, if_match)
        before = dict(project.quotas)
        for name, value in quotas.items():
            if name not in NAMES:
                problems.add(name, f"isn't a quota; the quotas are {', '.join(NAMES)}")
                continue
            number = fields.number(problems, name, value, least=0, most=MOST, default=None)
            # A project that may ask nothing at all would have its consumers refused as overloaded.
            if name in {UPCALLS, LEASES} and number == 0:
                problems.add(name, f"must be a whole number from 1 to {MOST}")
            project.quotas.pop(name, None)
            if number is not None:
                project.quotas[name] = number
        problems.raise_if_any()
        if project.quotas == before:
            return project
        project.save(update_fields=["quotas", "updated_at"])
        audit_log.record(
            by,
            "project.quotas",
            target_kind="project",
            target_id=project.pk,
            target_name=project.name,
            project_id=project.pk,
            before={"quotas": before},
            after={"quotas": dict(project.quotas)},
        )
    return project


def check(project_id: int, **more: int) -> None:
    """Check that a project's quotas leave room for more of each kind, in the caller's transaction.

    Raises Invalid with a sentence about the kind that does not fit.
    """
    stored = Folder.objects.filter(pk=project_id).values_list("quotas", flat=True).first() or {}
    _check(project_id, stored, more)


def check_in(project: Project, **more: int) -> None:
    """As `check`, for a project that was read within this use case."""
    _check(project.pk, project.quotas, more)


def _check(project_id: int, stored: Mapping[str, int], more: Mapping[str, int]) -> None:
    bounded = {kind: stored[kind] for kind in more if kind in stored}
    if not bounded:
        return
    # Two at once would each find room for the last one.
    Folder.objects.select_for_update().filter(pk=project_id).values_list("pk", flat=True).first()
    sentences = [
        _sentence(kind, limit)
        for kind, limit in bounded.items()
        if more[kind] and HELD[kind](project_id).order_by().count() + more[kind] > limit
    ]
    if sentences:
        raise Invalid({"project_id": sentences})


def _sentence(kind: str, limit: int) -> str:
    noun = kind.replace("_", " ").replace("api ", "API ")
    return (
        f"may have {limit:,} {noun}, and this would be more; a workspace admin can raise the quota"
    )
