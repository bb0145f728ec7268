"""Keys and labels of an owner's own: the same on every noun that has them."""

from typing import Any

import pytest
from tests.api.conftest import Api


class Noun:
    """How one kind of object is made, changed and read."""

    def __init__(self, lists: str, create: str, content: dict[str, Any], **more: str) -> None:
        self.lists, self.create, self.content = lists, create, content
        self.single = more.get("single", lists)

    def make(self, api: Api, **fields: Any) -> tuple[int, Any]:
        made = self.content | {"name": f"N{len(api.confirmer.asked)}-{fields}"[:200]} | fields
        status, answer = api("POST", self.create, made)
        return status, _inner(answer)

    def change(self, api: Api, pk: int, **fields: Any) -> tuple[int, Any]:
        status, answer = api("PUT", f"{self.single}/{pk}", self.changed(fields))
        return status, _inner(answer)

    def changed(self, fields: dict[str, Any]) -> dict[str, Any]:
        return fields


class Whole(Noun):
    """A noun whose change says everything."""

    def changed(self, fields: dict[str, Any]) -> dict[str, Any]:
        return self.content | {"name": "Changed"} | fields


def _inner(answer: Any) -> Any:
    return answer.get("result") or answer.get("data") or answer


UPSTREAM = {"input": {"base_url": "http://127.0.0.1:9/"}}
PROFILE = {"api_collection_ids": [0], "api_client_id": 0, "auth_type": "token"}
HOOK = {"url": "https://hooks.example.com/x", "events": ["credential.expiring"]}
KEYED = {
    "project": Noun("projects", "folders", {}),
    "folder": Noun("folders", "folders", {"parent_id": 0}),
    "connection": Whole("connections", "connections", UPSTREAM),
    "client": Noun("api_clients", "api_clients", {}),
    "access profile": Noun("api_access_profiles", "api_access_profiles", PROFILE),
    "policy": Whole("v2/api_policies", "v2/api_policies", {}),
    "address list": Noun("v2/address_lists", "v2/address_lists", {"entries": "10.0.0.1"}),
    "webhook": Noun("v2/webhooks", "v2/webhooks", HOOK),
}
LABELLED = KEYED | {
    "collection": Noun("api_collections", "api_collections", {}),
    "endpoint": Noun(
        "api_endpoints", "api_collections/0/api_endpoints", {"method": "GET", "path": "/x"}
    ),
}


@pytest.fixture
def noun(request: pytest.FixtureRequest, api: Api, collection: Any) -> Noun:
    """A noun whose references are to what exists."""
    noun: Noun = LABELLED[request.param]
    ready = type(noun)(noun.lists, noun.create, dict(noun.content), single=noun.single)
    ready.create = ready.create.replace("/0/", f"/{collection['id']}/")
    if "parent_id" in ready.content:
        ready.content["parent_id"] = api.home
    if "api_client_id" in ready.content:
        client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
        ready.content |= {
            "api_client_id": client["id"], "api_collection_ids": [collection["id"]],
        }  # fmt: skip
    return ready


@pytest.fixture
def collection(api: Api) -> Any:
    upstream = api.done("POST", "connections", {"name": "Up", **UPSTREAM})
    return api.done("POST", "api_collections", {"name": "C", "proxy_connection_id": upstream["id"]})


@pytest.mark.parametrize("noun", KEYED, indirect=True)
def test_a_key_is_set_changed_and_cleared(api: Api, noun: Noun) -> None:
    status, made = noun.make(api, key="acme.orders-1")
    assert (status, made.get("key")) == (200, "acme.orders-1"), made
    assert noun.change(api, made["id"])[1]["key"] == "acme.orders-1"
    assert noun.change(api, made["id"], key="other")[1]["key"] == "other"
    assert noun.change(api, made["id"], key=None)[1]["key"] is None


