"""What changes announce: the object that changed, so that a gateway pays for that one alone."""

from ostiary.directory.actor import SYSTEM
from ostiary.directory.catalog import collections, endpoints
from ostiary.directory.changes import feed
from ostiary.directory.models import Change, Collection

DOCUMENT = """
openapi: 3.0.0
info: {title: Orders, version: "1.0"}
paths:
  /orders: {get: {}, post: {}}
  /orders/{id}: {get: {}}
"""


def _since(sequence: int) -> list[tuple[str, int]]:
    return [(kind, object_id) for _, kind, object_id in feed.after(sequence, most=100)]


def test_every_change_of_an_endpoint_announces_that_endpoint_and_raises_its_collections_epoch(
    collection: Collection,
) -> None:
    start = feed.latest()
    given = endpoints.EndpointInput(name="E", method="GET", path="/e")
    made = endpoints.create(by=SYSTEM, collection_id=collection.pk, given=given)
    number = made.value.pk
    endpoints.change(by=SYSTEM, endpoint_id=number, given=endpoints.EndpointInput(name="F"))
    endpoints.switch(by=SYSTEM, endpoint_id=number, active=True)
    last = endpoints.delete(by=SYSTEM, endpoint_id=number)
    assert _since(start) == [("endpoint", number)] * 4
    collection.refresh_from_db()
    assert collection.epoch == last.sequence == Change.objects.latest("pk").pk


def test_an_import_announces_its_collection_once(directory: None) -> None:
    start = feed.latest()
    given = collections.CollectionInput(name="Orders")
    saved = collections.create(by=SYSTEM, given=given, document=(DOCUMENT, "yaml"))
    assert saved.value.taken == 3
    assert _since(start) == [("collection", saved.value.collection.pk)]
