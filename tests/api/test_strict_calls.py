"""Nothing that a caller sends is dropped in silence: parameters, names, contradictions."""

from typing import Any

import pytest
from django.test import Client as Browser
from django.test import RequestFactory
from tests.api.conftest import Api
from tests.api.test_changes import NOUNS

from ostiary.api import parsing
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.models import Client, Recipe


def test_every_operation_refuses_an_unknown_parameter_by_its_name(api: Api) -> None:
    document = Browser().get("/api/openapi.json").json()
    tried = 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if "requestBody" in operation:
                continue
            where = path.removeprefix("/api/")
            needed = []
            for parameter in operation.get("parameters", []):
                name = parameter["name"]
                where = where.replace(f"{{{name}}}", "1")
                if parameter["in"] == "query" and parameter.get("required"):
                    needed.append(f"{name}=1")
            query = "&".join([*needed, "colour=red"])
            status, answer = api(method.upper(), f"{where}?{query}")
            assert (status, list(answer.get("errors", {}))) == (400, ["colour"]), (where, answer)
            tried += 1
    assert tried > 70


def test_a_call_with_an_unknown_parameter_makes_nothing(api: Api) -> None:
    status, answer = api("POST", "api_clients?dry_run=true", {"name": "Acme"})
    assert (status, answer["codes"]) == (400, {"dry_run": ["unknown"]})
    assert not Client.objects.exists()


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=1&page=2", "page"), ("wrap=data", "wrap"), ("per_page=1&name=Acme", "name"),
    ],
)  # fmt: skip
def test_what_a_query_cannot_mean_is_refused(api: Api, query: str, field: str) -> None:
    status, answer = api("GET", f"api_clients?{query}")
    assert (status, list(answer["errors"])) == (400, [field])


def test_a_flag_of_a_query_is_true_or_false(api: Api) -> None:
    assert api("DELETE", "folders/1?force=yes")[1]["errors"].keys() == {"force"}
    assert api("GET", "folders?with_nested_folders=true")[0] == 200


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ('{"name": "first", "name": "second"}', ["name"]),
        (
            '{"name": "a", "labels": {"team": "x", "team": "y"}, "name": "b"}',
            ["name", "labels.team"],
        ),
        ('[{"name": "a"}, {"name": "a", "name": "b"}]', ["1.name"]),
    ],
)
def test_a_name_stands_once_in_an_object(api: Api, body: str, fields: list[str]) -> None:
    status, answer = raw(api, body)
    assert (status, answer["errors"]) == (400, {field: ["is given twice"] for field in fields})
    assert not Client.objects.exists()


@pytest.mark.parametrize(
    "kind", ["application/json", "text/plain", "application/x-www-form-urlencoded", ""]
)
def test_a_body_is_json_whatever_its_type_says(api: Api, kind: str) -> None:
    assert raw(api, '{"name": "Acme"}', kind=kind)[0] == 200
    assert raw(api, "name=Acme", kind=kind)[0] == 400


@pytest.mark.parametrize("body", ['{"name": NaN}', "[" * 100_000, '{"name": "\ud800"}', "{"])
def test_what_is_no_json_is_refused(api: Api, body: str) -> None:
    assert raw(api, body)[0] == 400


def raw(api: Api, body: str, kind: str = "application/json") -> tuple[int, Any]:
    answer = Browser().generic(
        "POST", "/api/api_clients", body.encode(errors="surrogatepass"), content_type=kind,
        headers={"Authorization": f"Bearer {api.token}"},
    )  # fmt: skip
    return answer.status_code, answer.json()


@pytest.mark.parametrize(
    ("path", "content", "field"),
    [
        ("v2/tokens", {"name": "t", "admin": True, "role": "viewer"}, "role"),
        ("v2/tokens", {"name": "t", "admin": True, "project_ids": [1]}, "project_ids"),
        (
            "connections",
            {"name": "c", "input": {"base_url": "https://a.example.com", "auth_name": "X"}},
            "auth_name",
        ),
        (
            "connections",
            {"name": "c", "provider": "ftp", "input": {"base_url": "https://a.example.com"}},
            "provider",
        ),
        ("properties", {"properties": {"a": "1", " a": "2"}}, "properties"),
        ("api_clients", {"name": "c", "project_id": 999}, "project_id"),
        ("folders", {"name": "f", "parent_id": 999}, "parent_id"),
        ("v2/address_lists", {"name": "l", "entries": ["::1"], "project_id": 999}, "project_id"),
        (
            "api_access_profiles",
            {"name": "p", "api_client_id": 999, "api_collection_ids": [1], "auth_type": "token"},
            "api_client_id",
        ),
    ],
)
def test_what_contradicts_itself_or_names_nothing_is_refused_by_its_field(
    api: Api, path: str, content: dict[str, Any], field: str
) -> None:
    status, answer = api("POST", path, content)
    assert (status, list(answer["errors"])) == (400, [field]), answer


