"""A preview says what a change would have refused and allowed, and changes nothing itself."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.review.conftest import Log, World

from ostiary.access.reasons import Reason
from ostiary.directory.actor import Actor
from ostiary.directory.clients import profile_bulk
from ostiary.directory.models import AccessProfile, AuditEvent, Change, Policy
from ostiary.review import preview
from ostiary.usage.models import LoggedCall, MinuteCount

BY = Actor(kind="member", id=1, name="Ada", admin=True)


def previewed(world: World, **asked: Any) -> Any:
    return world.api.done("POST", "v2/preview", asked)["data"]


def some_calls(world: World, log: Log, profile: Any, *addresses: str, **fields: Any) -> None:
    """A call a minute from each address, the last one a minute ago."""
    now = int(time.time())
    for number, address in enumerate(reversed(addresses), start=1):
        log(
            f"B-{profile['id']}-{number}", at_ms=(now - 60 * number) * 1000, address=address,
            profile_id=profile["id"], client_id=world.client["id"],
            collection_id=world.collection["id"], endpoint_id=world.orders["id"], **fields,
        )  # fmt: skip


def test_a_narrower_allow_list_shows_whom_it_would_have_refused(world: World, log: Log) -> None:
    profile = world.a_profile()
    some_calls(world, log, profile, "192.0.2.7", "198.51.100.9", "198.51.100.9", "192.0.2.8")
    rows = (Change.objects.count(), AuditEvent.objects.count())
    found = previewed(
        world, access_profile_id=profile["id"], change={"ip_allow_list": ["192.0.2.0/24"]}
    )
    assert (found["calls"], found["newly_refused"], found["newly_allowed"]) == (4, 2, 0)
    (effect,) = found["effects"]
    assert effect["refused_for"] == {Reason.ADDRESS_NOT_ALLOWED: 2}
    (example,) = effect["refused_examples"]
    assert (example["ip"], example["endpoint"]) == ("198.51.100.9", "GET /orders-v1/orders")
    assert example["request_id"].startswith("B-")
    assert (Change.objects.count(), AuditEvent.objects.count()) == rows
    assert AccessProfile.objects.get(pk=profile["id"]).allow_list == []


def test_one_change_of_many_profiles_is_previewed_as_one(world: World, log: Log) -> None:
    one, other = world.a_profile(name="One"), world.a_profile(name="Other")
    for profile in (one, other):
        some_calls(world, log, profile, "192.0.2.7", "198.51.100.9")
    given = profile_bulk.BulkInput(profile_ids=[one["id"], other["id"]], active=False)
    found, drafts = preview.of_many(by=BY, given=given)
    assert [each.profile.name for each in drafts] == ["One", "Other"]
    assert {each.profile.pk: each.newly_refused for each in found.effects} == {
        one["id"]: 2,
        other["id"]: 2,
    }
    assert AccessProfile.objects.filter(active=True).count() == 2
    unchanged = profile_bulk.BulkInput(profile_ids=[one["id"]], active=True)
    idle, _ = preview.of_many(by=BY, given=unchanged)
    assert idle.idle


def test_a_preview_names_no_endpoint_of_a_project_that_one_does_not_see(
    world: World, log: Log
) -> None:
    other = world.api.done("POST", "folders", {"name": "Other"})["id"]
    given = {"name": "Up", "project_id": other, "input": {"base_url": "http://10.0.0.2"}}
    connection = world.api.done("POST", "connections", given)
    hidden = world.api.done(
        "POST",
        "api_collections",
        {"name": "Hidden", "project_id": other, "proxy_connection_id": connection["id"]},
    )
    content = {"name": "N", "method": "GET", "path": "/nightingale"}
    endpoint = world.api.done("POST", f"api_collections/{hidden['id']}/api_endpoints", content)
    profile = world.a_profile(api_collection_ids=[world.collection["id"], hidden["id"]])
    some_calls(world, log, profile, "192.0.2.7", "198.51.100.9")
    LoggedCall.objects.update(collection_id=hidden["id"], endpoint_id=endpoint["id"])
    asked = {"access_profile_id": profile["id"], "change": {"active": False}}
    assert "GET /hidden-v1/nightingale" in str(world.api.done("POST", "v2/preview", asked))
    insider = world.api.as_(admin=False, role="editor", project_ids=[world.api.home])
    found = insider.done("POST", "v2/preview", asked)["data"]
    assert found["newly_refused"] == 2
    assert {each["endpoint"] for each in found["effects"][0]["refused_examples"]} == {""}


def test_refused_calls_that_would_newly_pass_are_told(world: World, log: Log) -> None:
    profile = world.a_profile(ip_allow_list=["192.0.2.0/24"])
    some_calls(
        world, log, profile, "198.51.100.9", "203.0.113.1", reason=Reason.ADDRESS_NOT_ALLOWED
    )
    change = {"ip_allow_list": ["192.0.2.0/24", "198.51.100.9"]}
    found = previewed(world, access_profile_id=profile["id"], change=change)
    assert (found["newly_refused"], found["newly_allowed"]) == (0, 1)
    assert found["effects"][0]["allowed_examples"][0]["reason"] == Reason.ADDRESS_NOT_ALLOWED


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "the same": ({"name": "Renamed"}, {"newly_refused": 0, "changes_nothing": True}),
    "switched off": ({"active": False}, {"newly_refused": 3, "changes_nothing": False}),
    "watched": (
        {"ip_allow_list": ["192.0.2.7"], "ip_watch_only": True},
        {"newly_refused": 0, "would_refuse": 2, "changes_nothing": False},
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_change_of_a_profile(world: World, log: Log, case: str) -> None:
    change, expected = CHANGES[case]
    profile = world.a_profile()
    some_calls(world, log, profile, "192.0.2.7", "192.0.2.8", "192.0.2.9")
    found = previewed(world, access_profile_id=profile["id"], change=change)
    assert {name: found[name] for name in expected} == expected


def test_a_tighter_policy_is_replayed_in_the_windows_of_the_clock(world: World, log: Log) -> None:
    policy = world.a_policy(rate_limit={"limit": 100, "interval": "minute"})
    one, two = (world.a_profile(api_policy_id=policy["id"], name=name) for name in ("One", "Two"))
    minute = int(time.time()) // 60 * 60 - 600
    for number in range(7):
        log(f"C-{number}", at_ms=(minute + number * 2) * 1000, profile_id=one["id"], latency_ms=0,
            collection_id=world.collection["id"], endpoint_id=world.orders["id"])  # fmt: skip
    some_calls(world, log, two, "192.0.2.7")
    change = {"name": "Standard", "rate_limit": {"limit": 5, "interval": "minute"}}
    found = previewed(world, api_policy_id=policy["id"], change=change)
    assert (found["calls"], found["access_profiles"], found["newly_refused"]) == (8, 2, 2)
    assert [effect["name"] for effect in found["effects"]] == ["One"]
    assert found["effects"][0]["refused_for"] == {Reason.RATE_LIMITED: 2}
    assert Policy.objects.get(pk=policy["id"]).rate_limit == 100
    watched = previewed(world, api_policy_id=policy["id"], change=change | {"watch_only": True})
    assert (watched["newly_refused"], watched["would_refuse"]) == (0, 2)


def test_lines_that_stand_for_several_calls_are_scaled_and_said_so(world: World, log: Log) -> None:
    profile = world.a_profile()
    some_calls(world, log, profile, "192.0.2.7", stands_for=10)
    found = previewed(world, access_profile_id=profile["id"], change={"active": False})
    assert (found["calls"], found["newly_refused"], found["sampled"]) == (10, 10, True)


def test_with_nothing_recorded_it_says_that(world: World) -> None:
    profile = world.a_profile()
    found = previewed(world, access_profile_id=profile["id"], change={"active": False})
    assert (found["calls"], found["effects"], found["truncated"]) == (0, [], False)


def test_what_could_not_be_saved_cannot_be_previewed(world: World) -> None:
    profile, policy = world.a_profile(), world.a_policy()
    for asked, status in (
        ({"access_profile_id": profile["id"], "change": {"ip_allow_list": ["nonsense"]}}, 400),
        ({"access_profile_id": profile["id"], "change": {"unheard_of": 1}}, 400),
        ({"access_profile_id": 999_999, "change": {}}, 404),
        ({"api_policy_id": policy["id"], "change": {"name": ""}}, 400),
        ({"change": {}}, 400),
    ):
        assert world.api("POST", "v2/preview", asked)[0] == status
    viewer = world.api.as_(admin=False, role="viewer", everywhere=True)
    asked = {"access_profile_id": profile["id"], "change": {"active": False}}
    assert viewer("POST", "v2/preview", asked)[0] == 403
    backwards = {**asked, "from": "2026-11-20T00:00:00Z", "to": "2026-11-19T00:00:00Z"}
    assert world.api("POST", "v2/preview", backwards)[0] == 400
    long_ago = {**asked, "to": "0001-01-01T00:00:00Z"}
    assert world.api("POST", "v2/preview", long_ago)[0] == 400
    for name, moment in (
        ("from", "0001-01-01T00:00:00+23:59"), ("to", "9999-12-31T23:59:59-23:59"),
    ):  # fmt: skip
        status, answer = world.api("POST", "v2/preview", {**asked, name: moment})
        assert (status, list(answer["errors"])) == (400, [name])


def test_other_defaults_show_what_followers_of_a_client_would_have_been_refused(
    world: World, log: Log
) -> None:
    api, collection = world.api, world.collection["id"]
    given = {"name": "Stock", "kind": "recipe"}
    stock = api.done("POST", "api_collections", given)["id"]
    defaults = {"name": "Keyed", "api_collection_ids": [collection], "auth_type": "token"}
    client = api.done("POST", "v2/api_clients", defaults)["data"]
    key = api.done(
        "POST", f"v2/api_clients/{client['id']}/api_keys", {"name": "K", "active": True}
    )["data"]
    some_calls(world, log, key, "192.0.2.7", "192.0.2.8")
    found = previewed(world, api_client_id=client["id"], change={"api_collection_ids": [stock]})
    assert (found["calls"], found["newly_refused"]) == (2, 2)
    assert [each["access_profile_id"] for each in found["effects"]] == [key["id"]]
    assert previewed(world, api_client_id=client["id"], change={"name": "N"})["changes_nothing"]


def test_a_preview_names_the_span_that_it_has_seen_and_its_share_of_the_counted_calls(
    world: World, log: Log
) -> None:
    """The log of a busy gateway holds hours, and not the week that is asked for."""
    profile = world.a_profile()
    some_calls(world, log, profile, "192.0.2.7", "198.51.100.9")
    now = int(time.time())
    begins = min(LoggedCall.objects.values_list("at_ms", flat=True)) // 1000
    asked = {"access_profile_id": profile["id"], "change": {"ip_allow_list": ["192.0.2.7"]}}
    found = previewed(world, **asked)
    assert datetime.fromisoformat(found["from"]).timestamp() == pytest.approx(begins, abs=1)
    assert (found["calls"], found["newly_refused"], found["counted_calls"]) == (2, 1, 2)
    MinuteCount.objects.create(
        time=(now - 3600) // 60 * 60, profile_id=profile["id"], client_id=world.client["id"],
        collection_id=world.collection["id"], endpoint_id=world.orders["id"], status=200, calls=198,
    )  # fmt: skip
    found = previewed(world, **asked)
    assert (found["calls"], found["newly_refused"], found["counted_calls"]) == (2, 1, 198)
    asked["from"] = datetime.fromtimestamp(begins - 10, UTC).isoformat()
    assert previewed(world, **asked)["counted_calls"] == 2
