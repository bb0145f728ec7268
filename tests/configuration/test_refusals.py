"""What would be refused when a plan is applied is refused when it is planned, with its place."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.api.conftest import Api
from tests.configuration.test_plans import applied, files, plan, refused

from ostiary.directory.models import AccessProfile

PROFILE = "clients.0.profiles.0"
GUESSABLE = "abababababababababababababababababab"


def with_profile(**fields: Any) -> Any:
    content = files()
    content["clients"][0]["profiles"][0] |= fields
    return content


def with_connection(**fields: Any) -> Any:
    content = files()
    content["connections"][0] |= fields
    return content


def with_endpoints(*endpoints: Any) -> Any:
    content = files()
    content["collections"][0]["endpoints"] = list(endpoints)
    return content


ENDPOINT = {"method": "GET", "path": "/a/{x}", "name": "A"}
PAST = (datetime.now(UTC) - timedelta(days=1)).isoformat()
SIGNED = {"auth_type": "jwt", "jwt_method": "hmac", "jwt_secret": {"env": "KEY"}}


@pytest.mark.parametrize(
    ("content", "place"),
    [
        pytest.param(with_profile(token_sha256="abc"), f"{PROFILE}.token_sha256", id="digest"),
        pytest.param(
            with_profile(auth_type="oauth2", token_sha256="a" * 64), f"{PROFILE}.token_sha256", id="method"
        ),
        pytest.param(with_profile(profile_key="x"), f"{PROFILE}.profile_key", id="profile-key"),
        pytest.param(with_profile(expires_at=PAST), f"{PROFILE}.expires_at", id="past"),
        pytest.param(with_profile(auth_type=None), f"{PROFILE}.auth_type", id="null-method"),
        pytest.param(with_profile(auth_type="jwt"), f"{PROFILE}.jwt_method", id="no-method"),
        pytest.param(with_profile(auth_type="oidc"), f"{PROFILE}.oidc_issuer", id="no-issuer"),
        pytest.param(with_profile(audience="x"), f"{PROFILE}.audience", id="not-signed"),
        pytest.param(with_connection(auth_type="header", auth_secret={"env": "KEY"}), "connections.0.auth_name", id="no-name"),
        pytest.param(
            with_connection(auth_type="header", auth_name="X-Key"), "connections.0.auth_secret", id="no-secret"
        ),
        pytest.param(
            with_connection(base_url=["http://192.0.2.1", "https://192.0.2.1"]), "connections.0.base_url",
            id="schemes",
        ),
        pytest.param(
            with_endpoints(ENDPOINT, ENDPOINT | {"path": "/a/{y}"}), "collections.0.endpoints.1.path", id="shape"
        ),
        pytest.param(
            with_endpoints(ENDPOINT | {"target_path": "/b/{y}"}), "collections.0.endpoints.0.target_path",
            id="target",
        ),
        pytest.param(
            with_endpoints(ENDPOINT | {"validate_request": True}), "collections.0.endpoints.0.validate_request",
            id="validation",
        ),
        pytest.param(
            files(address_lists=[{"key": "office", "name": "Office", "entries": [5, None]}]),
            "address_lists.0.entries", id="numbers",
        ),
        pytest.param(
            files(address_lists=[{"key": "office", "name": "Office", "entries": ["300.0.0.1"]}]),
            "address_lists.0.entries", id="address",
        ),
        pytest.param(
            files(address_lists=[{"key": "office", "name": "Office", "entries": []}]),
            "address_lists.0.entries", id="empty",
        ),
        pytest.param(
            files(policies=[{"key": "standard", "name": "A"}, {"key": "b", "name": "A"}]), "policies.1.name",
            id="name",
        ),
    ],
)  # fmt: skip
def test_a_plan_refuses_what_could_not_be_made(api: Api, content: Any, place: str) -> None:
    assert list(refused(api, content)) == [place]


@pytest.mark.parametrize("secret", ["short", GUESSABLE])
def test_a_plan_refuses_a_secret_that_can_be_guessed(api: Api, secret: str) -> None:
    name = "profiles.nightly.jwt_secret"
    assert list(refused(api, with_profile(**SIGNED), secrets={name: secret})) == [
        f"{PROFILE}.jwt_secret"
    ]
    # One that the command has not found is needed later.
    assert plan(api, with_profile(**SIGNED))["counts"]["create"]


def test_a_plan_refuses_to_rotate_what_has_no_secret(api: Api) -> None:
    content = with_profile(auth_type="oidc", oidc_issuer="https://issuer.example")
    applied(api, content)
    content["clients"][0]["profiles"][0]["rotate"] = 1
    assert list(refused(api, content)) == [f"{PROFILE}.rotate"]


def test_a_plan_refuses_what_others_have(api: Api) -> None:
    applied(api, with_profile(token_sha256="a" * 64))
    content = files(set="other", policies=[], address_lists=[], connections=[], collections=[])
    content["clients"] = [
        {"key": "b", "name": "B", "profiles": [
            {"key": "c", "name": "C", "auth_type": "token", "token_sha256": "a" * 64,
             "collections": ["orders-v1"]}]}
    ]  # fmt: skip
    assert list(refused(api, content)) == [f"{PROFILE}.token_sha256"]
    api.done("POST", "folders", {"name": "Other"})
    content = files(project="Other", set="other", clients=[])
    assert list(refused(api, content)) == ["collections.0.key"]


def test_names_may_be_exchanged_where_each_is_free_in_its_turn(api: Api) -> None:
    content = files(policies=[{"key": "standard", "name": "A"}, {"key": "b", "name": "B"}])
    applied(api, content)
    content["policies"][0]["name"], content["policies"][1]["name"] = "C", "A"
    applied(api, content)
    content["policies"][0]["name"], content["policies"][1]["name"] = "A", "D"
    assert list(refused(api, content)) == ["policies.0.name"]


def test_an_expiry_that_is_over_may_stay(api: Api) -> None:
    applied(api, files())
    AccessProfile.objects.update(expires_at=PAST)
    exported = api.done("GET", "v2/configuration?set=payments")["data"]
    assert plan(api, exported)["changes"] == []
    exported["clients"][0]["profiles"][0]["name"] = "Renamed"
    applied(api, exported)


def test_what_was_moved_to_another_project_can_be_taken_over_there(api: Api) -> None:
    applied(api, files(clients=[{"key": "acme", "name": "ACME"}]))
    other = api.done("POST", "folders", {"name": "Other"})["project_id"]
    (client,) = api.done("GET", "api_clients")
    api.done("PUT", f"api_clients/{client['id']}", {"project_id": other})
    content = {"format": 1, "set": "other", "project": "Other"}
    content["clients"] = [{"key": "acme", "name": "ACME"}]
    assert applied(api, content, adopt=True)["counts"]["adopt"] == 1
    assert plan(api, content)["changes"] == []


def test_a_secret_that_was_changed_by_hand_has_drifted(api: Api) -> None:
    secrets = {"connections.orders.auth_secret": "opensesame"}
    content = with_connection(
        auth_type="header", auth_name="X-Key", auth_secret={"env": "ORDERS_KEY"}
    )
    applied(api, content, secrets=secrets)
    (connection,) = api.done("GET", "connections")
    api.done("PUT", f"connections/{connection['id']}", {"input": {"auth_secret": "by hand"}})
    (change,) = plan(api, content, secrets=secrets)["changes"]
    assert [(f["name"], f["old"], f["drifted"]) for f in change["fields"]] == [
        ("auth_secret", "(secret)", True)
    ]
    applied(api, content, secrets=secrets)
    assert plan(api, content, secrets=secrets)["changes"] == []
