"""The vendor's command and its library, unmodified, do all that they can do."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.dialect.tools import Workato, run, tool, value
from tests.stage import Stage, Upstream

pytestmark = [pytest.mark.slow, pytest.mark.gateway]

SECRET = "correct horse battery staple, and then some 1"
ISSUER = "https://issuer.example/"


@pytest.fixture(scope="module")
def project(shared_stage: Stage) -> int:
    return int(shared_stage.done("POST", "folders", {"name": "Orders"})["project_id"])


@pytest.fixture(scope="module")
def collection(workato: Workato, project: int, upstream: Upstream, shared_stage: Stage) -> int:
    """A collection that the command has made of a document, in its project."""
    document = {
        "openapi": "3.0.3",
        "info": {"title": "Orders", "version": "1.0"},
        "servers": [{"url": upstream.url}],
        "paths": {
            "/orders": {"get": {"summary": "List", "responses": {"200": {"description": "ok"}}}},
            "/stock": {"get": {"summary": "Stock", "responses": {"200": {"description": "ok"}}}},
        },
    }
    (workato.folder / "spec.json").write_text(json.dumps(document))
    workato.in_project(project)
    workato(
        "api-collections", "create", "--name", "Orders", "--format", "json",
        "--content", workato.folder / "spec.json",
    )  # fmt: skip
    found = shared_stage.done("GET", "api_collections")
    return int(found[-1]["id"])


@pytest.fixture(scope="module")
def client(workato: Workato, project: int, collection: int) -> int:
    created = workato(
        "api-clients", "create", "--name", "Acme", "--api-collection-ids", collection,
        "--auth-type", "token", "--project-id", project,
    )  # fmt: skip
    assert "Orders" in created
    return int(value(created, "ID"))


def test_it_shows_workspace_projects_and_properties(workato: Workato, project: int) -> None:
    assert "Home" in workato("projects", "list", "--source", "remote", "--output-mode", "json")
    assert "localhost" in workato("workspace")
    workato("properties", "upsert", "--project-id", project, "--property", "a.x=17")
    assert "17" in workato("properties", "list", "--project-id", project, "--prefix", "a.")


def test_it_lists_collections_and_enables_endpoints(
    workato: Workato, shared_stage: Stage, collection: int
) -> None:
    listed = workato("api-collections", "list", "--page", 1, "--per-page", 50)
    assert "Orders" in listed
    endpoints = workato("api-collections", "list-endpoints", "--api-collection-id", collection)
    assert "/orders" in endpoints
    found = shared_stage.done("GET", f"api_endpoints?api_collection_id={collection}")
    assert [each["active"] for each in found] == [False, False]
    workato("api-collections", "enable-endpoint", "--api-endpoint-id", found[0]["id"])
    workato("api-collections", "enable-endpoint", "--api-collection-id", collection, "--all")
    found = shared_stage.done("GET", f"api_endpoints?api_collection_id={collection}")
    assert [each["active"] for each in found] == [True, True]


def test_a_key_that_it_makes_passes_the_gateway_until_it_is_refreshed(
    workato: Workato, shared_stage: Stage, upstream: Upstream, collection: int, client: int
) -> None:
    workato("api-collections", "enable-endpoint", "--api-collection-id", collection, "--all")
    created = workato(
        "api-clients", "create-key", "--api-client-id", client, "--name", "k1",
        "--ip-allow-list", "127.0.0.1,10.0.0.0/8", "--ip-deny-list", "10.1.0.0/16",
    )  # fmt: skip
    first, key = value(created, "API Key"), value(created, "Key ID")
    [handle] = [
        each["url"].rpartition("/")[2]
        for each in shared_stage.done("GET", "api_collections")
        if each["id"] == collection
    ]
    assert shared_stage.call(f"/{handle}/orders", first).status == 200
    listed = workato("api-clients", "list-keys", "--api-client-id", client)
    assert "k1" in listed
    assert first not in listed
    refreshed = workato(
        "api-clients", "refresh-secret", "--api-client-id", client, "--api-key-id", key, "--force"
    )
    [second] = [word for word in refreshed.split() if word.startswith("ost") and len(word) > 40]
    assert shared_stage.call(f"/{handle}/orders", first).status == 401
    assert shared_stage.call(f"/{handle}/orders", second).status == 200
    # A change of the client's defaults is what its key may do, at once.
    others = shared_stage.a_collection(upstream)
    given = {"api_collection_ids": [others["id"]]}
    shared_stage.done("PUT", f"v2/api_clients/{client}", given)
    assert shared_stage.call(f"/{handle}/orders", second).status == 404
    shared_stage.done("PUT", f"v2/api_clients/{client}", {"api_collection_ids": [collection]})
    assert shared_stage.call(f"/{handle}/orders", second).status == 200


def test_it_makes_clients_of_every_method(
    workato: Workato, project: int, collection: int, client: int
) -> None:
    shared = ("api-clients", "create", "--api-collection-ids", collection, "--name")
    workato(
        *shared, "J", "--auth-type", "jwt", "--jwt-method", "hmac", "--jwt-secret", SECRET,
        "--oidc-issuer", ISSUER,
    )  # fmt: skip
    made = workato(
        *shared, "O", "--auth-type", "oidc", "--oidc-issuer", ISSUER, "--access-profile-claim", "sub",
        "--required-claims", "aud,exp", "--allowed-issuers", ISSUER,
    )  # fmt: skip
    oauth = workato(*shared, "A", "--auth-type", "oauth2")
    for output in (made, oauth):
        key = workato(
            "api-clients", "create-key", "--api-client-id", value(output, "ID"), "--name", "k",
            "--inactive",
        )  # fmt: skip
        assert "Not provided" not in key
        assert "Inactive" in key
    listed = workato("api-clients", "list")
    assert all(name in listed for name in ("Acme", "J", "O", "A"))
    assert "Acme" in workato("api-clients", "list", "--project-id", project)


def test_it_begins_a_project_and_pulls_it(shared_stage: Stage, tmp_path: Path) -> None:
    workato = Workato(shared_stage, tmp_path, signed_in=False)
    workato(
        "init", "--non-interactive", "--profile", "local", "--region", "custom",
        "--api-url", f"http://127.0.0.1:{shared_stage.control}", "--api-token", shared_stage.token,
        "--project-name", "CLI Proj", "--output-mode", "json",
    )  # fmt: skip
    assert "CLI Proj" in [each["name"] for each in shared_stage.done("GET", "projects")]
    [*_, env] = sorted(tmp_path.rglob(".workatoenv"), key=lambda path: len(path.parts))
    workato.folder = env.parent
    workato("pull")
    workato("assets")


#: Calls of the generated library, which checks types strictly.
LIBRARY = """
import asyncio, certifi, json, sys
from workato_platform_cli import Workato
from workato_platform_cli.client.workato_api.configuration import Configuration
from workato_platform_cli.client.workato_api.models.api_client_create_request import ApiClientCreateRequest
from workato_platform_cli.client.workato_api.models.api_key_create_request import ApiKeyCreateRequest

