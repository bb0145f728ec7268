"""Clients with defaults and their API keys: the newer dialect, and what it shows of the older."""

from typing import Any

import pytest
from tests.api.conftest import Api

from ostiary.directory.models import AccessProfile, AuditEvent, Change

SHARED = "correct horse battery staple, and then some 1"
OTHER = "another horse with a different battery, number 2"


def a_collection(api: Api, name: str, **more: Any) -> int:
    connection = api.done(
        "POST", "connections", {"name": name, "input": {"base_url": "http://10.0.0.1:81/"}, **more}
    )
    given = {"name": name, "proxy_connection_id": connection["id"], **more}
    return int(api.done("POST", "api_collections", given)["id"])


@pytest.fixture
def orders(api: Api) -> int:
    return a_collection(api, "Orders")


@pytest.fixture
def stock(api: Api) -> int:
    return a_collection(api, "Stock")


def a_client(api: Api, *collections: int, **more: Any) -> Any:
    given = {"name": "Acme", "auth_type": "token", "api_collection_ids": list(collections), **more}
    return api.done("POST", "v2/api_clients", given)["data"]


def a_key(api: Api, client: Any, **more: Any) -> Any:
    path = f"v2/api_clients/{client['id']}/api_keys"
    return api.done("POST", path, {"name": "k", "active": True, **more})["data"]


def a_profile(api: Api, client: Any, *collections: int, **more: Any) -> Any:
    given = {
        "name": "own", "api_client_id": client["id"], "auth_type": "token",
        "api_collection_ids": list(collections), **more,
    }  # fmt: skip
    return api.done("POST", "api_access_profiles", given)["result"]


def shown(api: Api, client: Any) -> Any:
    return api.done("GET", f"v2/api_clients/{client['id']}")["data"]


def profile(api: Api, key: Any) -> Any:
    return api.done("GET", f"api_access_profiles/{key['id']}")["result"]


def test_a_client_has_the_fields_that_tools_insist_on(api: Api, orders: int) -> None:
    client = a_client(api, str(orders), mtls_enabled=False, email="", cert_bundle_ids=[])  # type: ignore[arg-type]  # some send texts of digits
    wanted = {
        "is_legacy": False, "auth_type": "token", "logo": None, "logo_2x": None, "api_token": None,
        "api_policies": [], "api_collections": [{"id": orders, "name": "Orders"}], "email": None,
        "active_api_keys_count": 0, "total_api_keys_count": 0, "mtls_enabled": False,
        "cert_bundle_ids": [], "validation_formula": None, "project_id": api.home, "description": "",
    }  # fmt: skip
    assert {name: client[name] for name in wanted} == wanted
    listed = api.done("GET", "v2/api_clients")
    assert (listed["count"], listed["page"], listed["per_page"]) == (1, 1, 100)
    assert {name: listed["data"][0][name] for name in wanted} == wanted
    assert api.done("GET", f"v2/api_clients?project_id={api.home + 50}")["count"] == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("mtls_enabled", True),
        ("validation_formula", "x == 1"),
        ("cert_bundle_ids", [1]),
        ("api_portal_id", 3),
        ("email", "a@example.com"),
        ("api_collection_ids", []),
        ("auth_type", "magic"),
    ],
)
def test_what_does_not_exist_is_refused_by_name(
    api: Api, orders: int, field: str, value: object
) -> None:
    given = {"name": "A", "auth_type": "token", "api_collection_ids": [orders], field: value}
    status, answer = api("POST", "v2/api_clients", given)
    assert (status, list(answer["errors"])) == (400, [field])
    assert api("GET", "v2/api_clients?cert_bundle_ids=1&cert_bundle_ids=2")[0] == 400


def test_a_profile_may_say_that_it_has_no_client_certificates(api: Api, orders: int) -> None:
    client = a_client(api, orders)
    a_profile(api, client, orders, mtls_enabled=False, validation_formula="", cert_bundle_ids=[])
    given = {
        "name": "P", "api_client_id": client["id"], "auth_type": "token",
        "api_collection_ids": [orders], "mtls_enabled": True,
    }  # fmt: skip
    assert api("POST", "api_access_profiles", given)[0] == 400


