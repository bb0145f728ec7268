"""Names of counted or logged objects that exist and that the actor may see."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ostiary.directory.actor import Actor
from ostiary.directory.models import AccessProfile, Client, Collection, Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetNames:
    clients: dict[int, str] = field(default_factory=dict)
    profiles: dict[int, str] = field(default_factory=dict)
    collections: dict[int, str] = field(default_factory=dict)
    #: Method and path, with the handle of the collection.
    endpoints: dict[int, str] = field(default_factory=dict)


def names(
    by: Actor,
    *,
    clients: Iterable[int] = (),
    profiles: Iterable[int] = (),
    collections: Iterable[int] = (),
    endpoints: Iterable[int] = (),
) -> AssetNames:
    """Names by id, without deleted objects and those that the actor may not see."""
    known_clients = Client.objects.visible_to(by).filter(pk__in=set(clients))
    known_profiles = AccessProfile.objects.visible_to(by).filter(pk__in=set(profiles))
    known_collections = Collection.objects.visible_to(by).filter(pk__in=set(collections))
    known_endpoints = Endpoint.objects.visible_to(by).filter(pk__in=set(endpoints))
    told = known_endpoints.values_list("pk", "method", "collection__handle", "path")
    return AssetNames(
        clients=dict(known_clients.values_list("pk", "name")),
        profiles=dict(known_profiles.values_list("pk", "name")),
        collections=dict(known_collections.values_list("pk", "name")),
        endpoints={pk: f"{method} /{handle}{path}" for pk, method, handle, path in told},
    )
