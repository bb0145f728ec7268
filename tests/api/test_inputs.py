"""What may be sent to the API: absent, null and empty are three things, and mistakes have their names."""

from collections.abc import Mapping
from typing import Any

import pytest
from django.db.models import Model
from tests.api.conftest import Api

from ostiary.directory import models
from ostiary.directory.actor import SYSTEM
from ostiary.directory.catalog import collections, connections, endpoints
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.changes.inputs import Input
from ostiary.directory.clients import access_profiles, address_lists, clients, policies

NOUNS: Mapping[type[Input], type[Model]] = {
    policies.PolicyInput: models.Policy,
    connections.ConnectionInput: models.Connection,
    address_lists.AddressListInput: models.AddressList,
    collections.CollectionInput: models.Collection,
    endpoints.EndpointInput: models.Endpoint,
    clients.ClientInput: models.Client,
    access_profiles.ProfileInput: models.AccessProfile,
    access_profiles.NewProfileInput: models.AccessProfile,
}
NEXT_YEAR = "2999-01-31T12:00:00.000Z"


@pytest.fixture
def profile(api: Api) -> Any:
    connection = api.done(
        "POST", "connections", {"name": "Up", "input": {"base_url": "https://up.example.com"}}
    )
    collection = api.done(
        "POST", "api_collections", {"name": "Things", "proxy_connection_id": connection["id"]}
    )
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    policy = api.done("POST", "v2/api_policies", {"name": "P"})["data"]
    given = {
        "name": "Script", "api_client_id": client["id"], "api_collection_ids": [collection["id"]],
        "auth_type": "token", "api_policy_id": policy["id"], "expires_at": NEXT_YEAR,
        "ip_allow_list": ["192.0.2.0/24"],
    }  # fmt: skip
    return api.done("POST", "api_access_profiles", given)["result"]


def put(api: Api, profile: Any, **change: Any) -> tuple[int, Any]:
    return api("PUT", f"api_access_profiles/{profile['id']}", change)


def test_what_is_absent_stays_and_null_takes_it_away(api: Api, profile: Any) -> None:
    names = ("api_policy_id", "expires_at", "ip_allow_list")
    _, answer = put(api, profile, name="Other")
    assert [answer["result"][name] for name in names] == [profile[name] for name in names]
    _, answer = put(api, profile, api_policy_id=None, expires_at=None)
    assert [answer["result"][name] for name in names] == [None, None, ["192.0.2.0/24"]]
    _, answer = put(api, profile, ip_allow_list=[])
    assert answer["result"]["ip_allow_list"] == []


@pytest.mark.parametrize("field", ["name", "ip_allow_list", "api_collection_ids", "active"])
def test_null_is_refused_where_there_is_no_none(api: Api, profile: Any, field: str) -> None:
    status, answer = put(api, profile, **{field: None})
    assert (status, list(answer["errors"])) == (400, [field])
    assert (
        api.done("GET", f"api_access_profiles/{profile['id']}")["result"][field] == (profile[field])
    )


def test_what_is_shown_of_a_profile_can_be_sent_back(api: Api, profile: Any) -> None:
    body = access_profiles.ProfileInput.model_fields
    names = [field.alias or name for name, field in body.items()]
    status, answer = put(api, profile, **{name: profile[name] for name in names})
    assert status == 200, answer
    assert all(answer["result"][name] == profile[name] for name in names)


def test_what_is_shown_of_an_endpoint_can_be_sent_back(api: Api, profile: Any) -> None:
    path = f"api_collections/{profile['api_collection_ids'][0]}/api_endpoints"
    endpoint = api.done("POST", path, {"name": "One", "method": "GET", "path": "/orders/{id}"})
    assert endpoint["validate_request"] is False
    fields = endpoints.EndpointInput.model_fields
    given = {name: endpoint[name] for name in (f.alias or n for n, f in fields.items())}
    back = api.done("PUT", f"api_endpoints/{endpoint['id']}", given)
    assert {name: back[name] for name in given} == given
    status, answer = api("PUT", f"api_endpoints/{endpoint['id']}", {"validate_request": True})
    assert (status, list(answer["errors"])) == (400, ["validate_request"])


