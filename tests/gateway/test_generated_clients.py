"""A client that somebody else's generator makes of a collection's document works at once."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.stage import Stage, Upstream, ask

pytestmark = [pytest.mark.gateway, pytest.mark.slow]

ECHO = {
    "description": "What came",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Echo"}}},
}
SHOP: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Shop", "version": "2.7"},
    "security": [{"theirs": []}],
    "paths": {
        "/orders/{id}": {
            "parameters": [
                {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
            ],
            "get": {
                "operationId": "getOrder",
                "tags": ["orders"],
                "parameters": [{"$ref": "#/components/parameters/market"}],
                "responses": {"200": ECHO},
            },
            "put": {
                "operationId": "putOrder",
                "tags": ["orders"],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {"schema": {"$ref": "#/components/schemas/Order"}}
                    },
                },
                "responses": {"200": ECHO},
            },
            "delete": {"operationId": "deleteOrder", "tags": ["orders"], "responses": {}},
        }
    },
    "components": {
        "parameters": {
            "market": {"name": "market", "in": "query", "schema": {"type": "string", "default": "EU"}}
        },
        "schemas": {
            "Order": {
                "type": "object",
                "required": ["sku"],
                "properties": {"sku": {"type": "string"}, "note": {"type": "string", "nullable": True}},
            },
            "Echo": {
                "type": "object",
                "required": ["path", "length"],
                "properties": {"path": {"type": "string"}, "length": {"type": "integer"}},
            },
        },
        "securitySchemes": {"theirs": {"type": "http", "scheme": "basic"}},
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def shop(shared_stage: Stage, upstream: Upstream) -> Any:
    spec = {
        "content": json.dumps(SHOP | {"servers": [{"url": upstream.url}]}),
        "format": "json",
        "active": True,
    }
    return shared_stage.done("POST", "api_collections", {"name": "Shop", "openapi_spec": spec})


def generated(stage: Stage, collection: Any, folder: Path, name: str, auth_type: str) -> Any:
    """The document that a reader gets, and the package that is generated from it."""
    path = f"api_collections/{collection['id']}/openapi.json?auth_type={auth_type}"
    document = stage.done("GET", path)
    (folder / "openapi.json").write_text(json.dumps(document))
    (folder / "config.yaml").write_text(f"package_name_override: {name}\npost_hooks: []\n")
    command = [sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"]
    options = ["--path", "openapi.json", "--config", "config.yaml", "--output-path", name]
    done = subprocess.run(
        [*command, *options, "--fail-on-warning"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    sys.path.insert(0, str(folder))
    try:
        for module in ("api.orders.get_order", "api.orders.put_order", "models"):
            importlib.import_module(f"{name}.{module}")
        return document, importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))


def test_a_generated_client_calls_through_the_gateway(
    shared_stage: Stage, upstream: Upstream, shop: Any, tmp_path: Path
) -> None:
    profile = shared_stage.a_profile(shop)
    document, package = generated(shared_stage, shop, tmp_path, "shop_by_token", "token")
    scheme = document["components"]["securitySchemes"]["apiToken"]
    client = package.AuthenticatedClient(
        base_url=document["servers"][0]["url"],
        token=profile["secret"],
        prefix="",
        auth_header_name=scheme["name"],
    )
    orders = package.api.orders
    order = package.models.Order(sku="a-1", note=None)
    with client:
        got = orders.get_order.sync(5, client=client, market="US")
        put = orders.put_order.sync(7, client=client, body=order)
    assert got.path == "/orders/5?market=US"
    assert put.length == len(upstream.seen[-1].body)
    assert json.loads(upstream.seen[-1].body) == {"sku": "a-1", "note": None}
    stranger = package.AuthenticatedClient(
        base_url=document["servers"][0]["url"], token="x", prefix="", auth_header_name="API-TOKEN"
    )
    with stranger:
        assert orders.get_order.sync_detailed(5, client=stranger).status_code == 401


def test_a_generated_client_gets_its_access_token_where_the_document_says(
    shared_stage: Stage, shop: Any, tmp_path: Path
) -> None:
    profile = shared_stage.a_profile(shop, auth_type="oauth2")
    document, package = generated(shared_stage, shop, tmp_path, "shop_by_oauth2", "oauth2")
    flows = document["components"]["securitySchemes"]["oauth2"]["flows"]
    address = flows["clientCredentials"]["tokenUrl"]
    assert address.startswith(f"http://localhost:{shared_stage.gateway}/")
    form = f"grant_type=client_credentials&client_id={profile['oauth_client_id']}&client_secret={profile['oauth_client_secret']}"
    granted = ask(
        shared_stage.gateway,
        "POST",
        address.partition(str(shared_stage.gateway))[2],
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        body=form.encode(),
    )
    assert granted.status == 200, granted.body
    client = package.AuthenticatedClient(
        base_url=document["servers"][0]["url"], token=granted.json["access_token"]
    )
    with client:
        got = package.api.orders.get_order.sync(5, client=client)
    assert got.path == "/orders/5?market=EU"
