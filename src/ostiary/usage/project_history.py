"""The project of a client or a collection, also of deleted ones."""

from dataclasses import dataclass

from django.db import transaction

from ostiary.directory.actor import Actor
from ostiary.directory.catalog import collections
from ostiary.directory.models import Client, Collection
from ostiary.usage.models import Belonging

_BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Projects:
    clients: dict[int, int]
    collections: dict[int, int]

    def of(self, client_id: int, collection_id: int) -> int:
        """The project that a call counts for: of its client, else of the collection; else 0."""
        if client_id:
            return self.clients.get(client_id, 0)
        return self.collections.get(collection_id, 0)


def known_collections(by: Actor) -> frozenset[int]:
    """The collections that `by` may know of, deleted ones of its projects as well."""
    deleted = Belonging.objects.filter(kind="collection", project_id__in=by.project_ids)
    return frozenset(collections.known(by).values_list("pk", flat=True)) | frozenset(
        deleted.values_list("asset_id", flat=True)
    )


def projects() -> tuple[Projects, bool]:
    """The current projects, and whether anything moved since they were last read."""
    stored: dict[str, dict[int, int]] = {"client": {}, "collection": {}}
    for kind, asset, project in Belonging.objects.values_list("kind", "asset_id", "project_id"):
        stored[kind][asset] = project
    moved = False
    living = {
        "client": dict(Client.objects.values_list("pk", "project_id")),
        "collection": dict(Collection.objects.values_list("pk", "project_id")),
    }
    for kind, now in living.items():
        known = stored[kind]
        changed = {pk: project for pk, project in now.items() if known.get(pk) != project}
        moved = moved or any(pk in known for pk in changed)
        _remember(kind, changed)
        known.update(changed)
    return Projects(clients=stored["client"], collections=stored["collection"]), moved


def _remember(kind: str, changed: dict[int, int]) -> None:
    items = list(changed.items())
    for i in range(0, len(items), _BATCH):
        batch = items[i : i + _BATCH]
        with transaction.atomic():
            Belonging.objects.bulk_create(
                (Belonging(kind=kind, asset_id=pk, project_id=project) for pk, project in batch),
                update_conflicts=True,
                unique_fields=["kind", "asset_id"],
                update_fields=["project_id"],
            )
