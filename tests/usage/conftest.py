"""Two projects with clients, profiles and collections, and counts as a collector writes them."""

from dataclasses import dataclass, field

import pytest

from ostiary import settings
from ostiary.directory.actor import SYSTEM, Actor, Role
from ostiary.directory.catalog import collections, connections, endpoints
from ostiary.directory.clients import clients
from ostiary.directory.clients.access_profiles import NewProfileInput, create
from ostiary.directory.projects import projects
from ostiary.directory.workspace import setup
from ostiary.identity.sealing import KeyRing
from ostiary.usage.models import MinuteCount, MinuteLatency

#: Tuesday, 24 November 2026, 12:34:00 UTC.
NOW = 1_795_523_640


@dataclass
class Side:
    """A project with what is in it."""

    project: int
    client: int
    profile: int
    collection: int
    endpoint: int

    @property
    def member(self) -> Actor:
        return Actor(kind="member", id=1, name="M", roles={self.project: Role.VIEWER})


@dataclass
class Sides:
    ours: Side
    theirs: Side
    admin: Actor = field(default_factory=lambda: SYSTEM)


def _side(name: str, project: int) -> Side:
    connection = connections.create(by=SYSTEM, given=connections.ConnectionInput(name=name, project_id=project, base_urls=["http://10.0.0.1"]),
    ).value  # fmt: skip
    collection = collections.create(
        by=SYSTEM,
        given=collections.CollectionInput(project_id=project, name=name, connection_id=connection.pk),
    ).value.collection  # fmt: skip
    endpoint = endpoints.create(
        by=SYSTEM, collection_id=collection.pk,
        given=endpoints.EndpointInput(name="Item", method="GET", path="/items", active=True),
    ).value  # fmt: skip
    client = clients.create(
        by=SYSTEM, given=clients.ClientInput(name=f"{name} client", project_id=project)
    )
    saved, _ = create(
        by=SYSTEM, given=NewProfileInput(
            client_id=client.pk, auth_type="token",
            name=f"{name} profile", collection_ids=[collection.pk],
        ),
    )  # fmt: skip
    return Side(project, client.pk, saved.value.pk, collection.pk, endpoint.pk)


@pytest.fixture
def sides(db: None) -> Sides:
    data = settings.current().data
    data.mkdir(parents=True, exist_ok=True)
    KeyRing.load_or_create(data / "keyring.json")
    setup.ensure()
    other = projects.create_folder(by=SYSTEM, given=projects.FolderInput(name="Other")).pk
    return Sides(ours=_side("Ours", setup.home().pk), theirs=_side("Theirs", other))


def count(time: int, side: Side | None, calls: int = 1, **more: int | str) -> MinuteCount:
    """Calls of a minute; of an unknown caller at an unknown path where no side is named."""
    values: dict[str, int | str] = {"status": 2, "reason": 0, **more}
    if side is not None:
        values = {
            "client_id": side.client, "profile_id": side.profile,
            "collection_id": side.collection, "endpoint_id": side.endpoint, **values,
        }  # fmt: skip
    return MinuteCount.objects.create(time=time // 60 * 60, calls=calls, **values)


def took(time: int, side: Side, bucket: int, calls: int = 1) -> None:
    MinuteLatency.objects.create(
        time=time // 60 * 60, client_id=side.client, profile_id=side.profile,
        collection_id=side.collection, endpoint_id=side.endpoint, bucket=bucket, calls=calls,
    )  # fmt: skip
