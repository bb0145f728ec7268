"""Deleted objects can be put back for seven days, but for credentials and secrets."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from tests.api.conftest import Api
from tests.review.conftest import World, world

from ostiary.collector import retention
from ostiary.directory.changes import deletions
from ostiary.directory.models import (
    AccessProfile,
    AuditEvent,
    Change,
    Connection,
    Credential,
    DeletedObject,
    Endpoint,
    ListedNetwork,
    Recipe,
    Webhook,
)

__all__ = ["world"]

SHARED = "correct horse battery staple, and then some 1"


def last(api: Api) -> Any:
    return api.done("GET", "v2/deleted_objects")["data"][0]


def put_back(api: Api) -> Any:
    return api.done("POST", f"v2/deleted_objects/{last(api)['id']}/restore")


def refused(api: Api) -> str:
    status, answer = api("POST", f"v2/deleted_objects/{last(api)['id']}/restore")
    assert status == 409, answer
    return str(answer["message"])


def test_a_client_comes_back_with_its_profiles_and_ids_but_without_credentials(
    world: World,
) -> None:
    api, client = world.api, world.client["id"]
    policy = world.a_policy()
    given = {"api_policy_id": policy["id"], "ip_allow_list": ["192.0.2.0/24"]}
    profile = world.a_profile(name="Shop", **given)
    before = api.done("GET", f"api_access_profiles/{profile['id']}")["result"]
    api.done("DELETE", f"api_clients/{client}")
    assert not Credential.objects.exists()
    found = last(api)
    assert (found["object_kind"], found["object_id"]) == ("client", client)
    assert found["takes"] == {"access_profiles": 1, "credentials": 1}
    answer = put_back(api)
    assert answer["warnings"] == ["Credentials are gone: issue new ones"]
    after = api.done("GET", f"api_access_profiles/{profile['id']}")["result"]
    changed = {name for name in before if before[name] != after[name]}
    assert changed <= {"epoch", "token_prefix", "updated_at"}
    assert after["token_prefix"] is None
    assert after["epoch"] > before["epoch"]
    assert ListedNetwork.objects.filter(profile_id=profile["id"]).count() == 1
    # Its consumers get a new one, and the gateways hear of both.
    kinds = list(Change.objects.order_by("-pk").values_list("kind", flat=True)[:2])
    assert sorted(kinds) == ["client", "profile"]
    api.done("PUT", f"api_access_profiles/{profile['id']}/refresh_secret", {})
    assert AuditEvent.objects.filter(action="client.restore").count() == 1
    assert api.done("GET", "v2/deleted_objects")["data"] == []


def test_what_is_deleted_and_put_back_costs_no_statement_for_each_profile(
    world: World, django_assert_max_num_queries: Any
) -> None:
    """All other writers wait meanwhile, also who revokes."""
    api, policy = world.api, world.a_policy()
    given = {"api_policy_id": policy["id"], "ip_allow_list": ["192.0.2.0/24"]}
    made = [
        world.a_profile(name=f"P{n}", key=f"p{n}", labels={"n": f"{n}"}, **given) for n in range(12)
    ]
    before = [api.done("GET", f"api_access_profiles/{each['id']}")["result"] for each in made]
    with django_assert_max_num_queries(70):
        api.done("DELETE", f"api_clients/{world.client['id']}")
    with django_assert_max_num_queries(50):
        put_back(api)
    after = [api.done("GET", f"api_access_profiles/{each['id']}")["result"] for each in made]
    for one, other in zip(before, after, strict=True):
        changed = {name for name in one if one[name] != other[name]}
        assert changed <= {"epoch", "token_prefix", "updated_at"}
    assert ListedNetwork.objects.count() == 12
    assert Change.objects.filter(kind="profile", pk__gt=before[-1]["epoch"]).count() == 2 * 12
    # A key that another one has by now is found among many.
    api.done("DELETE", f"api_clients/{world.client['id']}")
    client = api.done("POST", "api_clients", {"name": "Other"})["result"]
    world.a_profile(api_client_id=client["id"], key="p7")
    assert "The key of P7 has been taken since" in refused(api)
    assert not AccessProfile.objects.filter(client_id=world.client["id"]).exists()


def test_a_collection_comes_back_with_its_endpoints(world: World) -> None:
    api, number = world.api, world.collection["id"]
    api.done("DELETE", f"api_collections/{number}")
    assert not Endpoint.objects.exists()
    assert last(api)["takes"] == {"endpoints": 3}
    put_back(api)
    paths = set(Endpoint.objects.filter(collection_id=number).values_list("path", flat=True))
    assert paths == {"/orders", "/orders/{id}"}
    api.done("DELETE", f"api_endpoints/{world.order['id']}")
    put_back(api)
    assert Endpoint.objects.filter(pk=world.order["id"], collection_id=number).exists()


def test_nothing_of_a_secret_is_kept(world: World) -> None:
    api = world.api
    connection = {
        "name": "C",
        "input": {
            "base_url": "http://10.0.0.1", "auth_type": "header", "auth_name": "X-Key",
            "auth_secret": "of-the-upstream",
        },
    }  # fmt: skip
    made = api.done("POST", "connections", connection)
    signed = world.a_profile(
        name="Signed", auth_type="jwt", jwt_method="hmac", jwt_secret=SHARED, profile_key="shop"
    )
    token = world.a_profile(name="Token")
    hook = {"name": "H", "url": "https://example.com/", "events": ["client.activated"]}
    webhook = api.done("POST", "v2/webhooks", hook)["data"]["id"]
    sealed = [
        Connection.objects.get(pk=made["id"]).auth_secret,
        AccessProfile.objects.get(pk=signed["id"]).sealed_secret,
        Webhook.objects.get(pk=webhook).secret,
    ]
    api.done("DELETE", f"connections/{made['id']}")
    api.done("DELETE", f"api_access_profiles/{signed['id']}")
    api.done("DELETE", f"api_access_profiles/{token['id']}")
    api.done("DELETE", f"v2/webhooks/{webhook}")
    kept = "".join(DeletedObject.objects.values_list("content", flat=True))
    assert all(sealed)
    for secret in (*sealed, SHARED, token["secret"], token["token_prefix"]):
        assert secret not in kept
    warnings = [
        *put_back(api)["warnings"], *put_back(api)["warnings"],
        *put_back(api)["warnings"], *put_back(api)["warnings"],
    ]  # fmt: skip
    assert len(warnings) == 4
    assert not Webhook.objects.get(pk=webhook).active
    # Without its secret it must not be on: but tokens name it as before.
    assert not AccessProfile.objects.get(pk=signed["id"]).active
    assert Credential.objects.get(profile_id=signed["id"]).public_id == "shop"


@pytest.mark.parametrize(
    ("kind", "content", "taken"),
    [
        ("v2/address_lists", {"name": "Offices", "entries": ["192.0.2.1"]}, "name"),
        ("connections", {"name": "C", "input": {"base_url": "http://10.0.0.1"}}, "name"),
        ("v2/api_policies", {"name": "P", "key": "p"}, "key"),
        ("api_clients", {"name": "K", "key": "k"}, "key"),
    ],
)
def test_what_was_taken_meanwhile_is_named(
    api: Api, kind: str, content: dict[str, Any], taken: str
) -> None:
    made = api.done("POST", kind, content)
    number = made.get("data", made.get("result", made))["id"]
    api.done("DELETE", f"{kind}/{number}")
    api.done("POST", kind, content)
    assert f"{taken}" in refused(api)
    assert "taken since" in refused(api)


def test_a_handle_and_a_path_that_were_taken_meanwhile_are_refused(world: World) -> None:
    api, number = world.api, world.collection["id"]
    api.done("DELETE", f"api_endpoints/{world.orders['id']}")
    world.an_endpoint("GET", "/orders")
    assert "taken since" in refused(api)
    api.done("DELETE", f"api_collections/{number}")
    api.done("POST", "api_collections", {"name": "Other", "handle": world.collection["handle"]})
    assert "taken since" in refused(api)


def test_a_profile_waits_for_what_it_relies_on(world: World) -> None:
    api = world.api
    addresses = api.done("POST", "v2/address_lists", {"name": "L", "entries": ["192.0.2.1"]})
    profile = world.a_profile(ip_allow_list_ids=[addresses["data"]["id"]])
    api.done("DELETE", f"api_access_profiles/{profile['id']}")
    waiting = last(api)["id"]
    api.done("DELETE", f"v2/address_lists/{addresses['data']['id']}")
    # Without its list it would be open to every address.
    status, answer = api("POST", f"v2/deleted_objects/{waiting}/restore")
    assert status == 409
    assert "put that back first" in answer["message"]
    assert not AccessProfile.objects.exists()
    put_back(api)
    api.done("POST", f"v2/deleted_objects/{waiting}/restore")
    assert api.done("GET", f"api_access_profiles/{profile['id']}")["result"]["ip_allow_list_ids"]


def test_after_seven_days_it_is_gone_for_good(api: Api) -> None:
    client = api.done("POST", "api_clients", {"name": "Old"})["result"]["id"]
    api.done("DELETE", f"api_clients/{client}")
    number = last(api)["id"]
    past = timezone.now() - deletions.KEPT - timedelta(seconds=1)
    DeletedObject.objects.update(deleted_at=past)
    assert api.done("GET", "v2/deleted_objects")["data"] == []
    assert api("POST", f"v2/deleted_objects/{number}/restore")[0] == 404
    retention.tidy()
    assert not DeletedObject.objects.exists()


def test_it_comes_back_once_and_for_who_may_make_it(world: World) -> None:
    api = world.api
    profile = world.a_profile()
    api.done("DELETE", f"api_access_profiles/{profile['id']}")
    number = last(api)["id"]
    path = f"v2/deleted_objects/{number}/restore"
    viewer = api.as_(admin=False, role="viewer", everywhere=True)
    assert viewer("POST", path)[0] == 403
    project = int(api.done("POST", "folders", {"name": "Other"})["id"])
    stranger = api.as_(admin=False, role="owner", project_ids=[project])
    assert stranger("POST", path)[0] == 404
    assert stranger.done("GET", "v2/deleted_objects")["data"] == []
    api.done("POST", path)
    assert api("POST", path)[0] == 404


def test_nobody_puts_a_profile_into_a_project_that_its_client_was_moved_to(world: World) -> None:
    api = world.api
    profile = world.a_profile()
    api.done("DELETE", f"api_access_profiles/{profile['id']}")
    project = int(api.done("POST", "folders", {"name": "Other"})["id"])
    editor = api.as_(admin=False, role="editor", project_ids=[api.home])
    api.done("PUT", f"api_clients/{world.client['id']}", {"project_id": project})
    for asking in (editor, api):
        assert "is in another project now" in refused(asking)
    assert not AccessProfile.objects.exists()


def test_defaults_with_a_collection_that_the_editor_may_not_grant_stay_away(world: World) -> None:
    """Else its editor could let new profiles into it, which follow the client."""
    api = world.api
    project = int(api.done("POST", "folders", {"name": "Other"})["id"])
    content = {
        "name": "Followed", "project_id": project, "auth_type": "token",
        "api_collection_ids": [world.collection["id"]],
    }  # fmt: skip
    client = api.done("POST", "v2/api_clients", content)["data"]["id"]
    editor = api.as_(admin=False, role="editor", project_ids=[project])
    editor.done("DELETE", f"api_clients/{client}")
    assert "may not grant" in refused(editor)
    put_back(api)


def test_a_recipe_that_is_for_other_projects_by_now_is_not_run(world: World) -> None:
    api = world.api
    other = int(api.done("POST", "folders", {"name": "Other"})["id"])
    recipe = Recipe.objects.create(name="quote")
    made = api.done("POST", "api_collections", {"name": "Tools", "kind": "recipe"})
    content = {"name": "Q", "method": "GET", "path": "/q", "flow_id": recipe.pk}
    endpoint = api.done("POST", f"api_collections/{made['id']}/api_endpoints", content)
    api.done("DELETE", f"api_endpoints/{endpoint['id']}")
    Recipe.objects.update(project=other, shared=False)
    assert "for other projects now" in refused(api)
    Recipe.objects.update(project=api.home)
    put_back(api)


def test_a_quota_that_is_full_leaves_no_room(api: Api) -> None:
    client = api.done("POST", "api_clients", {"name": "One"})["result"]["id"]
    api.done("DELETE", f"api_clients/{client}")
    api.done("POST", "api_clients", {"name": "Two"})
    api.done("PUT", f"v2/projects/{api.home}/quotas", {"clients": 1})
    status, answer = api("POST", f"v2/deleted_objects/{last(api)['id']}/restore")
    assert (status, list(answer["errors"])) == (400, ["project_id"])
