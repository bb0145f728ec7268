"""Many access profiles at once: all or none, and confirmed once."""

import hashlib
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from django.utils import timezone
from tests.api.conftest import Api

from ostiary.directory.actor import SYSTEM
from ostiary.directory.changes.errors import NotInForce
from ostiary.directory.clients import access_profiles
from ostiary.directory.models import AccessProfile, AuditEvent, Change, Client, Credential

SECRET = "a-key-of-the-earlier-gateway-1"


def a_client(api: Api, name: str = "Acme", **more: Any) -> int:
    return int(api.done("POST", "api_clients", {"name": name, **more})["result"]["id"])


def a_collection(api: Api, name: str = "Orders", **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = api.done("POST", "api_collections", {"name": name, **more})
    return made


def profiles_of(api: Api, client: int, many: int) -> list[int]:
    collection = a_collection(api, f"C{client}")["id"]
    made = {
        "api_client_id": client, "api_collection_ids": [collection], "auth_type": "token",
    }  # fmt: skip
    return [
        int(api.done("POST", "api_access_profiles", made | {"name": f"P{n}"})["result"]["id"])
        for n in range(many)
    ]


def test_many_profiles_are_switched_in_one_transaction_with_one_receipt(api: Api) -> None:
    ids = profiles_of(api, a_client(api), 3)
    api.done("PUT", f"api_access_profiles/{ids[0]}/disable")
    api.confirmer.asked.clear()
    done = api.done(
        "POST", "v2/access_profiles/bulk", {"access_profile_ids": ids, "active": False}
    )["data"]
    assert done["changed_ids"] == ids[1:]
    assert done["revocation"]["confirmed"] == 1
    # The one sequence that was waited for is that of the last profile: all are in force with it.
    assert api.confirmer.asked == [Change.objects.order_by("-pk")[0].pk]
    assert not AccessProfile.objects.filter(active=True).exists()
    events = AuditEvent.objects.filter(action="profile.deactivate", target_id__in=ids[1:])
    assert events.count() == 2
    back = {"access_profile_ids": ids, "active": True}
    assert api.done("POST", "v2/access_profiles/bulk", back)["data"]["changed_ids"] == ids
    assert api.done("POST", "v2/access_profiles/bulk", back)["data"]["changed_ids"] == []


def test_profiles_move_to_another_client_of_their_project_and_no_further(api: Api) -> None:
    first, second = a_client(api, "A"), a_client(api, "B")
    ids = profiles_of(api, first, 2)
    epochs = list(AccessProfile.objects.order_by("pk").values_list("epoch", flat=True))
    sent = {"access_profile_ids": ids, "api_client_id": second}
    assert api.done("POST", "v2/access_profiles/bulk", sent)["data"]["changed_ids"] == ids
    for each, epoch in zip(AccessProfile.objects.order_by("pk"), epochs, strict=True):
        assert each.client_id == second
        # Leases that name the client before are worth nothing any more.
        assert each.epoch > epoch
    event = AuditEvent.objects.filter(action="profile.change").latest("pk")
    assert (event.before, event.after) == ({"client_id": first}, {"client_id": second})
    project = api.done("POST", "folders", {"name": "Other"})["id"]
    elsewhere = a_client(api, "C", project_id=project)
    status, answer = api("POST", "v2/access_profiles/bulk", sent | {"api_client_id": elsewhere})
    assert (status, set(answer["errors"])) == (400, {"api_client_id"})
    assert AccessProfile.objects.filter(client_id=second).count() == 2


def test_labels_are_added_and_taken_and_others_stay(api: Api) -> None:
    ids = profiles_of(api, a_client(api), 2)
    api.done("PUT", f"api_access_profiles/{ids[0]}", {"labels": {"team": "a", "old": "1"}})
    sent = {
        "access_profile_ids": ids,
        "labels": {"team": "b", "new": ""},
        "without_labels": ["old"],
    }
    assert api.done("POST", "v2/access_profiles/bulk", sent)["data"]["changed_ids"] == ids
    for each in AccessProfile.objects.all():
        assert each.labels == {"team": "b", "new": ""}
        assert each.active
    assert api.done("POST", "v2/access_profiles/bulk", sent)["data"]["changed_ids"] == []
    wrong = {"access_profile_ids": ids, "labels": {"Team": "b"}}
    assert set(api("POST", "v2/access_profiles/bulk", wrong)[1]["errors"]) == {"labels"}


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"active": False}, "access_profile_ids"),
        ({"access_profile_ids": [], "active": False}, "access_profile_ids"),
        ({"access_profile_ids": [999_999], "active": False}, "access_profile_ids"),
        ({"access_profile_ids": [1]}, "active"),
        ({"access_profile_ids": [1], "tag": "x"}, "tag"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_changes(
    api: Api, sent: dict[str, Any], field: str
) -> None:
    status, answer = api("POST", "v2/access_profiles/bulk", sent)
    assert (status, set(answer["errors"])) == (400, {field})


def test_one_profile_out_of_sight_or_right_stops_all(api: Api) -> None:
    project = api.done("POST", "folders", {"name": "Other"})["id"]
    ids = profiles_of(api, a_client(api), 1)
    theirs = profiles_of(api, a_client(api, "B", project_id=project), 1)
    sent = {"access_profile_ids": ids + theirs, "active": False}
    stranger = api.as_(admin=False, role="editor", project_ids=[project])
    status, answer = stranger("POST", "v2/access_profiles/bulk", sent)
    assert (status, answer["errors"]) == (
        400, {"access_profile_ids": [f"there is no access profile {ids[0]}"]}
    )  # fmt: skip
    viewer = api.as_(admin=False, role="viewer", everywhere=True)
    assert viewer("POST", "v2/access_profiles/bulk", sent)[0] == 403
    assert AccessProfile.objects.filter(active=True).count() == 2


def test_what_no_gateway_confirms_is_said(api: Api) -> None:
    ids = profiles_of(api, a_client(api), 2)
    api.confirmer.answers = False
    sent = {"access_profile_ids": ids, "active": False}
    status, answer = api("POST", "v2/access_profiles/bulk", sent)
    assert (status, answer["message"]) == (503, str(NotInForce()))


# --- credentials that consumers have already


def rows_of(handle: str, *secrets: str, **more: Any) -> list[dict[str, Any]]:
    return [
        {"client": "Acme", "profile": f"P{n}", "collections": [handle], "token": secret, **more}
        for n, secret in enumerate(secrets)
    ]


def test_a_dry_run_says_what_would_be_made_and_saves_nothing(api: Api) -> None:
    handle = a_collection(api)["handle"]
    changes, events = Change.objects.count(), AuditEvent.objects.count()
    sent = {"rows": rows_of(handle, SECRET, SECRET + "2"), "create_clients": True}
    made = api.done("POST", "v2/credential_imports", sent)["data"]
    assert made["applied"] is False
    assert [row["new_client"] for row in made["rows"]] == [True, False]
    assert {row["access_profile_id"] for row in made["rows"]} == {0}
    assert not Client.objects.exists()
    assert (Change.objects.count(), AuditEvent.objects.count()) == (changes, events)
    sent["apply"] = True
    made = api.done("POST", "v2/credential_imports", sent)["data"]
    assert Client.objects.get().name == "Acme"
    assert [row["access_profile_id"] for row in made["rows"]] == list(
        AccessProfile.objects.order_by("pk").values_list("pk", flat=True)
    )
    assert not any(SECRET in str(event.after) for event in AuditEvent.objects.all())


def test_a_value_and_its_digest_are_the_same_credential(api: Api) -> None:
    collection = a_collection(api)
    a_client(api)
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    by_digest = rows_of(str(collection["id"]), SECRET)
    by_digest[0] |= {"token": None, "token_sha256": digest}
    api.done("POST", "v2/credential_imports", {"rows": by_digest, "apply": True})
    assert bytes(Credential.objects.get().fingerprint).hex() == digest
    status, answer = api(
        "POST", "v2/credential_imports", {"rows": rows_of(collection["handle"], SECRET)}
    )
    assert (status, answer["errors"]) == (
        400, {"rows.0.token": ["belongs to another access profile already"]}
    )  # fmt: skip


def test_one_row_that_does_not_fit_stops_all_and_every_problem_names_its_row(api: Api) -> None:
    handle = a_collection(api)["handle"]
    for _ in range(2):
        a_client(api, "Twice")
    rows = rows_of(handle, SECRET, "short", SECRET + "3", SECRET + "4", SECRET + "5", SECRET)
    rows[2]["collections"] = ["nothing-v1"]
    rows[3]["client"] = "Twice"
    rows[4]["api_policy_id"] = 999_999
    sent = {"rows": rows, "create_clients": True, "apply": True}
    status, answer = api("POST", "v2/credential_imports", sent)
    assert status == 400
    assert answer["errors"] == {
        "rows.1.token": ["must have 16 to 512 characters"],
        "rows.2.collections": ["there is no API collection nothing-v1"],
        "rows.3.client": ["several clients are called Twice; give the id"],
        "rows.4.api_policy_id": ["there is no such policy"],
        "rows.5.token": ["belongs to another access profile already"],
    }
    assert not AccessProfile.objects.exists()
    status, answer = api("POST", "v2/credential_imports", {"rows": rows_of(handle, SECRET)})
    assert answer["errors"] == {"rows.0.client": ["there is no client Acme in the project"]}


def test_no_more_is_imported_than_the_token_may(api: Api) -> None:
    mine, other = (api.done("POST", "folders", {"name": name})["id"] for name in "AB")
    theirs = a_collection(api, "Theirs", project_id=other)["handle"]
    editor = api.as_(admin=False, role="editor", project_ids=[mine])
    sent = {"rows": rows_of(theirs, SECRET), "create_clients": True, "apply": True}
    _, answer = editor("POST", "v2/credential_imports", sent)
    assert answer["errors"] == {"rows.0.collections": [f"there is no API collection {theirs}"]}
    viewer = api.as_(admin=False, role="viewer", project_ids=[mine, other])
    assert viewer("POST", "v2/credential_imports", sent | {"project_id": other})[0] == 400
    assert not access_profiles.profiles(SYSTEM).exists()


def test_credentials_of_hidden_projects_are_not_revoked_and_none_with_them(api: Api) -> None:
    here, there = _a_profile(api, api.home), _a_profile(api, _another_project(api))
    ids = sorted(Credential.objects.values_list("pk", flat=True))
    editor = api.as_(admin=False, role="editor", project_ids=[api.home])
    status, answer = editor("POST", "v2/credentials/revoke", {"credential_ids": ids})
    assert status == 400
    hidden = Credential.objects.get(profile=there).pk
    assert answer["errors"] == {"credential_ids": [f"there is no credential {hidden}"]}
    assert not Credential.objects.exclude(revoked_at=None).exists()
    own = Credential.objects.get(profile=here).pk
    changed = editor.done("POST", "v2/credentials/revoke", {"credential_ids": [own]})["data"]
    assert changed["changed_ids"] == [own]
    again = editor.done("POST", "v2/credentials/revoke", {"credential_ids": [own]})["data"]
    assert again["changed_ids"] == []


def test_a_credential_is_found_given_an_end_and_works_again_when_that_is_lifted(api: Api) -> None:
    profile = _a_profile(api, api.home)
    found = api.done("GET", "v2/credentials?never_used=true&effective_state=active")
    (shown,) = found["data"]
    assert (shown["access_profile_id"], shown["api_client"]) == (profile, f"In {api.home}")
    by_mask = api.done("GET", f"v2/credentials?{urlencode({'search': shown['masked']})}")
    assert [each["id"] for each in by_mask["data"]] == [shown["id"]]
    path = f"v2/credentials/{shown['id']}"
    answer = api.answer("GET", path)
    version, one = answer["ETag"], answer.json()["data"]
    ended = api.done("PUT", path, one | {"expires_at": "2099-01-31T12:00:00Z"})["data"]
    assert ended["expires_at"].startswith("2099-01-31T12:00:00")
    assert ended["revocation"]["confirmed"] == 1
    assert api("PUT", path, {"expires_at": None}, **{"If-Match": version})[0] == 412
    assert api.done("PUT", path, {})["data"]["expires_at"] == ended["expires_at"]
    Credential.objects.update(expires_at=timezone.now() - timedelta(days=1))
    assert api.done("GET", path)["data"]["effective_state"] == "expired"
    current = api.answer("GET", path)["ETag"]
    status, lifted = api("PUT", path, {"expires_at": None}, **{"If-Match": current})
    assert status == 200
    assert lifted["data"]["effective_state"] == "active"
    assert lifted["data"]["expires_at"] is None


def test_the_end_of_a_credential_is_for_editors_and_not_of_a_revoked_one(api: Api) -> None:
    _a_profile(api, api.home)
    _a_profile(api, _another_project(api))
    own, hidden = Credential.objects.order_by("pk").values_list("pk", flat=True)
    viewer = api.as_(admin=False, role="viewer", project_ids=[api.home])
    assert [each["id"] for each in viewer.done("GET", "v2/credentials")["data"]] == [own]
    end = {"expires_at": "2099-01-31T12:00:00Z"}
    assert viewer("PUT", f"v2/credentials/{own}", end)[0] == 403
    assert viewer("PUT", f"v2/credentials/{hidden}", end)[0] == 404
    assert viewer("GET", f"v2/credentials/{hidden}")[0] == 404
    api.done("POST", "v2/credentials/revoke", {"credential_ids": [own]})
    status, answer = api("PUT", f"v2/credentials/{own}", end)
    assert (status, list(answer["errors"])) == (400, ["expires_at"])
    assert Credential.objects.get(pk=own).expires_at is None


def test_clients_are_switched_all_or_none(api: Api) -> None:
    profile = AccessProfile.objects.get(pk=_a_profile(api, api.home))
    body = {"api_client_ids": [profile.client_id, 9999], "active": False}
    status, answer = api("POST", "v2/api_clients/bulk", body)
    assert (status, answer["errors"]) == (400, {"api_client_ids": ["there is no client 9999"]})
    assert Client.objects.get(pk=profile.client_id).active
    done = api.done("POST", "v2/api_clients/bulk", {**body, "api_client_ids": [profile.client_id]})
    assert done["data"]["changed_ids"] == [profile.client_id]
    assert not Client.objects.get(pk=profile.client_id).active


def test_a_bulk_grant_needs_the_right_to_grant_and_leaves_followers_alone(api: Api) -> None:
    profile = _a_profile(api, api.home)
    other = _another_project(api)
    _a_profile(api, other)
    hidden = AccessProfile.objects.exclude(pk=profile).get().collections.get().pk
    editor = api.as_(admin=False, role="editor", project_ids=[api.home])
    body = {"access_profile_ids": [profile], "add_api_collection_ids": [hidden]}
    status, answer = editor("POST", "v2/access_profiles/bulk", body)
    assert status == 400
    assert answer["errors"] == {"add_api_collection_ids": [f"there is no API collection {hidden}"]}
    AccessProfile.objects.filter(pk=profile).update(follows_client=True)
    status, answer = api("POST", "v2/access_profiles/bulk", body)
    assert status == 400
    assert "follows its client" in str(answer["errors"])


def _another_project(api: Api) -> int:
    return int(api.done("POST", "folders", {"name": "Other"})["project_id"])


def _a_profile(api: Api, project: int) -> int:
    name = f"In {project}"
    given = {"name": name, "project_id": project, "input": {"base_url": "http://10.0.0.1"}}
    connection = api.done("POST", "connections", given)["id"]
    given = {"name": name, "project_id": project, "proxy_connection_id": connection}
    collection = api.done("POST", "api_collections", given)["id"]
    client = api.done("POST", "api_clients", {"name": name, "project_id": project})["result"]
    given = {
        "name": name, "api_client_id": client["id"], "api_collection_ids": [collection],
        "auth_type": "token",
    }  # fmt: skip
    return int(api.done("POST", "api_access_profiles", given)["result"]["id"])
