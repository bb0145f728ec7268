"""What a client has and does, as it is shown before and after it is offboarded."""

import time
from datetime import UTC, datetime, timedelta

from tests.review.conftest import World

from ostiary.directory.actor import Actor, Role
from ostiary.directory.catalog import collections
from ostiary.directory.clients import offboarding
from ostiary.directory.models import Credential
from ostiary.review import offboarding_reports
from ostiary.usage.models import MinuteCount

BY = Actor(kind="member", id=1, name="Ada", admin=True)


def test_it_names_every_profile_with_its_credentials_and_requests(world: World) -> None:
    busy, idle = world.a_profile(name="Busy"), world.a_profile(name="Idle", active=False)
    world.api.done(
        "PUT", f"api_access_profiles/{busy['id']}/refresh_secret", {"overlap_seconds": 600}
    )
    now = int(time.time())
    Credential.objects.filter(profile_id=busy["id"]).update(
        last_used_at=datetime.fromtimestamp(now, UTC) - timedelta(hours=1)
    )
    at = now - now % 60 - 3600
    MinuteCount.objects.create(
        time=at, client_id=world.client["id"], profile_id=busy["id"],
        collection_id=world.collection["id"], endpoint_id=world.orders["id"], status=2, calls=7,
    )  # fmt: skip
    report = offboarding_reports.of_client(BY, world.client["id"])
    assert [(each.name, each.calls, each.working) for each in report.profiles] == [
        ("Busy", 7, 2),
        ("Idle", 0, 1),
    ]
    assert (report.calls, report.working, report.active, report.is_done) == (7, 3, 1, False)
    old, new = report.profiles[0].credentials
    assert old.expires_at is not None
    assert new.expires_at is None
    assert busy["secret"] not in str(report)
    rows = offboarding_reports.table(report)
    assert [row[1] for row in rows] == ["Busy", "Busy", "Idle"]
    assert all(len(row) == len(offboarding_reports.HEADS) for row in rows)
    Credential.objects.filter(profile_id=idle["id"]).delete()
    rows = offboarding_reports.table(offboarding_reports.of_client(BY, world.client["id"]))
    assert rows[-1][-5:] == ("", "", "", "", "")


def test_afterwards_nothing_of_the_client_can_call(world: World) -> None:
    world.a_profile()
    offboarding.offboard(by=BY, client_id=world.client["id"])
    report = offboarding_reports.of_client(BY, world.client["id"])
    assert (report.working, report.active, report.is_done) == (0, 0, True)


def test_a_collection_of_a_project_out_of_sight_is_not_named(world: World) -> None:
    api = world.api
    project = int(api.done("POST", "folders", {"name": "Other"})["id"])
    client = api.done("POST", "api_clients", {"name": "Theirs", "project_id": project})["result"]
    world.a_profile(api_client_id=client["id"])
    reader = Actor(kind="member", id=2, name="Bob", roles={project: Role.VIEWER})
    report = offboarding_reports.of_client(reader, client["id"])
    assert report.profiles[0].collections == [collections.HIDDEN]
    assert world.collection["name"] not in str(offboarding_reports.table(report))