def test_a_recipe_is_shared_or_of_a_project(api: Api) -> None:
    path = f"recipes/{Recipe.objects.create(name='total').pk}"
    status, answer = api("PUT", path, {"shared": True, "project_id": api.home})
    assert (status, list(answer["errors"])) == (400, ["shared"])
    given = api.done("PUT", path, {"project_id": api.home})
    assert (given["project_id"], given["shared"]) == (api.home, False)
    given = api.done("PUT", path, {"shared": True})
    assert (given["project_id"], given["shared"]) == (None, True)


def test_a_connections_secret_goes_with_its_authentication(api: Api) -> None:
    path, _ = NOUNS["connection"].make(api)
    shown = api.done("GET", path)
    given = shown | {"input": shown["input"] | {"auth_type": "none"}}
    after = api.done("PUT", path, given)["input"]
    assert (after["auth_type"], after["auth_name"]) == ("none", "")
    status, answer = api("PUT", path, {"input": {"auth_type": "header", "auth_name": "X-Key"}})
    assert (status, list(answer["errors"])) == (400, ["auth_secret"])


RECEIPT = {"confirmed": 1, "of": 1, "ms": 0.1, "streams": 0, "nodes": []}


@pytest.mark.parametrize(
    ("noun", "calls"),
    [
        ("endpoint", [("PUT", "/disable"), ("PUT", ""), ("DELETE", "")]),
        ("collection", [("POST", "/purge_cache"), ("PUT", ""), ("DELETE", "")]),
        ("connection", [("PUT", ""), ("DELETE", "")]),
        ("policy", [("PUT", "")]),
        ("address list", [("PUT", ""), ("DELETE", "")]),
        ("recipe", [("PUT", "/stop")]),
        ("settings", [("PUT", "")]),
        ("profile", [("PUT", "/refresh_secret"), ("PUT", "/disable"), ("PUT", ""), ("DELETE", "")]),
        ("API key", [("PUT", "/refresh_secret"), ("PUT", "/disable"), ("DELETE", "")]),
        ("client with defaults", [("PUT", "/disable"), ("DELETE", "")]),
    ],
)
def test_what_takes_a_right_away_answers_with_a_receipt(
    api: Api, noun: str, calls: list[tuple[str, str]]
) -> None:
    path, _ = NOUNS[noun].make(api)
    for method, act in calls:
        answer = api.done(method, f"{path}{act}", NOUNS[noun].change if not act else None)
        inner = answer.get("data") or answer.get("result")
        shown = inner if isinstance(inner, dict) and "revocation" in inner else answer
        assert shown["revocation"] == RECEIPT, (method, act)


def test_a_project_that_holds_something_goes_only_by_force(api: Api) -> None:
    project = api.done("POST", "folders", {"name": "Sales"})["id"]
    inside = {"project_id": project}
    upstream = {"name": "U", "input": {"base_url": "https://a.example.com"}, **inside}
    hook = {"name": "W", "url": "https://a.example.com/w", "events": ["quota.reached"], **inside}
    recipe = Recipe.objects.create(name="total")
    for method, path, content, held in (
        ("POST", "connections", upstream, "1 connection"),
        ("POST", "v2/webhooks", hook, "1 webhook"),
        ("POST", f"properties?project_id={project}", {"properties": {"a": "1"}}, "1 property"),
        ("PUT", f"recipes/{recipe.pk}", inside, "1 recipe"),
    ):
        made = api.done(method, path, content)
        status, answer = api("DELETE", f"projects/{project}")
        assert (status, held in answer["errors"]["folder"][0]) == (403, True), answer
        if method == "PUT":
            continue
        if "properties" in path:
            api.done("POST", path, {"properties": {"a": None}})
        else:
            api.done("DELETE", f"{path}/{(made.get('data') or made)['id']}")
    assert api.done("DELETE", f"projects/{project}?force=true")["success"] is True
    recipe.refresh_from_db()
    assert (recipe.project_id, recipe.shared) == (None, False)


def test_many_names_are_counted_once(api: Api) -> None:
    names = [f"name{number}" for number in range(100_000)]
    body = "{" + ",".join(f'"{name}":1' for name in [*names, "name7"]) + "}"
    with pytest.raises(Invalid) as refused:
        parsing.BodyParser().parse_body(RequestFactory().generic("POST", "/", body))
    assert [each.field for each in refused.value.problems] == ["name7"]


def test_a_lone_surrogate_is_refused_where_it_stands_and_a_pair_is_a_character(api: Api) -> None:
    status, answer = api("POST", "api_clients", {"name": "A", "labels": {"\ud800": ["\udfff"]}})
    assert (status, list(answer["errors"])) == (400, ["labels.?", "labels.?.0"])
    api.done("POST", "api_clients", {"name": "\U0001f600"})
    assert [each["name"] for each in api.done("GET", "api_clients")] == ["\U0001f600"]


def test_a_call_without_a_body_takes_any_with_a_key(api: Api) -> None:
    answer = Browser().generic(
        "POST", "/api/v2/signing_keys/rotate", b"[" * 20_000, content_type="application/json",
        headers={"Authorization": f"Bearer {api.token}", "Idempotency-Key": "deep"},
    )  # fmt: skip
    assert answer.status_code == 200
