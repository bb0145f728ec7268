"""The API's document: complete, true, and cheap to get."""

import copy
import gzip
import io
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.utils import timezone
from PIL import Image
from tests.api.conftest import Api

from ostiary.api import document, error_codes, meanings
from ostiary.api.document import NameClash, ServedDocument
from ostiary.api.examples import EXAMPLES
from ostiary.directory.models import Recipe
from ostiary.directory.workspace import nodes


@pytest.fixture(scope="module")
def described() -> Any:
    return json.loads(json.dumps(ServedDocument("http://localhost")))


def _operations(described: Any) -> Iterator[tuple[str, str, Any]]:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


def test_everything_says_what_it_means(described: Any) -> None:
    silent = []
    tags = {tag["name"] for tag in described["tags"]}
    for method, path, operation in _operations(described):
        if not set(operation["tags"]) <= tags:
            silent.append(f"{operation['tags']}: say it in `meanings.TAGS`")
        if not operation.get("description"):
            silent.append(f"{method} {path}: say it in the handler or in `meanings.OPERATIONS`")
        for each in operation["parameters"]:
            if not each.get("description"):
                silent.append(f"{method} {path} {each['name']}: say it in `meanings`")
    for name, schema in described["components"]["schemas"].items():
        for field, each in schema.get("properties", {}).items():
            if not each.get("description"):
                silent.append(f"{name}.{field}: say it in its declaration or in `meanings.FIELDS`")
    assert silent == []


def test_operation_ids_are_verb_and_noun_and_none_comes_twice(described: Any) -> None:
    ids = [operation["operationId"] for _, _, operation in _operations(described)]
    assert len(set(ids)) == len(ids) > 80
    odd = [each for each in ids if not re.fullmatch(r"[a-z]+(_[a-z]+)+", each)]
    assert odd == ["cut_off", "redeliver", "explain"][: len(odd)] or odd == ["redeliver", "explain"]


def test_no_table_names_an_operation_that_is_gone(described: Any) -> None:
    ids = {operation["operationId"] for _, _, operation in _operations(described)}
    tables = (
        set(EXAMPLES), meanings.OPEN, meanings.REFUSED_IN_USE, meanings.REFUSED_NOT_EMPTY,
        set(meanings.OPERATIONS),
    )  # fmt: skip
    assert [table - ids for table in tables] == [set()] * len(tables)


def test_two_schemas_of_one_name_are_an_error() -> None:
    made = ServedDocument("http://localhost")
    one = {"Once": {"type": "object", "properties": {"a": {"type": "string"}}}}
    made.add_schema_definitions(copy.deepcopy(one))
    made.add_schema_definitions(copy.deepcopy(one))
    with pytest.raises(NameClash, match="Once"):
        made.add_schema_definitions({"Once": {"type": "object"}})


def test_times_are_described_as_times(described: Any) -> None:
    plain = []
    for name, schema in described["components"]["schemas"].items():
        for field, each in schema.get("properties", {}).items():
            kinds = [each, *each.get("anyOf", ())]
            strings = [kind for kind in kinds if kind.get("type") == "string"]
            if field.endswith("_at") and any(k.get("format") != "date-time" for k in strings):
                plain.append(f"{name}.{field}")
    assert plain == []


def test_a_call_says_which_headers_it_takes_and_gives(described: Any) -> None:
    for method, path, operation in _operations(described):
        names = {each["name"] for each in operation["parameters"] if each["in"] == "header"}
        assert ("Idempotency-Key" in names) is (method == "POST"), (method, path)
        assert ("If-Match" in names) is ("412" in operation["responses"]), (method, path)
        for status, answer in operation["responses"].items():
            given = set(answer["headers"])
            assert given >= {"X-Request-Id", "RateLimit", "RateLimit-Policy"}
            assert ("Retry-After" in given) is (status in {"429", "503"})
    profile = described["paths"]["/api/api_access_profiles/{profile_id}"]
    assert "ETag" in profile["get"]["responses"]["200"]["headers"]
    assert (
        "ETag" not in described["paths"]["/api/api_clients"]["get"]["responses"]["200"]["headers"]
    )


