"""A project holds as much as its quotas allow, which admins alone set; other projects are not bound."""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.api.conftest import Api
from tests.authority.test_decisions import CEILINGS

from ostiary.authority.ceilings import SHORT_SECONDS, Busy, Gate

DOCUMENT = json.dumps({
    "openapi": "3.0.3", "info": {"title": "Pets", "version": "1"}, "servers": [{"url": "http://127.0.0.1:9/"}],
    "paths": {"/pets": {"get": {"responses": {}}, "post": {"responses": {}}}},
})  # fmt: skip


def quotas(api: Api, project: int, **given: Any) -> Any:
    return api.done("PUT", f"v2/projects/{project}/quotas", given)["data"]


def a_project(api: Api, name: str = "Bounded") -> int:
    return int(api.done("POST", "folders", {"name": name})["id"])


def a_client(api: Api, project: int) -> tuple[int, Any]:
    return api("POST", "api_clients", {"name": "C", "project_id": project})


def _collection(project: int, **more: Any) -> dict[str, Any]:
    return {"name": "Pets", "project_id": str(project), **more}


def test_every_kind_of_object_is_refused_at_its_quota(api: Api) -> None:
    project = a_project(api)
    client = a_client(api, project)[1]["result"]
    connection = {"name": "N", "project_id": project, "input": {"base_url": "http://127.0.0.1:9"}}
    at = api.done("POST", "connections", connection)
    collection = api.done(
        "POST", "api_collections", _collection(project, proxy_connection_id=at["id"])
    )
    profile = {
        "name": "P", "api_client_id": client["id"], "auth_type": "token",
        "api_collection_ids": [collection["id"]],
    }  # fmt: skip
    hook = {
        "name": "H", "url": "https://hooks.example.com/", "events": ["quota.warning"],
        "project_id": project,
    }  # fmt: skip
    addresses = {"name": "L", "entries": "192.0.2.1", "project_id": project}
    endpoint = {"name": "E", "method": "GET", "path": "/e"}
    document = {"content": DOCUMENT, "format": "json"}
    wanted: dict[str, tuple[str, dict[str, Any]]] = {
        "clients": ("api_clients", {"name": "C", "project_id": project}),
        "access_profiles": ("api_access_profiles", profile),
        "api_collections": ("api_collections", _collection(project, name="Other")),
        "connections": ("connections", {**connection, "name": "Other"}),
        "api_endpoints": (f"api_collections/{collection['id']}/api_endpoints", endpoint),
        "address_lists": ("v2/address_lists", addresses),
        "webhooks": ("v2/webhooks", hook),
        "policies": ("v2/api_policies", {"name": "Own", "project_id": project}),
    }
    found = quotas(api, project, **{name: 1 for name in wanted} | {"api_endpoints": 0})
    assert found["clients"] == {"most": 1, "used": 1}
    assert found["leases"] == {"most": None, "used": None}
    for kind, (path, content) in wanted.items():
        noun = kind.replace("_", " ").replace("api ", "API ")
        another = content
        if kind in {"access_profiles", "address_lists", "policies", "webhooks"}:
            assert api("POST", path, content)[0] == 200, kind
            another = content | ({"name": "Another"} if "name" in content else {})
        status, refused = api("POST", path, another)
        assert status == 400, (kind, refused)
        [sentence] = refused["errors"]["project_id"]
        assert noun in sentence
        assert "a workspace admin can raise the quota" in sentence
    quotas(api, project, api_collections=5, api_endpoints=1)
    status, refused = api(
        "POST", "api_collections", _collection(project, name="Read", openapi_spec=document)
    )
    assert (status, list(refused["errors"])) == (400, ["project_id"])
    quotas(api, project, api_endpoints=None)
    content = _collection(project, name="Read", openapi_spec=document)
    assert api("POST", "api_collections", content)[0] == 200
    # Nobody else is bound by it.
    assert a_client(api, api.home)[0] == 200


def test_a_client_moves_only_where_there_is_room(api: Api) -> None:
    full = a_project(api, "Full")
    quotas(api, full, clients=0)
    client = a_client(api, api.home)[1]["result"]
    status, refused = api("PUT", f"api_clients/{client['id']}", {"project_id": full})
    assert (status, list(refused["errors"])) == (400, ["project_id"])


def test_admins_alone_set_quotas_and_members_read_them(api: Api) -> None:
    project = a_project(api)
    quotas(api, project, clients=3)
    owner = api.as_(admin=False, role="owner", project_ids=[project])
    path = f"v2/projects/{project}/quotas"
    assert owner.done("GET", path)["data"]["clients"]["most"] == 3
    assert owner("PUT", path, {"clients": 4})[0] == 403
    stranger = api.as_(admin=False, role="owner", project_ids=[api.home])
    assert stranger("GET", path)[0] == stranger("PUT", path, {"clients": 4})[0] == 404


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"clients": -1}, "clients"),
        ({"leases": 0}, "leases"),
        ({"upcalls_per_second": 0}, "upcalls_per_second"),
        ({"recipes": 1}, "recipes"),
    ],
)
def test_what_is_no_quota_is_refused(api: Api, given: Any, field: str) -> None:
    status, refused = api("PUT", f"v2/projects/{a_project(api)}/quotas", given)
    assert (status, list(refused["errors"])) == (400, [field])


def test_a_projects_own_ceilings_hold_for_its_profiles_together() -> None:
    gate = Gate(replace(CEILINGS, upcalls_per_second=5), clock=lambda: 1_000_000.0)

    def entered(profile: int, project: int, most: int | None) -> bool:
        try:
            gate.enter(profile=profile, project=project, most=most)
        except Busy:
            return False
        return True

    assert [entered(n, 1, 3) for n in range(5)] == [True] * 3 + [False] * 2
    assert entered(9, 2, None)
    # What a profile's own ceiling refuses takes nothing of its project's share.
    assert [entered(50, 3, 6) for _ in range(20)] == [True] * 5 + [False] * 15
    assert entered(51, 3, 6)
    assert [gate.seconds(n, 7, 2) > SHORT_SECONDS for n in range(3)] == [True, True, False]
    assert gate.seconds(8, 8) > SHORT_SECONDS


def test_quotas_can_be_sent_back_as_they_were_shown(api: Api) -> None:
    project = a_project(api)
    quotas(api, project, clients=5)
    shown = api.done("GET", f"v2/projects/{project}/quotas")["data"]
    assert quotas(api, project, **shown) == shown
    shown["clients"]["most"] = 7
    shown["leases"]["most"] = 9
    changed = quotas(api, project, **shown)
    assert (changed["clients"]["most"], changed["leases"]["most"]) == (7, 9)
    status, answer = api("PUT", f"v2/projects/{project}/quotas", {"clients": {"most": -1}})
    assert (status, list(answer["errors"])) == (400, ["clients"])