@pytest.mark.parametrize(
    ("change", "field", "code", "sentence"),
    [
        pytest.param({"name": " "}, "name", "blank", "can't be blank", id="blank"),
        pytest.param(
            {"leeway_seconds": True}, "leeway_seconds", "out_of_range",
            "must be a whole number from 0 to 300", id="true-is-no-number",
        ),
        pytest.param(
            {"expires_at": "soon"}, "expires_at", "time",
            "must be a date and time, such as 2030-01-31T12:00:00Z", id="no-date",
        ),
        pytest.param(
            {"expires_at": 5}, "expires_at", "time",
            "must be a date and time, such as 2030-01-31T12:00:00Z", id="a-number-is-no-date",
        ),
        pytest.param(
            {"api_collection_ids": [1, "x"]}, "api_collection_ids", "id",
            "entry 2 must be a whole number from 1 to 2147483647", id="an-entry-by-its-place",
        ),
        pytest.param(
            {"auth_type": "oauth2"}, "auth_type", "fixed", "can't be changed", id="fixed"
        ),
        pytest.param(
            {"collection_ids": [1]}, "collection_ids", "extra_forbidden",
            "Extra inputs are not permitted", id="a-name-of-the-directory",
        ),
    ],
)  # fmt: skip
def test_a_mistake_has_the_name_of_its_field_a_code_and_one_sentence(
    api: Api, profile: Any, change: dict[str, Any], field: str, code: str, sentence: str
) -> None:
    status, answer = put(api, profile, **change)
    assert (status, answer) == (
        400,
        {
            "message": "Validation failed",
            "code": "invalid_input",
            "errors": {field: [sentence]},
            "codes": {field: [code]},
        },
    )


def test_no_name_of_a_check_is_told(api: Api) -> None:
    question = {"api_policy_id": 1, "change": {"name": "P", "rate_limits": [{"limit": "x"}]}}
    _, answer = api("POST", "v2/preview", question)
    told = set(answer["errors"])
    assert "change.rate_limits.0.limit" in told
    assert not any("In" in name or "[" in name for name in told), told


def test_a_preview_refuses_another_client_as_the_change_does(api: Api, profile: Any) -> None:
    question = {"access_profile_id": profile["id"], "change": {"api_client_id": 999}}
    status, answer = api("POST", "v2/preview", question)
    assert (status, answer["errors"]) == (400, {"api_client_id": ["can't be changed"]})


def test_a_connection_stays_in_its_project(api: Api, profile: Any) -> None:
    other = api.done("POST", "folders", {"name": "Other"})["id"]
    [connection] = api.done("GET", "connections")
    path = f"connections/{connection['id']}"
    given = {"name": "Up", "input": {"base_url": "https://up.example.com"}}
    status, answer = api("PUT", path, {**given, "project_id": other})
    assert (status, answer["errors"]) == (400, {"project_id": ["can't be changed"]})
    assert api.done("PUT", path, {**given, "project_id": api.home})["project_id"] == api.home


@pytest.mark.parametrize(
    ("path", "content", "field"),
    [
        pytest.param(
            "api_collections", {"name": "C", "cors_exposed_headers": ["set-cookie"]},
            "cors_exposed_headers", id="a-cookie-is-not-exposed",
        ),
        pytest.param(
            "api_collections", {"name": "C", "cache_seconds": True}, "cache_seconds", id="cache"
        ),
        pytest.param(
            "connections",
            {"name": "C", "input": {"base_url": "https://a.example.com", "retries": True}},
            "retries", id="retries",
        ),
        pytest.param(
            "connections",
            {"name": "C", "input": {"base_url": "https://a.example.com", "weights": [True]}},
            "weights", id="weights",
        ),
        pytest.param(
            "v2/address_lists", {"name": "L", "entries": 5}, "entries", id="entries-by-one-name"
        ),
    ],
)  # fmt: skip
def test_what_was_taken_for_something_else_is_refused(
    api: Api, path: str, content: dict[str, Any], field: str
) -> None:
    status, answer = api("POST", path, content)
    assert (status, list(answer["errors"])) == (400, [field])


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "169.254.169.254:80", "2852039166", "fe80::1", "::ffff:169.254.169.254",
     "fd00:ec2::254"],
)  # fmt: skip
def test_no_admin_lets_ostiary_fetch_from_where_clouds_keep_secrets(api: Api, host: str) -> None:
    status, answer = api("PUT", "v2/settings", {"fetch_hosts": [host]})
    assert (status, list(answer["errors"])) == (400, ["fetch_hosts"])


@pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: noun.__name__)
def test_each_field_of_a_noun_is_a_column_or_named_as_none(noun: type[Input]) -> None:
    columns = {field.name for field in NOUNS[noun]._meta.get_fields()}
    assert set(noun.columns()) <= columns
    assert {*noun.required, *noun.fixed, *noun.apart} <= set(noun.model_fields)


def test_the_directory_says_its_own_names(api: Api, profile: Any) -> None:
    given = access_profiles.ProfileInput(collection_ids=[999_999])
    with pytest.raises(Invalid) as refused:
        access_profiles.change(by=SYSTEM, profile_id=profile["id"], given=given)
    [problem] = refused.value.problems
    assert (problem.field, problem.code) == ("collection_ids", "unknown")