def test_an_error_has_one_shape_and_a_code_of_the_closed_set(described: Any) -> None:
    shape = described["components"]["schemas"]["Error"]
    assert shape["properties"]["code"]["enum"] == [str(each) for each in error_codes.ErrorCode]
    assert set(error_codes.ERRORS) == set(error_codes.ErrorCode)
    for method, path, operation in _operations(described):
        for status, answer in operation["responses"].items():
            if int(status) >= 400:
                told = json.dumps(answer["content"])
                assert "schemas/Error" in told, (method, path, status)


def test_every_code_of_a_field_is_documented() -> None:
    root = Path(document.__file__).parents[1]
    found = set()
    for path in [*root.glob("directory/**/*.py"), *root.glob("identity/*.py")]:
        text = path.read_text()
        found |= set(re.findall(r'\brefusal\(\s*"([a-z_]+)"', text))
        if "Problem" in text:
            found |= set(re.findall(r'\bcode="([a-z_]+)"', text))
    assert found - set(error_codes.FIELDS) == set()
    assert error_codes.of_field("bool_type") == "type"
    assert error_codes.of_field("made_up") == "invalid"


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "nowhere", "not_found"),
        ("PATCH", "api_clients", "method_not_allowed"),
        ("GET", "api_clients/99", "not_found"),
    ],
)
def test_whoever_answers_an_error_has_a_code(api: Api, method: str, path: str, code: str) -> None:
    assert api(method, path)[1]["code"] == code


def test_a_body_that_is_no_json_has_a_code_of_its_own(api: Api) -> None:
    answer = api._client.post(
        "/api/api_clients", b"{", content_type="application/json",
        headers={"Authorization": f"Bearer {api.token}"},
    )  # fmt: skip
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request")


def test_the_document_is_public_and_names_this_workspace(api: Api) -> None:
    api.done("PUT", "v2/settings", {"console_url": "https://ostiary.example.com"})
    found = Client().get("/api/openapi.json").json()
    assert found["openapi"].startswith("3.1")
    assert found["servers"][0]["url"] == "https://ostiary.example.com"
    api.done("PUT", "v2/settings", {"console_url": "https://other.example.com"})
    assert "https://other.example.com" in Client().get("/api/openapi.json").content.decode()


