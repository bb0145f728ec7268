"""Off until a moment: a client or profile that comes back by itself."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from tests.api.conftest import Api

from ostiary.directory.clients import pauses, returning
from ostiary.directory.models import AccessProfile, AuditEvent, Change, Client, WebhookEvent
from ostiary.review import facts


@pytest.fixture
def profile(api: Api) -> Any:
    connection = {"name": "Upstream", "input": {"base_url": "http://10.0.0.1"}}
    made = api.done("POST", "connections", connection)
    collection = api.done(
        "POST", "api_collections", {"name": "Things", "proxy_connection_id": made["id"]}
    )
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    content = {
        "name": "Script", "api_client_id": client["id"], "auth_type": "token",
        "api_collection_ids": [collection["id"]],
    }  # fmt: skip
    return api.done("POST", "api_access_profiles", content)["result"]


def in_hours(hours: float) -> str:
    return (timezone.now() + timedelta(hours=hours)).isoformat()


def shown(api: Api, profile: Any) -> Any:
    return api.done("GET", f"api_access_profiles/{profile['id']}")["result"]


def switch_off(api: Api, path: str, until: str | None) -> Any:
    return api.done("PUT", f"{path}/disable", {"until": until})


def test_a_profile_is_off_with_a_receipt_and_comes_back_by_itself(api: Api, profile: Any) -> None:
    hook = {"name": "H", "url": "https://hooks.example.com/", "events": ["profile.activated"]}
    api.done("POST", "v2/webhooks", hook)
    receipt = switch_off(api, f"api_access_profiles/{profile['id']}", in_hours(2))["revocation"]
    assert receipt["confirmed"] == 1
    found = shown(api, profile)
    assert found["active"] is False
    assert found["inactive_until"] is not None
    assert returning.bring_back(timezone.now() + timedelta(hours=1)) == 0
    before = Change.objects.count()
    assert returning.bring_back(timezone.now() + timedelta(hours=3)) == 1
    assert Change.objects.count() == before + 1
    found = shown(api, profile)
    assert (found["active"], found["inactive_until"]) == (True, None)
    last = AuditEvent.objects.latest("pk")
    assert (last.action, last.actor_kind) == ("profile.activate", "system")
    assert WebhookEvent.objects.filter(type="profile.activated").count() == 1
    # Once is enough.
    assert returning.bring_back(timezone.now() + timedelta(hours=3)) == 0


def test_a_client_comes_back_by_itself_and_its_profiles_with_it(api: Api, profile: Any) -> None:
    client = profile["api_client_id"]
    switch_off(api, f"v2/api_clients/{client}", in_hours(2))
    found = api.done("GET", f"api_clients/{client}")["result"]
    assert found["active"] is False
    returning.bring_back(timezone.now() + timedelta(hours=3))
    found = api.done("GET", f"api_clients/{client}")["result"]
    assert (found["active"], found["inactive_until"]) == (True, None)


def test_explain_decides_by_the_moment_before_anybody_has_switched(api: Api, profile: Any) -> None:
    switch_off(api, f"api_access_profiles/{profile['id']}", in_hours(2))
    question = {"access_profile_id": profile["id"], "method": "GET", "path": "/things-v1/x"}
    assert api.done("POST", "v2/explain", question)["data"]["reason"] == "profile_inactive"
    past = timezone.now() - timedelta(seconds=1)
    AccessProfile.objects.filter(pk=profile["id"]).update(inactive_until=past)
    assert api.done("POST", "v2/explain", question)["data"]["reason"] != "profile_inactive"
    row = AccessProfile.objects.select_related("client").get(pk=profile["id"])
    assert facts.profile(row).inactive_until == int(past.timestamp())


def test_what_somebody_says_meanwhile_counts(api: Api, profile: Any) -> None:
    path = f"api_access_profiles/{profile['id']}"
    switch_off(api, path, in_hours(2))
    # Off for good now.
    switch_off(api, path, None)
    assert returning.bring_back(timezone.now() + timedelta(hours=3)) == 0
    assert shown(api, profile)["active"] is False
    switch_off(api, path, in_hours(2))
    api.done("PUT", f"{path}/enable")
    assert shown(api, profile)["inactive_until"] is None


def test_what_is_deactivated_together_with_others_does_not_come_back(
    api: Api, profile: Any
) -> None:
    client = profile["api_client_id"]
    paths = (f"api_access_profiles/{profile['id']}", f"v2/api_clients/{client}")
    for path in paths:
        switch_off(api, path, in_hours(2))
    off = {"access_profile_ids": [profile["id"]], "active": False}
    changed = api.done("POST", "v2/access_profiles/bulk", off)
    assert changed["data"]["changed_ids"] == [profile["id"]]
    last = AuditEvent.objects.latest("pk")
    assert last.action == "profile.deactivate"
    assert last.before["inactive_until"]
    assert not last.after.get("inactive_until")
    off = {"api_client_ids": [client], "active": False}
    api.done("POST", "v2/api_clients/bulk", off)
    assert returning.bring_back(timezone.now() + timedelta(hours=3)) == 0
    assert not AccessProfile.objects.get().active
    assert not Client.objects.get().active


def test_a_change_that_repeats_what_is_shown_leaves_the_moment(api: Api, profile: Any) -> None:
    path = f"api_access_profiles/{profile['id']}"
    switch_off(api, path, in_hours(2))
    before = shown(api, profile)
    api.done("PUT", path, {"name": "Other", "active": False})
    assert shown(api, profile)["inactive_until"] == before["inactive_until"]


@pytest.mark.parametrize("hours", [-1, 24 * (pauses.LONGEST.days + 1)])
def test_a_moment_in_the_past_or_far_ahead_is_refused(api: Api, profile: Any, hours: float) -> None:
    sent = {"until": in_hours(hours)}
    status, answer = api("PUT", f"api_access_profiles/{profile['id']}/disable", sent)
    assert (status, list(answer["errors"])) == (400, ["until"])
    assert shown(api, profile)["active"] is True


def test_finding_what_is_due_reads_no_other_rows(api: Api, profile: Any) -> None:
    for table in (Client, AccessProfile):
        due = table.objects.filter(active=False, inactive_until__lte=timezone.now())
        plan = due.explain()
        assert "inactive_until" in plan
        assert "SCAN" not in plan.partition("USING")[0]
