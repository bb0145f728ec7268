"""Advice is given where it is due, with its evidence, and what it proposes can be previewed."""

import time
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from tests.review.conftest import Log, World

from ostiary.directory.models import AccessProfile, Credential, Policy
from ostiary.review import advice
from ostiary.review.advice import AdviceKind
from ostiary.usage.models import MinuteCount


def advised(world: World, kind: AdviceKind) -> list[dict[str, Any]]:
    found = world.api.done("GET", "v2/advice")
    assert found["count"] == len(found["data"])
    return [each for each in found["data"] if each["kind"] == kind]


def calls(world: World, log: Log, profile: Any, *addresses: str, many: int = 30) -> None:
    now = int(time.time() * 1000) - 60_000
    for number in range(many):
        log(
            f"D-{profile['id']}-{number}", at_ms=now - number, profile_id=profile["id"],
            collection_id=world.collection["id"], endpoint_id=world.orders["id"],
            credential_id=world.credential(profile), address=addresses[number % len(addresses)],
        )  # fmt: skip


def test_a_quiet_workspace_gets_no_advice(world: World) -> None:
    world.a_profile()
    assert world.api.done("GET", "v2/advice") == {"data": [], "count": 0, "more": []}


@pytest.mark.parametrize(
    ("dates", "kind"),
    [
        ({"created_at": -31}, AdviceKind.UNUSED),
        ({"created_at": -181, "last_used_at": -1}, AdviceKind.OLD),
        ({"overlap_until": 9, "last_used_at": 0}, AdviceKind.OVERLAP_BUSY),
    ],
)
def test_credentials_that_lie_about(
    world: World, log: Log, dates: dict[str, int], kind: AdviceKind
) -> None:
    profile = world.a_profile()
    calls(world, log, profile, "192.0.2.7", "192.0.2.8", many=3)
    moved = {name: timezone.now() + timedelta(days=days) for name, days in dates.items()}
    Credential.objects.filter(profile_id=profile["id"]).update(**moved)
    (given,) = advised(world, kind)
    assert given["access_profile_id"] == profile["id"]
    assert profile["secret"][-4:] in given["evidence"]
    assert profile["secret"] not in str(given)
    if kind is AdviceKind.OVERLAP_BUSY:
        assert "3 logged calls from 2 addresses in the last day" in given["evidence"]


@pytest.mark.parametrize(
    ("lists", "kind"),
    [({}, AdviceKind.OPEN), ({"ip_allow_list": ["192.0.0.0/8"]}, AdviceKind.WIDE)],
)
def test_addresses_that_could_be_fewer(
    world: World, log: Log, lists: dict[str, Any], kind: AdviceKind
) -> None:
    profile = world.a_profile(**lists)
    calls(world, log, profile, "192.0.2.7", "192.0.2.8")
    (given,) = advised(world, kind)
    assert given["change"] == {"ip_allow_list": ["192.0.2.7", "192.0.2.8"]}
    assert "All 30 logged calls of the last 30 days came from 2 addresses" in given["evidence"]
    asked = {"access_profile_id": profile["id"], "change": given["change"]}
    found = world.api.done("POST", "v2/preview", asked)["data"]
    assert (found["calls"], found["newly_refused"]) == (30, 0)
    world.change(profile, **given["change"])
    assert advised(world, kind) == []


def test_no_list_is_proposed_by_few_calls_or_from_many_addresses(world: World, log: Log) -> None:
    calls(world, log, world.a_profile(name="Few"), "192.0.2.7", many=19)
    calls(world, log, world.a_profile(name="Many"), *(f"192.0.2.{i}" for i in range(11)))
    assert advised(world, AdviceKind.OPEN) == []


def test_a_profile_without_a_policy_is_named_the_busiest_first(world: World, log: Log) -> None:
    quiet, busy = world.a_profile(name="Quiet"), world.a_profile(name="Busy")
    limited = world.a_profile(api_policy_id=world.a_policy()["id"])
    for profile, many in ((quiet, 1), (busy, 5), (limited, 9)):
        calls(world, log, profile, "192.0.2.7", many=many)
    given = [each["access_profile_id"] for each in advised(world, AdviceKind.UNLIMITED)]
    assert given == [busy["id"], quiet["id"]]