def test_the_document_is_made_once_compressed_and_not_sent_twice(api: Api) -> None:
    client = Client()
    plain = client.get("/api/openapi.json")
    made = document._served.cache_info().misses
    packed = client.get("/api/openapi.json", headers={"Accept-Encoding": "br, gzip;q=0.8"})
    assert packed["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.content) == plain.content
    assert len(packed.content) < len(plain.content) / 8
    assert "Accept-Encoding" in packed["Vary"]
    assert packed["ETag"] != plain["ETag"]
    for answer, accepted in ((plain, "identity"), (packed, "gzip")):
        again = client.get(
            "/api/openapi.json",
            headers={"Accept-Encoding": accepted, "If-None-Match": f'"x", W/{answer["ETag"]}'},
        )
        assert (again.status_code, again.content, again["ETag"]) == (304, b"", answer["ETag"])
    assert "Content-Encoding" not in client.get(
        "/api/openapi.json", headers={"Accept-Encoding": "gzip;q=0"}
    )
    assert client.head("/api/openapi.json").status_code == 200
    assert client.post("/api/openapi.json").status_code == 405
    assert document._served.cache_info().misses == made


class World:
    """One object of each kind, and a second one where the first may not be deleted."""

    def __init__(self, api: Api) -> None:
        done = api.done
        self.api = api
        project = done("POST", "folders", {"name": "World"})["project_id"]
        empty = done("POST", "folders", {"name": "Empty"})["project_id"]
        folder = done("POST", "folders", {"name": "Inner", "parent_id": self._folder(project)})
        input_ = {"base_url": "http://10.0.0.1"}
        connection, spare = (
            done("POST", "connections", {"name": name, "input": input_})["id"] for name in "AB"
        )
        collection = done(
            "POST", "api_collections", {"name": "Orders", "proxy_connection_id": connection}
        )["id"]
        text = json.dumps(
            {
                "openapi": "3.1.0", "info": {"title": "T", "version": "1"},
                "paths": {"/a": {"get": {"responses": {}}}},
            }
        )  # fmt: skip
        imported = done(
            "POST", "api_collections",
            {"name": "Imported", "openapi_spec": {"content": text, "format": "json"}},
        )["id"]  # fmt: skip
        endpoint = done(
            "POST", f"api_collections/{collection}/api_endpoints",
            {"name": "E", "method": "GET", "path": "/orders/{id}", "active": True},
        )["id"]  # fmt: skip
        limit = {"limit": 5, "interval": "minute"}
        policy, unused = (
            done("POST", "v2/api_policies", {"name": name, "rate_limit": limit})["data"]["id"]
            for name in "PQ"
        )
        client = done("POST", "api_clients", {"name": "Acme"})["result"]["id"]
        profile = done(
            "POST", "api_access_profiles",
            {
                "name": "S", "api_client_id": client, "api_collection_ids": [collection],
                "auth_type": "token", "api_policy_id": policy,
            },
        )["result"]["id"]  # fmt: skip
        keyed = done(
            "POST", "v2/api_clients",
            {"name": "Keyed", "api_collection_ids": [collection], "auth_type": "token"},
        )["data"]  # fmt: skip
        key = done("POST", f"v2/api_clients/{keyed['id']}/api_keys", {"name": "K", "active": True})[
            "data"
        ]
        credential = done("GET", f"v2/access_profiles/{profile}/credentials")["data"][0]["id"]
        handover = done("POST", f"v2/access_profiles/{profile}/handovers")["data"]["id"]
        gone = done("POST", "api_clients", {"name": "Gone"})["result"]["id"]
        done("DELETE", f"api_clients/{gone}")
        deleted = done("GET", "v2/deleted_objects")["data"][0]["id"]
        addresses = done("POST", "v2/address_lists", {"name": "L", "entries": ["192.0.2.1"]})
        member = done("POST", "v2/members", {"email": "bob@example.com"})["data"]["id"]
        token = done("POST", "v2/tokens", {"name": "T", "admin": True})["data"]["id"]
        hook = done(
            "POST", "v2/webhooks",
            {"name": "W", "url": "https://example.com/", "events": ["client.activated"]},
        )["data"]["id"]  # fmt: skip
        delivery = done("POST", f"v2/webhooks/{hook}/test")["data"]["id"]
        kid = done("POST", "v2/signing_keys/rotate")["data"]["kid"]
        recipe = Recipe.objects.create(name="hello").pk
        gone = nodes.Identity(name="gone", role="gateway", instance="1", release="0.2.0")
        nodes.register(gone)
        nodes.leave(gone)
        node = nodes.listed()[0].id
        done("POST", f"properties?project_id={project}", {"properties": {"mail.host": "x"}})
        small = {
            "format": 1,
            "set": "s",
            "project": "World",
            "clients": [{"key": "c", "name": "C"}],
        }
        plan = done("POST", "v2/plans", {"configuration": small})["data"]["id"]
        self.ids = {
            "plan_id": plan, "project_id": project, "folder_id": folder["id"], "connection_id": connection,
            "collection_id": collection, "endpoint_id": endpoint, "recipe_id": recipe,
            "client_id": client, "profile_id": profile, "credential_id": credential,
            "list_id": addresses["data"]["id"], "policy_id": policy, "member_id": member,
            "kid": kid, "token_id": token, "webhook_id": hook, "delivery_id": delivery,
            "handover_id": handover, "node_id": node, "deleted_id": deleted,
        }  # fmt: skip
        self.others = {
            "delete_project": {"project_id": empty},
            "delete_connection": {"connection_id": spare},
            "delete_collection": {"collection_id": imported},
            "show_import_report": {"collection_id": imported},
            "preview_import": {"collection_id": imported},
            "import_document": {"collection_id": imported},
            "dismiss_import_report": {"collection_id": imported},
            "delete_policy": {"policy_id": unused},
        }
        of_client = {"client_id": keyed["id"]}
        for name in ("change", "show"):
            self.others[f"{name}_client_with_defaults"] = of_client
        for name in ("list_keys", "create_key"):
            self.others[name] = of_client
        for name in ("show", "change", "delete", "enable", "disable"):
            self.others[f"{name}_key"] = {**of_client, "key_id": key["id"]}
        self.others["refresh_key_secret"] = {**of_client, "key_id": key["id"]}
        #: What stands in examples for an object of this world.
        self.named: dict[str, object] = {
            "api_client_id": client, "api_collection_ids": [collection], "project_ids": [project],
            "proxy_connection_id": connection, "endpoint_ids": [endpoint], "project_id": project,
            "access_profile_id": profile, "api_collection_id": collection,
            "access_profile_ids": [profile], "folder_id": folder["id"],
            "until": (timezone.now() + timedelta(hours=1)).isoformat(),
        }  # fmt: skip

    def _folder(self, project: int) -> int:
        found: list[dict[str, int]] = self.api.done("GET", "projects")
        return next(each["folder_id"] for each in found if each["id"] == project)

    def send(self, method: str, path: str, operation: Any) -> tuple[int, bytes]:
        """Send the example of an operation; status and body."""
        name, ids = operation["operationId"], self.ids
        path = path.format_map({**ids, **self.others.get(name, {})}).removeprefix("/api/")
        query = {
            each["name"]: self.named.get(each["name"], each["example"])
            for each in operation["parameters"]
            if "example" in each and each["in"] == "query"
        }
        told = "&".join(
            f"{key}={str(value).replace('True', 'true')}" for key, value in query.items()
        )
        if name == "set_logo":
            return self._logo(f"/api/{path}")
        body = None
        for content in operation.get("requestBody", {}).get("content", {}).values():
            body = content.get("example")
        if isinstance(body, dict):
            body = {key: self.named.get(key, value) for key, value in body.items()}
        answer = self.api.answer(method, f"{path}?{told}" if told else path, body)
        return answer.status_code, answer.content

    def _logo(self, path: str) -> tuple[int, bytes]:
        picture = io.BytesIO()
        Image.new("RGB", (8, 8)).save(picture, "PNG")
        picture.name = "logo.png"
        picture.seek(0)
        answer = Client().generic(
            "PUT", path, encode_multipart(BOUNDARY, {"logo": picture}),
            content_type=MULTIPART_CONTENT, headers={"Authorization": f"Bearer {self.api.token}"},
        )  # fmt: skip
        return answer.status_code, answer.content


def test_every_operation_has_an_example_that_works(api: Api, described: Any) -> None:
    world, failed = World(api), []
    for method, path, operation in _operations(described):
        name = operation["operationId"]
        if name not in EXAMPLES:
            failed.append(f"{name}: has no example in `examples`")
            continue
        point = transaction.savepoint()
        if name == "end_raise":
            raised = {"limits": {"minute": 9}, "until": world.named["until"]}
            api.done("PUT", f"v2/access_profiles/{world.ids['profile_id']}/limits/raise", raised)
        status, content = world.send(method, path, operation)
        transaction.savepoint_rollback(point)
        if status != 200:
            failed.append(f"{method} {path}: {status} {content.decode()[:300]}")
    assert failed == []


def test_a_read_that_needs_more_than_a_viewer_says_so(api: Api, described: Any) -> None:
    world = World(api)
    viewer = api.as_(admin=False, role="viewer", everywhere=True)
    refused = set()
    for method, path, operation in _operations(described):
        name = operation["operationId"]
        if method == "GET":
            ids = {**world.ids, **world.others.get(name, {})}
            status, _ = viewer("GET", path.format_map(ids).removeprefix("/api/"))
            # Some are of no project that the token sees.
            assert status in {200, 400, 403, 404}, name
            refused |= {name} if status == 403 else set()
            assert (status == 200) <= (name in meanings.OPEN), name
    assert refused & meanings.OPEN == set()