@pytest.mark.parametrize("noun", KEYED, indirect=True)
def test_a_key_has_one_owner_of_its_kind(api: Api, noun: Noun) -> None:
    _, first = noun.make(api, key="mine")
    status, answer = noun.make(api, key="mine")
    assert status == 400, answer
    assert answer["errors"] == {"key": ["has already been taken"]}
    assert answer["codes"] == {"key": ["taken"]}
    _, second = noun.make(api)
    assert noun.change(api, second["id"], key="mine")[0] == 400
    assert noun.change(api, first["id"], key="mine")[0] == 200


@pytest.mark.parametrize("key", ["", "A", "-a", "a b", "a/b", "é", "a" * 65, 5, True, ["a"], "a\n"])
def test_what_cannot_be_a_key_is_refused_by_name(api: Api, key: object) -> None:
    status, answer = api("POST", "api_clients", {"name": "Acme", "key": key})
    assert (status, list(answer["errors"])) == (400, ["key"])


@pytest.mark.parametrize("noun", LABELLED, indirect=True)
def test_labels_are_set_changed_and_cleared(api: Api, noun: Noun) -> None:
    status, made = noun.make(api, labels={"team": "payments", "tier": ""})
    assert (status, made.get("labels")) == (200, {"team": "payments", "tier": ""}), made
    assert noun.change(api, made["id"])[1]["labels"] == {"team": "payments", "tier": ""}
    assert noun.change(api, made["id"], labels={"a/b": "Łódź"})[1]["labels"] == {"a/b": "Łódź"}
    assert noun.change(api, made["id"], labels=None)[1]["labels"] == {}


@pytest.mark.parametrize(
    "labels",
    [[], "team", {"Team": "x"}, {"": "x"}, {"a": None}, {"a": 1}, {"a": "x" * 201},
     {"a": "x\x00"}, {f"n{i}": "" for i in range(33)}, {"a" * 64: ""}],
)  # fmt: skip
def test_what_cannot_be_labels_is_refused_by_name(api: Api, labels: object) -> None:
    status, answer = api("POST", "api_clients", {"name": "Acme", "labels": labels})
    assert (status, list(answer["errors"])) == (400, ["labels"])


def test_a_key_is_free_in_another_project_and_for_another_kind(api: Api) -> None:
    other = api.done("POST", "folders", {"name": "Other"})
    api.done("POST", "api_clients", {"name": "A", "key": "acme"})
    api.done("POST", "api_clients", {"name": "B", "key": "acme", "project_id": other["id"]})
    api.done("POST", "v2/api_policies", {"name": "P", "key": "acme"})
    api.done("POST", "v2/api_policies", {"name": "P", "key": "acme", "project_id": other["id"]})


def test_a_client_does_not_move_to_where_its_keys_are_taken(api: Api, collection: Any) -> None:
    other = api.done("POST", "folders", {"name": "Other"})["id"]
    clients = [
        api.done("POST", "api_clients", {"name": "A", "project_id": project})["result"]["id"]
        for project in (api.home, other)
    ]
    for client in clients:
        profile = PROFILE | {"name": "P", "key": "nightly", "api_client_id": client}
        profile["api_collection_ids"] = [collection["id"]]
        api.done("POST", "api_access_profiles", profile)
    status, answer = api("PUT", f"api_clients/{clients[0]}", {"project_id": other})
    assert (status, list(answer["errors"])) == (400, ["project_id"])


def test_keys_and_labels_are_in_the_audit_log(api: Api) -> None:
    made = api.done("POST", "api_clients", {"name": "A", "key": "a"})["result"]
    api.done("PUT", f"api_clients/{made['id']}", {"key": "b", "labels": {"team": "x"}})
    event = api.done("GET", "v2/audit_events")["data"][0]
    assert event["before"] == {"key": "a", "labels": {}}
    assert event["after"] == {"key": "b", "labels": {"team": "x"}}


def test_a_collection_is_named_by_its_handle_and_an_endpoint_by_method_and_path(
    api: Api, collection: Any
) -> None:
    assert collection["key"] == collection["handle"]
    path = f"api_collections/{collection['id']}/api_endpoints"
    made = api.done("POST", path, {"name": "E", "method": "GET", "path": "/a/{id}"})
    assert made["key"] == "GET /a/{id}"
