"""The facts of a decision, read through the ORM for questions of owners.

The authority reads the same at run time by statements of its own; a test holds both to agree.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from ostiary.access import limits
from ostiary.access.addresses import NamedList, Network, stored_networks
from ostiary.access.facts import (
    CollectionId,
    EndpointId,
    Known,
    Profile,
    ProfileId,
    Route,
)
from ostiary.access.methods import AuthMethod
from ostiary.access.paths import RouteMatch, Template, choose, normalise, rewritten, stored_template
from ostiary.directory import models
from ostiary.directory.actor import Actor
from ostiary.directory.catalog import collections
from ostiary.directory.clients import policies
from ostiary.directory.states import client_facts, credential_facts, is_there, seconds
from ostiary.gateway.contract import USAGE_PATH


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedEndpoint:
    """An endpoint as far as the choice among those of a path depends on it."""

    id: int
    method: str
    template: Template
    active: bool


#: The choice where there is no path.
NOTHING: RouteMatch[RoutedEndpoint] = RouteMatch(endpoint=None)


@lru_cache(maxsize=10_000)
def networks(entries: tuple[str, ...]) -> tuple[Network, ...]:
    """The networks of a stored list; raises BrokenList, and the authority refuses every call then."""
    return stored_networks(entries)


def named_lists(ids: Iterable[int]) -> tuple[NamedList, ...]:
    """Lists that profiles share, by their ids."""
    rows = models.AddressList.objects.filter(pk__in=list(ids)).order_by("pk")
    return tuple(
        NamedList(id=pk, name=name, packed=packed)
        for pk, name, packed in rows.values_list("pk", "name", "packed")
    )


def list_ids(row: models.AccessProfile) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ids of the lists that a saved profile shares with others: that allow, and that deny."""
    if row.pk is None:
        return (), ()
    return (
        tuple(each.pk for each in row.allowed_lists.all()),
        tuple(each.pk for each in row.denied_lists.all()),
    )


def profile(
    row: models.AccessProfile,
    at: int | None = None,
    lists: tuple[Iterable[int], Iterable[int]] | None = None,
) -> Profile:
    """A profile as decisions see it at `at` (Unix seconds; now); `row` need not be saved.

    `lists`: ids of the lists that allow and that deny, in place of those that it has.
    """
    allowed, denied = list_ids(row) if lists is None else lists
    policy, now = row.policy, int(time.time()) if at is None else at
    until = seconds(row.raised_until)
    is_raised = until is not None and until > now
    rates_, quota_ = limits.raised(
        rates(policy), quota(policy), row.raised_limits if is_raised else {}
    )
    return Profile(
        id=ProfileId(row.pk),
        active=row.active,
        inactive_until=seconds(row.inactive_until),
        method=AuthMethod(row.auth_type),
        expires_at=seconds(row.expires_at),
        allowed=networks(tuple(row.allow_list)),
        denied=networks(tuple(row.deny_list)),
        allowed_lists=named_lists(allowed) if allowed else (),
        denied_lists=named_lists(denied) if denied else (),
        addresses_watched=row.addresses_watched,
        rates=rates_,
        quota=quota_,
        limits_watched=policy is not None and policy.watched,
        policy_since=seconds(row.policy_since) or 0,
        resets=row.limit_resets,
        raised_until=until if is_raised else None,
    )


def rates(policy: models.Policy | None) -> tuple[limits.RateLimit, ...]:
    if policy is None:
        return ()
    return policies.rate_limits(policy)


def quota(policy: models.Policy | None) -> limits.Quota | None:
    if policy is None or policy.quota_limit is None or not policy.quota_interval:
        return None
    return limits.Quota(limit=policy.quota_limit, period=limits.Period(policy.quota_interval))


def known(credential: models.Credential, row: models.AccessProfile) -> Known:
    """A credential with the profile and client that it speaks for."""
    return Known(
        credential=credential_facts(credential),
        profile=profile(row),
        client=client_facts(row.client),
    )


def normal(target: str) -> str | None:
    """The normal form of a call's path, without its query, as the gateway takes it; nothing: refused."""
    raw = target.partition("?")[0]
    path = normalise(raw)
    if path is None and (path := normalise(raw, encoded_slashes=True)) is not None:
        handle = path[1:].partition("/")[0]
        if not models.Collection.objects.filter(handle=handle, encoded_slashes=True).exists():
            return None
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """What a method and a path in normal form mean, with the rows that they mean."""

    route: Route
    collection: models.Collection | None = None
    endpoint: models.Endpoint | None = None

    def has_dots(self, path: str) -> bool:
        """Whether the path on the upstream would have a dot segment: the gateway refuses that."""
        endpoint = self.endpoint
        if endpoint is None or endpoint.target_path in {"", endpoint.path}:
            return False
        below = path[len(endpoint.collection.handle) + 1 :]
        target, template = stored_template(endpoint.target_path), stored_template(endpoint.path)
        return rewritten(target, template, below) is None


def called(row: models.AccessProfile, method: str, path: str, by: Actor) -> Called:
    """What a call means to a profile, as the gateway finds it.

    A collection that `by` may not know of is not there: a consumer is told the same of both.
    """
    handle, slash, below = path.removeprefix("/").partition("/")
    collection = models.Collection.objects.filter(handle=handle).first()
    if collection is None or not collections.known(by).filter(pk=collection.pk).exists():
        return Called(route=Route(usage=path == USAGE_PATH))
    # A handle alone is no endpoint's path: templates begin with a slash.
    choice, endpoint = chosen(collection, method, f"/{below}") if slash else (NOTHING, None)
    return Called(route=_route(row, collection, choice), collection=collection, endpoint=endpoint)


def chosen(
    collection: models.Collection, method: str, below: str
) -> tuple[RouteMatch[RoutedEndpoint], models.Endpoint | None]:
    """Which endpoint of a collection takes a call with this path below it."""
    rows = {e.pk: e for e in collection.endpoints.select_related("recipe", "collection")}
    choice = choose(
        (
            RoutedEndpoint(
                id=e.pk, method=e.method, template=stored_template(e.path), active=is_there(e)
            )
            for e in rows.values()
        ),
        method,
        below,
    )
    return choice, rows[choice.endpoint.id] if choice.endpoint else None


def _route(
    row: models.AccessProfile, collection: models.Collection, choice: RouteMatch[RoutedEndpoint]
) -> Route:
    return Route(
        collection=CollectionId(collection.pk),
        granted=row.collections.filter(pk=collection.pk).exists(),
        endpoint=EndpointId(choice.endpoint.id) if choice.endpoint else None,
        inactive=choice.inactive,
        allow=choice.allow,
    )