async def main(host, token, collection):
    settings = Configuration(access_token=token, host=host, ssl_ca_cert=certifi.where())
    async with Workato(settings) as workato:
        api = workato.api_platform_api
        made = await api.create_api_client(api_client_create_request=ApiClientCreateRequest(
            name="Library", auth_type="token", api_collection_ids=[collection], mtls_enabled=False))
        client = made.data.id
        key = await api.create_api_key(api_client_id=client, api_key_create_request=ApiKeyCreateRequest(
            name="k", active=True, ip_allow_list=["127.0.0.1"]))
        keys = await api.list_api_keys(api_client_id=client)
        fresh = await api.refresh_api_key_secret(api_client_id=client, api_key_id=key.data.id)
        clients = await api.list_api_clients()
        endpoints = await api.list_api_endpoints(api_collection_id=collection)
        await api.disable_api_endpoint(endpoints[0].id)
        await api.enable_api_endpoint(endpoints[0].id)
        me = await workato.users_api.get_workspace_details()
        folders = await workato.folders_api.list_folders(parent_id=me.root_folder_id)
        print(json.dumps({
            "clients": clients.count, "names": [each.name for each in clients.data],
            "legacy": [each.is_legacy for each in clients.data],
            "keys": keys.count, "masked": keys.data[0].auth_token, "since": bool(keys.data[0].active_since),
            "first": key.data.auth_token, "second": fresh.data.auth_token, "folders": len(folders)}))

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def test_its_library_reads_all_answers(
    shared_stage: Stage, collection: int, tmp_path: Path
) -> None:
    # A profile of the older dialect is among what it reads.
    shared_stage.a_profile({"id": collection}, client=shared_stage.a_client("Older"))
    url = f"http://127.0.0.1:{shared_stage.control}"
    python = tool("platform", "python")
    printed = run([python, "-c", LIBRARY, url, shared_stage.token, collection], tmp_path, {})
    told: Any = json.loads(printed)
    assert {"Library", "Older"} <= set(told["names"])
    assert told["clients"] == len(told["names"])
    assert dict(zip(told["names"], told["legacy"], strict=True))["Older"] is True
    assert told["keys"] == 1
    assert told["since"] is True
    assert len({told["masked"], told["first"], told["second"]}) == 3
