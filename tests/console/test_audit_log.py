"""The audit log as its page shows it: sentences, filters, and links to what is still there."""

import csv
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from tests.api.conftest import Api, api
from tests.console.test_logs import Reader, reader

from ostiary.console.workspace.audit_sentences import sentence
from ostiary.directory.actor import SYSTEM, Role
from ostiary.directory.changes import audit_log
from ostiary.directory.models import AuditEvent, Project
from ostiary.directory.people import members

__all__ = ["api", "reader"]


def sentences(page: str) -> list[str]:
    """What happened, row by row."""
    found = re.findall(r'data-label="What">(.*?)<details>', page, re.DOTALL)
    return [" ".join(re.sub(r"<[^>]*>", "", each).split()) for each in found]


@pytest.fixture
def made(api: Api, reader: Reader) -> dict[str, Any]:
    collection = api.done("POST", "api_collections", {"name": "Things"})
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    given = {
        "name": "ACME Token", "api_client_id": client["id"], "auth_type": "token",
        "api_collection_ids": [collection["id"]],
    }  # fmt: skip
    profile = api.done("POST", "api_access_profiles", given)["result"]
    api.done("PUT", f"api_access_profiles/{profile['id']}", {"name": "ACME Nightly"})
    return {"client": client, "profile": profile, "collection": collection}


def test_events_are_sentences_with_links_to_what_is_still_there(
    reader: Reader, api: Api, made: dict[str, Any]
) -> None:
    page = reader.at("/audit-log")
    said = sentences(page)
    name = AuditEvent.objects.get(action="profile.create").actor_name
    assert said[0] == f"{name} renamed the access profile ACME Nightly"
    assert f"{name} created the client Acme" in said
    assert f"{name} created the API collection Things" in said
    profile = f'href="/profiles/{made["profile"]["id"]}"'
    assert profile in page
    api.done("DELETE", f"api_access_profiles/{made['profile']['id']}")
    page = reader.at("/audit-log")
    assert sentences(page)[0] == f"{name} deleted the access profile ACME Nightly"
    assert profile not in page
    # The machine's name is there for those who look for it.
    assert "<dd>profile.delete</dd>" in page


@pytest.mark.usefixtures("made")
def test_filters_find_by_kind_person_date_project_and_object(reader: Reader) -> None:
    def found(query: str) -> int:
        return len(sentences(reader.at(f"/audit-log?{query}")))

    assert found("kind=profile") == 2
    assert found("kind=client") == 1
    assert found("kind=address_list") == 0
    today = datetime.now(UTC).date()
    assert found(f"from={today}&kind=profile") == 2
    assert found(f"to={today - timedelta(days=1)}") == 0
    assert found("who=nobody") == 0
    home = Project.objects.get(home=True).pk
    assert found(f"project={home}&kind=client") == 1
    assert found("project=9999") == 0
    reader.at("/audit-log?kind=profile")
    reader.click("All of its events")
    assert len(sentences(reader.page)) == 2
    reader.click("Remove the filter Access profile")
    assert "id=" not in reader.path
    reader.at("/audit-log?kind=client")
    reader.click("Show all by")
    assert "actor=token-" in reader.path
    assert len(sentences(reader.page)) == 1
    assert reader.status("/audit-log?from=yesterday") == 400
    rows = list(csv.DictReader(reader.lines("/audit-log?kind=client&format=csv")))
    assert [row["action"] for row in rows] == ["client.create"]
    assert rows[0]["sentence"].endswith("created the client Acme")


@pytest.mark.usefixtures("made")
def test_pages_go_on_where_the_last_one_ended(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sentences(reader.at("/audit-log"))
    monkeypatch.setattr("ostiary.console.workspace.audit_log.PER_PAGE", 2)
    seen = sentences(reader.at("/audit-log"))
    while ">Older</a>" in reader.page:
        reader.click("Older")
        seen += sentences(reader.page)
    assert seen == whole


def test_a_viewer_is_led_to_no_page_that_needs_another_role(api: Api, made: dict[str, Any]) -> None:
    policy = api.done("POST", "v2/api_policies", {"name": "Gold"})["data"]
    home = Project.objects.get(home=True).pk
    viewer = members.create(by=SYSTEM, email="viewer@example.com")
    members.set_role(by=SYSTEM, member_id=viewer.pk, project_id=home, role=Role.VIEWER)
    client = Client()
    client.force_login(viewer)
    page = client.get("/audit-log").content.decode()
    assert f'href="/clients/{made["client"]["id"]}"' in page
    assert f"/policies/{policy['id']}/edit" not in page


@pytest.mark.parametrize(
    ("action", "kind", "said"),
    [
        ("credential.cut_off", "profile", "Ann revoked a credential of the access profile X"),
        ("profile.raise_limits", "profile", "Ann raised limits of the access profile X"),
        ("settings.change", "settings", "Ann changed the settings"),
        ("member.sign_in", "member", "Ann signed in as the member X"),
        ("profile.ambiguous", "profile",
         "Ann found that tokens of the access profile X match another one too"),
        ("thing.turn_round", "strange_thing", "Ann turn round: the strange thing X"),
    ],
)  # fmt: skip
def test_an_action_has_a_sentence(action: str, kind: str, said: str) -> None:
    event = AuditEvent(action=action, target_kind=kind, target_name="X", actor_name="Ann")
    assert str(sentence(event)) == said


def test_a_change_names_few_fields() -> None:
    event = AuditEvent(
        action="profile.change", target_kind="profile", target_name="X", actor_name="Ann",
        before={"policy_id": 1, "labels": {}}, after={"policy_id": 2, "labels": {"a": "b"}},
    )  # fmt: skip
    assert str(sentence(event)) == "Ann changed policy and labels of the access profile X"


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (audit_log.AuditFilter(kind="profile", target_id=5), "event_target"),
        (audit_log.AuditFilter(actor=("member", 5)), "event_actor"),
    ],
    ids=["object", "person"],
)
def test_the_events_of_an_object_and_of_a_person_are_found_by_an_index(
    api: Api, wanted: audit_log.AuditFilter, index: str
) -> None:
    plan = audit_log.matching(SYSTEM, wanted)[:51].explain()
    if connection.vendor == "sqlite":
        assert index in plan
