"""Put a whole API behind the gateway in one step: connection, collection, endpoints, client, access profile."""

import re
from dataclasses import dataclass

from django.db import connection, transaction

from ostiary.access.methods import AuthMethod
from ostiary.access.paths import ANY
from ostiary.directory.actor import Actor
from ostiary.directory.catalog import collections, connections, endpoints, upstream_url
from ostiary.directory.catalog.connections import ConnectionInput
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.changes.permission import project_of
from ostiary.directory.clients import access_profiles, clients
from ostiary.directory.database import PROTECT_LOCK
from ostiary.directory.models import AccessProfile, Collection, Connection
from ostiary.identity.secret import Secret

#: Endpoints that are the whole API, where there is no document: a wildcard takes at least one character.
WHOLE_API = (("Everything", "/{path...}"), ("The root", "/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Protected:
    """An API behind the gateway. `secret` is there only where the access profile was just created."""

    collection: Collection
    profile: AccessProfile | None
    #: The path of a first request, as a consumer sends it.
    target: str
    secret: Secret | None = None
    #: The sequence after which the gateway has all of it.
    sequence: int = 0
    warnings: tuple[str, ...] = ()


def protect(
    *,
    by: Actor,
    url: str,
    name: str = "",
    document: tuple[str, str] | None = None,
    ca_pem: str = "",
) -> Protected:
    """Create what stands in front of the API at `url`, or return what stands there already.

    `document`: the content and form of its OpenAPI document, whose operations become the endpoints.
    `ca_pem`: certificates to trust in place of the system's. Two who call it at once create one.
    Raises Invalid, NotFound, Forbidden.
    """
    try:
        parsed = upstream_url.parse(url.strip(), connections.own_listeners())
    except upstream_url.BadUrl as error:
        raise Invalid({"url": [str(error)]}) from None
    with transaction.atomic():
        # On SQLite, the transaction has the only writer's lock from its begin on.
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_xact_lock(%s)", [PROTECT_LOCK])
        existing = _existing(by, str(parsed), name)
        if existing is not None:
            return existing
        return _created(by, str(parsed), name or _name(parsed), document, ca_pem)


def _existing(by: Actor, url: str, name: str) -> Protected | None:
    """What was created before for this URL, and for this name if one is given."""
    project = project_of(by, None)
    found = collections.collections(by).filter(
        project=project, kind=Collection.Kind.PROXY, connection__base_urls=[url]
    )
    if name:
        found = found.filter(name=name)
    collection = found.order_by("pk").first()
    if collection is None:
        return None
    profile = collection.profiles.select_related("client").order_by("pk").first()
    return Protected(
        collection=collection, profile=profile, target=first_target(collection), sequence=0
    )


def _created(
    by: Actor, url: str, name: str, document: tuple[str, str] | None, ca_pem: str
) -> Protected:
    upstream = connections.create(
        by=by,
        given=ConnectionInput.of(name=_free_name(by, name), base_urls=[url], ca_pem=ca_pem),
    ).value
    made = collections.create(
        by=by,
        given=collections.CollectionInput.of(name=name, connection_id=upstream.pk),
        document=document,
        active=True,
    )
    collection = made.value.collection
    if document is None:
        for title, path in WHOLE_API:
            given = endpoints.EndpointInput.of(name=title, method=ANY, path=path, active=True)
            endpoints.create(by=by, collection_id=collection.pk, given=given)
    client = clients.create(by=by, given=clients.ClientInput.of(name=f"{name} clients"))
    saved, secret = access_profiles.create(
        by=by,
        given=access_profiles.NewProfileInput.of(
            client_id=client.pk,
            name=f"{name} first consumer",
            auth_type=AuthMethod.TOKEN,
            collection_ids=[collection.pk],
        ),
    )
    return Protected(
        collection=collection,
        profile=saved.value,
        target=first_target(collection),
        secret=secret,
        sequence=saved.sequence,
        warnings=made.warnings,
    )


def _free_name(by: Actor, name: str) -> str:
    """A connection's name that is free in the project."""
    named = Connection.objects.filter(project=project_of(by, None), name__startswith=name)
    taken = set(named.values_list("name", flat=True))
    return next(
        each for each in (name, *(f"{name} {i}" for i in range(2, 10_000))) if each not in taken
    )


def _name(url: upstream_url.UpstreamUrl) -> str:
    """A name from the URL: its host, and its port where that says more."""
    if url.is_ip or "." not in url.host:
        return f"{url.host} {url.port}"
    return url.host


def first_target(collection: Collection) -> str:
    """The path of an active endpoint that answers GET, with 1 for each parameter."""
    chosen = (
        collection.endpoints.filter(active=True, method__in=("GET", ANY))
        .order_by("path")
        .values_list("path", flat=True)
        .first()
    )
    return f"/{collection.handle}{re.sub(r'{[^}]*}', '1', chosen or '/')}"
