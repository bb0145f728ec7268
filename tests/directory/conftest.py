"""A directory with a collection and a client, in the test database."""

import pytest

from ostiary import settings
from ostiary.directory.actor import SYSTEM
from ostiary.directory.catalog import collections, connections
from ostiary.directory.clients import clients
from ostiary.directory.models import Client, Collection
from ostiary.directory.workspace import setup
from ostiary.identity.sealing import KeyRing


@pytest.fixture(autouse=True)
def directory(db: None) -> None:
    data = settings.current().data
    data.mkdir(parents=True, exist_ok=True)
    KeyRing.load_or_create(data / "keyring.json")
    setup.ensure()


@pytest.fixture
def collection(directory: None) -> Collection:
    connection = connections.create(
        by=SYSTEM, given=connections.ConnectionInput(name="Upstream", base_urls=["http://10.0.0.1"])
    ).value
    given = collections.CollectionInput(name="Things", connection_id=connection.pk)
    return collections.create(by=SYSTEM, given=given).value.collection


@pytest.fixture
def client_of_ours(directory: None) -> Client:
    return clients.create(by=SYSTEM, given=clients.ClientInput(name="Acme"))
