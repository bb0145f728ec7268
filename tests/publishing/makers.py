"""Objects of a directory, made as owners make them, or put into the database past every check."""

import itertools
from typing import Any

from django.db import transaction

from ostiary.directory.actor import SYSTEM
from ostiary.directory.catalog import collections, connections, endpoints
from ostiary.directory.changes import feed
from ostiary.directory.models import Collection, Connection, Endpoint

_numbers = itertools.count(1)


def a_connection(*urls: str, **more: Any) -> Connection:
    given = connections.ConnectionInput(
        name=f"Connection {next(_numbers)}", base_urls=list(urls) or ["http://10.0.0.1"], **more
    )
    return connections.create(by=SYSTEM, given=given).value


def a_collection(connection: Connection | None = None, **more: Any) -> Collection:
    given = collections.CollectionInput(
        name=f"Collection {next(_numbers)}",
        connection_id=(connection or a_connection()).pk,
        **more,
    )
    return collections.create(by=SYSTEM, given=given).value.collection


def an_endpoint(collection: Collection, path: str = "/things/{id}", **more: Any) -> Endpoint:
    given = endpoints.EndpointInput(name="E", method="GET", path=path, active=True, **more)
    return endpoints.create(by=SYSTEM, collection_id=collection.pk, given=given).value


def announce(kind: str, object_id: int) -> int:
    """A change of the feed, as a use case would write it."""
    with transaction.atomic():
        return feed.announce(feed.Kind(kind), object_id)