def test_a_key_shows_its_token_once_and_a_mask_from_then_on(api: Api, orders: int) -> None:
    client = a_client(api, orders)
    key = a_key(api, client, ip_allow_list=["127.0.0.1", "10.0.0.0/8"], active=False)
    assert len(key["auth_token"]) > 40
    assert key["active"] is False
    assert key["active_since"]
    assert key["follows_client"] is True
    assert key["ip_allow_list"] == ["127.0.0.1", "10.0.0.0/8"]
    path = f"v2/api_clients/{client['id']}/api_keys"
    listed = api.done("GET", path)
    assert (listed["count"], listed["page"], listed["per_page"]) == (1, 1, 100)
    masked = listed["data"][0]["auth_token"]
    assert masked == f"{key['token_prefix']}…{key['auth_token'][-4:]}"
    assert shown(api, client)["api_keys"][0]["auth_token"] == masked
    again = api.done("PUT", f"{path}/{key['id']}/refresh_secret")["data"]
    assert again["revocation"]["confirmed"] == 1
    assert len(again["auth_token"]) > 40
    assert again["auth_token"] != key["auth_token"]


def test_a_refresh_that_is_not_confirmed_still_shows_the_token(api: Api, orders: int) -> None:
    client = a_client(api, orders)
    key = a_key(api, client)
    api.confirmer.answers = False
    path = f"v2/api_clients/{client['id']}/api_keys/{key['id']}/refresh_secret"
    status, answer = api("PUT", path)
    assert (status, answer["code"]) == (503, "not_in_force")
    assert len(answer["data"]["auth_token"]) > 40


def test_keys_are_switched_changed_and_deleted_under_a_receipt(api: Api, orders: int) -> None:
    client = a_client(api, orders)
    key = a_key(api, client)
    path = f"v2/api_clients/{client['id']}/api_keys/{key['id']}"
    for verb, active in (("disable", 0), ("enable", 1)):
        answer = api.done("PUT", f"{path}/{verb}")
        assert answer["success"] is True
        assert answer["revocation"]["confirmed"] == 1
        assert shown(api, client)["active_api_keys_count"] == active
    changed = api.done("PUT", path, {"name": "K", "ip_deny_list": ["10.1.0.0/16"]})["data"]
    assert (changed["name"], changed["ip_deny_list"]) == ("K", ["10.1.0.0/16"])
    assert changed["revocation"]["confirmed"] == 1
    assert api("PUT", path, {"api_collection_ids": [orders + 99]})[0] == 400
    assert api.done("DELETE", path)["revocation"]["confirmed"] == 1
    assert api("GET", path)[0] == 404
    assert api.done("DELETE", f"v2/api_clients/{client['id']}")["success"] is True


def test_keys_of_another_client_are_not_found(api: Api, orders: int) -> None:
    client, other = a_client(api, orders), a_client(api, orders)
    key = a_key(api, client)
    path = f"v2/api_clients/{other['id']}/api_keys/{key['id']}"
    for method, tail in (
        ("GET", ""), ("PUT", ""), ("DELETE", ""), ("PUT", "/enable"), ("PUT", "/disable"),
        ("PUT", "/refresh_secret"),
    ):  # fmt: skip
        content: dict[str, str] | None = {} if method == "PUT" else None
        assert api(method, path + tail, content)[0] == 404
    assert api("GET", "v2/api_clients/999/api_keys")[0] == 404


def test_changing_the_defaults_changes_all_that_follow_under_one_receipt(
    api: Api, orders: int, stock: int
) -> None:
    client = a_client(api, orders)
    keys = [a_key(api, client, name=f"k{number}") for number in range(3)]
    own = a_profile(api, client, orders)
    policy = api.done(
        "POST", "v2/api_policies", {"name": "Ten", "rate_limit": {"limit": 10, "interval": "day"}}
    )["data"]
    feed, asked = Change.objects.count(), len(api.confirmer.asked)
    given = {"api_collection_ids": [stock], "api_policy_id": policy["id"]}
    answer = api.done("PUT", f"v2/api_clients/{client['id']}", given)["data"]
    assert answer["revocation"]["confirmed"] == 1
    assert answer["api_policies"] == [{"id": policy["id"], "name": "Ten"}]
    # One row in the change feed, whatever their number, and one wait.
    assert Change.objects.count() == feed + 1
    assert len(api.confirmer.asked) == asked + 1
    for key in keys:
        found = profile(api, key)
        assert found["api_collection_ids"] == [stock]
        assert found["api_policy_id"] == policy["id"]
        assert found["epoch"] > key["epoch"]
    assert profile(api, own)["api_collection_ids"] == [orders]
    event = AuditEvent.objects.filter(action="client.defaults").latest("pk")
    assert event.after["followers"] == 3


