"""Removes the demo: its objects and their usage, and nothing that an owner made beside it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from django.db import models, transaction

from ostiary.directory.actor import Actor
from ostiary.directory.catalog import collections, connections, endpoints
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.permission import require_admin
from ostiary.directory.clients import access_profiles, clients, policies
from ostiary.directory.models import (
    AccessProfile,
    Client,
    Collection,
    Connection,
    DemoObject,
    Endpoint,
    Policy,
)
from ostiary.usage import removal
from ostiary.usage.models import LoggedCall

DemoModel = type[Client | AccessProfile | Collection | Endpoint | Connection | Policy]
#: Kinds of objects that the demo makes; credentials go with their profiles.
KINDS: Mapping[str, DemoModel] = {
    "client": Client,
    "profile": AccessProfile,
    "collection": Collection,
    "endpoint": Endpoint,
    "connection": Connection,
    "policy": Policy,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPlan:
    """What the removal deletes, as ids by kind, and what stays because of something of the owner's."""

    deleted: Mapping[str, frozenset[int]]
    calls: int
    #: Sentences, one for each object that stays.
    stays: tuple[str, ...] = ()

    def count(self, kind: str) -> int:
        return len(self.deleted[kind])


@dataclass(slots=True, kw_only=True)
class _Plan:
    """The demo's objects that are still there, and what is found about them."""

    marked: dict[str, frozenset[int]]
    deleted: dict[str, frozenset[int]] = field(default_factory=dict)
    stays: list[str] = field(default_factory=list)


def exists() -> bool:
    """Whether there is a demo to be removed."""
    return DemoObject.objects.exists()


def planned(by: Actor) -> DemoPlan:
    """What `remove` would do now; raises Forbidden."""
    require_admin(by)
    plan = _Plan(marked=_marked())
    # Nothing can depend on a profile.
    plan.deleted["profile"] = plan.marked["profile"]
    _clients(plan)
    _collections(plan)
    _connections(plan)
    _policies(plan)
    calls = LoggedCall.objects.filter(profile_id__in=all_of("profile")).count()
    return DemoPlan(deleted=plan.deleted, calls=calls, stays=tuple(plan.stays))


def remove(*, by: Actor) -> Saved[DemoPlan]:
    """Delete the demo and its usage; raises Forbidden, and InUse while usage is rolled up for long.

    What was interrupted goes on when it is called again.
    """
    require_admin(by)
    profiles, of_collections = all_of("profile"), all_of("collection")
    with transaction.atomic():
        plan = planned(by)
        sequence = _deleted(by, plan)
    removal.remove(profiles=profiles, collections=of_collections)
    DemoObject.objects.all().delete()
    return Saved(value=plan, sequence=sequence)


def all_of(kind: str) -> frozenset[int]:
    """The ids of what the demo made, also of what is deleted by now."""
    return frozenset(DemoObject.objects.filter(kind=kind).values_list("object_id", flat=True))


def _marked() -> dict[str, frozenset[int]]:
    """The demo's objects that are still there, by kind."""
    return {
        kind: frozenset(model.objects.filter(pk__in=all_of(kind)).values_list("pk", flat=True))
        for kind, model in KINDS.items()
    }


def _clients(plan: _Plan) -> None:
    others = AccessProfile.objects.exclude(pk__in=plan.deleted["profile"])
    kept = _stay(plan, "client", lambda pk: others.filter(client_id=pk), "access profile")
    plan.deleted["client"] = plan.marked["client"] - kept


def _collections(plan: _Plan) -> None:
    profiles = AccessProfile.objects.exclude(pk__in=plan.deleted["profile"])
    following = Client.objects.exclude(pk__in=plan.deleted["client"])
    used = _stay(plan, "collection", lambda pk: profiles.filter(collections=pk), "access profile")
    used |= _stay(
        plan, "collection", lambda pk: following.filter(defaults__collections=pk), "client", used
    )
    others = Endpoint.objects.exclude(pk__in=plan.marked["endpoint"])
    extended = _stay(
        plan, "collection", lambda pk: others.filter(collection_id=pk), "endpoint", used
    )
    plan.deleted["collection"] = plan.marked["collection"] - used - extended
    # Of a collection that somebody still calls, all of it stays.
    going = Endpoint.objects.filter(pk__in=plan.marked["endpoint"]).exclude(collection__in=used)
    plan.deleted["endpoint"] = frozenset(going.values_list("pk", flat=True))


def _connections(plan: _Plan) -> None:
    others = Collection.objects.exclude(pk__in=plan.deleted["collection"])
    kept = _stay(plan, "connection", lambda pk: others.filter(connection_id=pk), "API collection")
    plan.deleted["connection"] = plan.marked["connection"] - kept


def _policies(plan: _Plan) -> None:
    profiles = AccessProfile.objects.exclude(pk__in=plan.deleted["profile"])
    following = Client.objects.exclude(pk__in=plan.deleted["client"])
    kept = _stay(plan, "policy", lambda pk: profiles.filter(policy_id=pk), "access profile")
    kept |= _stay(plan, "policy", lambda pk: following.filter(defaults__policy=pk), "client", kept)
    plan.deleted["policy"] = plan.marked["policy"] - kept


#: How each kind is called in a sentence.
_WORDS = {
    "client": "The client",
    "collection": "The API collection",
    "connection": "The connection",
    "policy": "The policy",
}


def _stay(
    plan: _Plan,
    kind: str,
    users: Callable[[int], models.QuerySet[models.Model]],
    word: str,
    known: frozenset[int] = frozenset(),
) -> frozenset[int]:
    """The objects of a kind that something of the owner's belongs to or rests on."""
    kept = set()
    for pk in sorted(plan.marked[kind] - known):
        if count := users(pk).count():
            kept.add(pk)
            name = KINDS[kind].objects.values_list("name", flat=True).get(pk=pk)
            plural = "s" * (count > 1)
            verb = "belongs to it" if word == "endpoint" or kind == "client" else "uses it"
            verb = verb if count == 1 else verb.replace("belongs", "belong").replace("uses", "use")
            sentence = f"{_WORDS[kind]} {name} stays: {count:,} {word}{plural} of yours {verb}."
            plan.stays.append(sentence)
    return frozenset(kept)


def _deleted(by: Actor, plan: DemoPlan) -> int:
    """Delete what the plan names, what rests on others first; returns the sequence to wait for."""
    sequence = 0
    for pk in sorted(plan.deleted["client"]):
        sequence = clients.delete(by=by, client_id=pk).sequence
    for pk in AccessProfile.objects.filter(pk__in=plan.deleted["profile"]).values_list(
        "pk", flat=True
    ):
        sequence = access_profiles.delete(by=by, profile_id=pk).sequence
    for pk in sorted(plan.deleted["collection"]):
        sequence = collections.delete(by=by, collection_id=pk).sequence
    rest = Endpoint.objects.filter(pk__in=plan.deleted["endpoint"])
    for pk in rest.values_list("pk", flat=True):
        sequence = endpoints.delete(by=by, endpoint_id=pk).sequence
    for pk in sorted(plan.deleted["connection"]):
        sequence = connections.delete(by=by, connection_id=pk).sequence
    for pk in sorted(plan.deleted["policy"]):
        policies.delete(by=by, policy_id=pk)
    return sequence