def test_what_is_granted_and_never_called_is_proposed_to_go(world: World, log: Log) -> None:
    connection = world.api.done("GET", "connections")[0]["id"]
    idle = world.api.done(
        "POST", "api_collections", {"name": "Idle", "proxy_connection_id": connection}
    )
    profile = world.a_profile(api_collection_ids=[world.collection["id"], idle["id"]])
    calls(world, log, profile, "192.0.2.7", many=2)
    _count(profile["id"], world.client["id"], world.collection["id"])
    assert advised(world, AdviceKind.NOT_CALLED) == []  # it is too young
    old = timezone.now() - timedelta(days=31)
    AccessProfile.objects.filter(pk=profile["id"]).update(created_at=old)
    (given,) = advised(world, AdviceKind.NOT_CALLED)
    assert given["change"] == {"api_collection_ids": [world.collection["id"]]}
    assert given["evidence"].startswith("Idle: not one call in 30 days")


def _count(profile: int, client: int, collection: int) -> None:
    minute = int(time.time()) // 60 * 60 - 120
    MinuteCount.objects.create(
        time=minute, profile_id=profile, client_id=client, collection_id=collection, status=2,
        calls=2,
    )  # fmt: skip


def test_a_watched_rule_that_refuses_nobody_is_proposed_to_be_enforced(
    world: World, log: Log
) -> None:
    policy = world.a_policy(rate_limit={"limit": 5, "interval": "minute"}, watch_only=True)
    profile = world.a_profile(
        ip_allow_list=["192.0.2.0/24"], ip_watch_only=True, api_policy_id=policy["id"]
    )
    calls(world, log, profile, "192.0.2.7", many=2)
    assert advised(world, AdviceKind.ENFORCEABLE) == []  # watched for too short a time
    old = timezone.now() - timedelta(days=8)
    AccessProfile.objects.filter(pk=profile["id"]).update(updated_at=old)
    Policy.objects.filter(pk=policy["id"]).update(updated_at=old)
    given = advised(world, AdviceKind.ENFORCEABLE)
    assert [each["change"] for each in given] == [{"ip_watch_only": False}, {"watch_only": False}]
    now = int(time.time() * 1000)
    log("D-w", at_ms=now, profile_id=profile["id"], address="203.0.113.7")
    assert [each["api_policy_id"] for each in advised(world, AdviceKind.ENFORCEABLE)] == [
        policy["id"]
    ]


def test_advice_is_given_on_what_one_sees_alone(world: World, log: Log) -> None:
    calls(world, log, world.a_profile(), "192.0.2.7")
    other = world.api.done("POST", "folders", {"name": "Other"})
    outsider = world.api.as_(admin=False, role="owner", project_ids=[other["id"]])
    assert outsider("GET", "v2/advice")[1]["data"] == []


def test_advice_names_no_collection_of_a_project_that_one_does_not_see(
    world: World, log: Log
) -> None:
    other = world.api.done("POST", "folders", {"name": "Other"})["id"]
    hidden = world.api.done("POST", "api_collections", {"name": "Hidden", "project_id": other})
    profile = world.a_profile(api_collection_ids=[world.collection["id"], hidden["id"]])
    calls(world, log, profile, "192.0.2.7", many=2)
    _count(profile["id"], world.client["id"], world.collection["id"])
    old = timezone.now() - timedelta(days=31)
    AccessProfile.objects.filter(pk=profile["id"]).update(created_at=old)
    (given,) = advised(world, AdviceKind.NOT_CALLED)
    assert given["evidence"].startswith("Hidden: not one call")
    insider = world.api.as_(admin=False, role="editor", project_ids=[world.api.home])
    found = insider.done("GET", "v2/advice")
    assert "Hidden" not in str(found)
    assert "one of another project: not one call" in str(found)


def test_of_one_kind_only_so_many_pieces_are_given_and_that_is_said(world: World, log: Log) -> None:
    for number in range(advice.MOST_OF_A_KIND + 1):
        calls(world, log, world.a_profile(name=f"P{number}"), "192.0.2.7", many=1)
    found = world.api.done("GET", "v2/advice")
    assert found["count"] == advice.MOST_OF_A_KIND
    assert found["more"] == [AdviceKind.UNLIMITED]