def test_a_new_key_has_what_the_defaults_say_by_then(api: Api, orders: int, stock: int) -> None:
    client = a_client(api, orders)
    api.done("PUT", f"v2/api_clients/{client['id']}", {"api_collection_ids": [orders, stock]})
    assert a_key(api, client)["api_collection_ids"] == [orders, stock]


def test_a_change_of_the_name_alone_touches_no_key(api: Api, orders: int) -> None:
    client = a_client(api, orders)
    key = a_key(api, client)
    asked = len(api.confirmer.asked)
    api.done("PUT", f"v2/api_clients/{client['id']}", {"name": "Other"})
    assert len(api.confirmer.asked) == asked
    assert profile(api, key)["epoch"] == key["epoch"]
    assert api("PUT", f"v2/api_clients/{client['id']}", {"auth_type": "jwt"})[0] == 400


def test_a_follower_keeps_what_its_client_says_until_it_is_detached(
    api: Api, orders: int, stock: int
) -> None:
    client = a_client(api, orders)
    key = a_key(api, client)
    path = f"api_access_profiles/{key['id']}"
    for given in (
        {"api_collection_ids": [stock]},
        {"audience": "x"},
        {"jwt_secret": SHARED},
    ):
        assert api("PUT", path, given)[0] == 400
    # What was answered may come back.
    same = {"api_collection_ids": [orders], "api_policy_id": None, "name": "Renamed"}
    assert api.done("PUT", path, same)["result"]["follows_client"] is True
    detached = api.done("PUT", path, {"follows_client": False, "api_collection_ids": [stock]})
    assert detached["result"]["api_collection_ids"] == [stock]
    assert shown(api, client)["is_legacy"] is True
    api.done("PUT", f"v2/api_clients/{client['id']}", {"api_collection_ids": [orders, stock]})
    assert profile(api, key)["api_collection_ids"] == [stock]
    again = api.done("PUT", path, {"follows_client": True})["result"]
    assert again["api_collection_ids"] == [orders, stock]
    assert shown(api, client)["is_legacy"] is False


def test_profiles_of_the_older_dialect_are_keys_with_settings_of_their_own(
    api: Api, orders: int, stock: int
) -> None:
    client = api.done("POST", "api_clients", {"name": "Old"})["result"]
    a_profile(api, client, orders, active=False)
    oauth = a_profile(api, client, stock, auth_type="oauth2")
    found = shown(api, client)
    assert found["is_legacy"] is True
    assert found["auth_type"] == "token"
    assert found["api_collection_ids"] == [orders, stock]
    assert (found["total_api_keys_count"], found["active_api_keys_count"]) == (2, 1)
    assert all(key["auth_token"] and key["active_since"] for key in found["api_keys"])
    assert [key["follows_client"] for key in found["api_keys"]] == [False, False]
    path = f"v2/api_clients/{client['id']}/api_keys/{oauth['id']}/refresh_secret"
    again = api.done("PUT", path)["data"]
    assert len(again["oauth_client_secret"]) > 40
    assert again["oauth_client_id"] != oauth["oauth_client_id"]
    # What is shown can be sent back, and makes no defaults.
    same = {"auth_type": "token", "api_collection_ids": [orders, stock], "name": "Renamed"}
    api.done("PUT", f"v2/api_clients/{client['id']}", same)
    assert not AuditEvent.objects.filter(action="client.defaults").exists()


def test_the_first_key_of_an_older_client_follows_what_is_shown_of_it(
    api: Api, orders: int, stock: int
) -> None:
    client = api.done("POST", "api_clients", {"name": "Old"})["result"]
    path = f"v2/api_clients/{client['id']}/api_keys"
    assert api("POST", path, {"name": "k", "active": True})[0] == 400
    policy = api.done("POST", "v2/api_policies", {"name": "P"})["data"]["id"]
    a_profile(api, client, orders, api_policy_id=policy)
    second = a_profile(api, client, stock)
    # Different policies: nothing is guessed.
    status, answer = api("POST", path, {"name": "k", "active": True})
    assert (status, list(answer["errors"])) == (400, ["api_policy_id"])
    api.done("PUT", f"api_access_profiles/{second['id']}", {"api_policy_id": policy})
    key = a_key(api, client)
    assert (key["api_collection_ids"], key["api_policy_id"]) == ([orders, stock], policy)
    assert "defaults" in key["warnings"][0]


