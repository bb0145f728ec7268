"""Deleting a project: what is in it, and taking all of that along, credentials with a receipt."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from django.db import models, transaction

from ostiary.directory.actor import Actor, Role
from ostiary.directory.catalog import collections, connections
from ostiary.directory.changes import audit_log, etags
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import CannotDestroy, NotFound
from ostiary.directory.changes.permission import require, visible_projects
from ostiary.directory.clients import address_lists, clients, policies
from ostiary.directory.models import (
    AccessProfile,
    AddressList,
    Client,
    ClientDefaults,
    Collection,
    Connection,
    Credential,
    Folder,
    ManagementToken,
    Policy,
    Project,
    Property,
    Recipe,
    Webhook,
)
from ostiary.directory.people import management_tokens
from ostiary.directory.webhooks import webhooks

#: Kinds of what a project holds, as answers name them.
KINDS: Mapping[str, Callable[[int], models.QuerySet[models.Model]]] = {
    "clients": lambda pk: Client.objects.filter(project_id=pk),
    "access_profiles": lambda pk: AccessProfile.objects.filter(client__project_id=pk),
    "credentials": lambda pk: Credential.objects.filter(
        profile__client__project_id=pk, trial=False, revoked_at=None
    ),
    "api_collections": lambda pk: Collection.objects.filter(project_id=pk),
    "address_lists": lambda pk: AddressList.objects.filter(project_id=pk),
    "connections": lambda pk: Connection.objects.filter(project_id=pk),
    "policies": lambda pk: Policy.objects.filter(project_id=pk),
    "webhooks": lambda pk: Webhook.objects.filter(project_id=pk),
    "properties": lambda pk: Property.objects.filter(project_id=pk),
    "folders": lambda pk: Folder.objects.filter(project_id=pk),
}
#: What belongs to a project and stays without it: recipes are files, and for admins alone then.
RELEASED: Mapping[str, Callable[[int], models.QuerySet[models.Model]]] = {
    "recipes": lambda pk: Recipe.objects.filter(project_id=pk),
}

#: Deletes one thing by its id.
Deletion = Callable[[int], Saved[None] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    """What went with a project: how many of each kind, and the tokens that had no other project."""

    counts: Mapping[str, int]
    revoked_tokens: tuple[ManagementToken, ...] = ()


def contents(by: Actor, project_id: int) -> Mapping[str, int]:
    """How many of each kind a project holds; kinds of which there are none are left out."""
    if not visible_projects(by).filter(pk=project_id).exists():
        raise NotFound("project")
    return _counted(KINDS, project_id)


def _counted(
    kinds: Mapping[str, Callable[[int], models.QuerySet[models.Model]]], project_id: int
) -> Mapping[str, int]:
    counted = {kind: held(project_id).count() for kind, held in kinds.items()}
    return {kind: count for kind, count in counted.items() if count}


def delete(
    *, by: Actor, project_id: int, force: bool, if_match: str | None = None
) -> Saved[Deleted]:
    """Delete a project; with `force` also one that holds something. Raises CannotDestroy.

    What consumers of other projects use stays, and with it the project.
    """
    with transaction.atomic():
        project = visible_projects(by).select_for_update().filter(pk=project_id).first()
        if project is None:
            raise NotFound("project")
        require(by, Role.OWNER, project.pk)
        etags.check(project, if_match)
        counts = contents(by, project.pk)
        _check(project, counts, force=force)
        sequence = _empty(by, project)
        revoked = management_tokens.leave_project(project, by)
        deleted = Deleted(counts=counts, revoked_tokens=tuple(revoked))
        _record(by, project, deleted)
        project.delete()
    return Saved(value=deleted, sequence=sequence)


def described(counts: Mapping[str, int]) -> str:
    """The contents as people read them: "2 clients, 1 connection"."""
    return ", ".join(f"{count:,} {_noun(kind, count)}" for kind, count in counts.items())


def _noun(kind: str, count: int) -> str:
    noun = kind.replace("_", " ").replace("api ", "API ")
    if count != 1:
        return noun
    return noun.removesuffix("ies") + "y" if noun.endswith("ies") else noun.removesuffix("s")


def _check(project: Project, counts: Mapping[str, int], *, force: bool) -> None:
    if project.home:
        raise CannotDestroy("is the workspace's own project, which stays; it can be renamed")
    released = _counted(RELEASED, project.pk)
    if counts and not force:
        raise CannotDestroy(f"holds {described(counts)}; force=true deletes them with it")
    if released and not force:
        sentence = f"has {described(released)}; force=true leaves them to workspace admins"
        raise CannotDestroy(sentence)
    others = AccessProfile.objects.filter(collections__project=project)
    used = others.exclude(client__project=project).distinct().count()
    if used:
        profiles = "1 access profile" if used == 1 else f"{used} access profiles"
        raise CannotDestroy(f"has API collections that {profiles} of other projects may call")
    defaults = ClientDefaults.objects.filter(collections__project=project)
    following = defaults.exclude(client__project=project).distinct().count()
    if following:
        clients_ = "1 client" if following == 1 else f"{following} clients"
        raise CannotDestroy(f"has API collections in the defaults of {clients_} of other projects")


def _empty(by: Actor, project: Project) -> int:
    """Delete what the project holds, each thing by its own use case; the last sequence, or 0."""
    # In an order in which nothing is deleted that something else still needs.
    deletions: tuple[tuple[str, Deletion], ...] = (
        ("clients", lambda pk: clients.delete(by=by, client_id=pk)),
        ("api_collections", lambda pk: collections.delete(by=by, collection_id=pk)),
        ("address_lists", lambda pk: address_lists.delete(by=by, list_id=pk)),
        ("connections", lambda pk: connections.delete(by=by, connection_id=pk)),
        ("policies", lambda pk: policies.delete(by=by, policy_id=pk)),
        ("webhooks", lambda pk: webhooks.delete(by=by, webhook_id=pk)),
    )
    latest = 0
    for kind, delete_one in deletions:
        for pk in list(KINDS[kind](project.pk).order_by("pk").values_list("pk", flat=True)):
            saved = delete_one(pk)
            latest = max(latest, saved.sequence if saved else 0)
    return latest


def _record(by: Actor, project: Project, deleted: Deleted) -> None:
    audit_log.record(
        by,
        "project.delete",
        target_kind="project",
        target_id=project.pk,
        target_name=project.name,
        project_id=project.pk,
        after={
            "deleted": dict(deleted.counts),
            "revoked_tokens": [token.pk for token in deleted.revoked_tokens],
        },
    )