def test_a_client_has_twenty_keys_at_most_and_any_number_of_profiles(api: Api, orders: int) -> None:
    client = a_client(api, orders)
    for number in range(19):
        a_key(api, client, name=f"k{number}")
    a_profile(api, client, orders)
    given = {"name": "k", "active": True}
    assert api("POST", f"v2/api_clients/{client['id']}/api_keys", given)[0] == 400
    a_profile(api, client, orders)
    assert AccessProfile.objects.count() == 21


def test_jwt_keys_show_their_profile_key_and_follow_the_shared_secret(
    api: Api, orders: int
) -> None:
    client = a_client(
        api, orders, auth_type="jwt", jwt_method="hmac", jwt_secret=SHARED,
        oidc_issuer="https://issuer.example/",
    )  # fmt: skip
    assert client["jwt_method"] == "hmac"
    assert SHARED not in str(client)
    key = a_key(api, client)
    assert key["auth_token"] == key["profile_key"]
    sealed = AccessProfile.objects.get().sealed_secret
    assert sealed
    api.done("PUT", f"v2/api_clients/{client['id']}", {"jwt_secret": OTHER})
    assert AccessProfile.objects.get().sealed_secret != sealed
    path = f"v2/api_clients/{client['id']}/api_keys/{key['id']}/refresh_secret"
    assert api("PUT", path)[0] == 400


def test_what_defaults_name_cannot_be_deleted(api: Api, orders: int) -> None:
    policy = api.done("POST", "v2/api_policies", {"name": "P"})["data"]["id"]
    a_client(api, orders, api_policy_id=policy)
    assert api("DELETE", f"api_collections/{orders}")[0] == 409
    assert api("DELETE", f"v2/api_policies/{policy}")[0] == 409


def test_defaults_grant_only_what_their_editor_may_grant(api: Api) -> None:
    theirs = api.done("POST", "folders", {"name": "Theirs"})["id"]
    secret = a_collection(api, "Secret", project_id=theirs)
    mine = api.done("POST", "folders", {"name": "Mine"})["id"]
    editor = api.as_(admin=False, role="editor", project_ids=[mine])
    given = {"name": "A", "auth_type": "token", "api_collection_ids": [secret], "project_id": mine}
    assert editor("POST", "v2/api_clients", given)[0] == 400
    client = api.done("POST", "v2/api_clients", given)["data"]
    # An admin has granted it: the editor sees that there is one, not which.
    assert shown(editor, client)["api_collections"] == [
        {"id": secret, "name": "one of another project"}
    ]
    assert api("DELETE", f"projects/{theirs}?force=true")[0] == 403


def test_what_was_answered_can_be_sent_back_with_one_field_changed(
    api: Api, orders: int, stock: int
) -> None:
    client = a_client(api, orders)
    key = a_key(api, client)
    a_profile(api, client, stock)
    path = f"v2/api_clients/{client['id']}"
    asked = len(api.confirmer.asked)
    whole = shown(api, client)
    again = api.done("PUT", path, {**whole, "description": "Another"})["data"]
    assert again["description"] == "Another"
    assert api("PUT", path, {**shown(api, client), "is_legacy": False})[0] == 400
    read = api.done("GET", f"{path}/api_keys/{key['id']}")["data"]
    changed = api.done("PUT", f"{path}/api_keys/{key['id']}", {**read, "name": "K"})["data"]
    assert (changed["name"], changed["follows_client"]) == ("K", True)
    status, answer = api("PUT", f"{path}/api_keys/{key['id']}", {"api_collection_ids": [stock]})
    assert (status, list(answer["errors"])) == (400, ["api_collection_ids"])
    # A description is nothing that a gateway knows, a key's change is.
    assert len(api.confirmer.asked) == asked + 1


def test_a_preview_of_defaults_names_what_followers_would_have(
    api: Api, orders: int, stock: int
) -> None:
    client = a_client(api, orders)
    key = a_key(api, client)
    given = {"api_client_id": client["id"], "change": {"api_collection_ids": [stock]}}
    assert api.done("POST", "v2/preview", given)["data"]["changes_nothing"] is False
    assert profile(api, key)["api_collection_ids"] == [orders]
    given["change"] = {"name": "Other"}
    assert api.done("POST", "v2/preview", given)["data"]["changes_nothing"] is True


def test_no_client_has_a_number_beyond_the_databases(api: Api) -> None:
    for method in ("GET", "DELETE"):
        assert api(method, f"v2/api_clients/{2**80}/api_keys/1")[0] == 404
