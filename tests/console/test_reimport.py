"""The next document of a collection in the console: uploaded once, previewed, and chosen from."""

import json
import random
import re
import time
from html import unescape
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone
from playwright.sync_api import Page, expect
from tests.api.conftest import Api, api
from tests.api.test_reimports import FIRST, NEXT, a_spec, endpoints, made
from tests.console.steps import at, looks_good
from tests.stage import Stage

from ostiary.console.catalog import openapi_documents
from ostiary.directory.actor import SYSTEM
from ostiary.directory.models import (
    AccessProfile,
    Collection,
    Connection,
    Endpoint,
    FormPage,
)
from ostiary.directory.people import members
from ostiary.usage.models import MinuteCount

__all__ = ["api", "made"]
YAML = "openapi: 3.0.0\r\npaths:\r\n  /a:\r\n    get: {summary: Another}\r\n"


class Editor:
    """Somebody who is signed in and fills in the two pages as a browser does."""

    def __init__(self, made: Any, *, admin: bool = True) -> None:
        self.member = members.create(by=SYSTEM, email="editor@example.com", admin=admin)
        self.client = Client()
        self.client.force_login(self.member)
        self.path = f"/collections/{made['id']}/import"

    def read(self, path: str) -> str:
        return unescape(self.client.get(path).content.decode())

    def send(self, fields: dict[str, Any]) -> str:
        return unescape(self.client.post(self.path, fields, follow=True).content.decode())

    def upload(self, text: str) -> str:
        return self.send({"openapi_file": SimpleUploadedFile("next.json", text.encode())})


def boxes(said: str, kind: str) -> dict[str, bool]:
    """The operations of a kind that a preview lists, and whether their boxes are ticked."""
    found = re.findall(rf'name="{kind}" value="([^"]*)"( checked)?', said)
    return {name: bool(ticked) for name, ticked in found}


def fields(said: str) -> dict[str, Any]:
    """What a browser sends of a preview as it is."""
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^>]*)">', said))
    chosen = {
        kind: [name for name, ticked in boxes(said, kind).items() if ticked]
        for kind in ("added", "changed", "gone")
    }
    return {**hidden, **chosen}


def test_a_preview_lists_what_changes_with_boxes_and_saves_nothing(api: Api, made: Any) -> None:
    before = endpoints(api, made)
    said = Editor(made).upload(NEXT["content"])
    assert boxes(said, "added") == {"POST /e": True, "GET /f": True}
    assert boxes(said, "changed") == {"GET /a": True, "GET /b": True, "GET /c/{number}": True}
    assert boxes(said, "gone") == {"GET /d": False, "POST /hand": False}
    assert "name, responses" in said
    assert "made by hand" in said
    assert "<code>TRACE /f (line 1)</code> the gateway does not forward TRACE" in said
    assert "What you tick here is <strong>deleted</strong>" in said
    assert endpoints(api, made) == before


def test_a_preview_names_the_profiles_that_call_what_is_gone(api: Api, made: Any) -> None:
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    profile = api.done(
        "POST", "api_access_profiles",
        {"name": "Nightly", "api_client_id": client["id"], "api_collection_ids": [made["id"]], "auth_type": "token"},
    )["result"]  # fmt: skip
    gone = Endpoint.objects.get(collection=made["id"], path="/d")
    MinuteCount.objects.create(
        time=_minute(), profile_id=profile["id"], client_id=client["id"], reason=0,
        collection_id=made["id"], endpoint_id=gone.pk, status=2, calls=312,
    )  # fmt: skip
    said = Editor(made).upload(NEXT["content"])
    assert "1 access profile includes this collection" in said
    row = said[said.index('value="GET /d"') :].partition("</tr>")[0]
    assert f'href="/profiles/{AccessProfile.objects.get().pk}"' in row
    assert 'Nightly</a> <span class="muted">of Acme, 312</span>' in row


def _minute() -> int:
    return int(time.time()) // 60 * 60 - 120


def test_what_is_ticked_is_taken_without_a_second_upload(api: Api, made: Any) -> None:
    editor = Editor(made)
    chosen = fields(editor.upload(NEXT["content"]))
    chosen |= {"added": ["POST /e"], "changed": ["GET /b"], "gone": ["GET /d"], "active": "1"}
    said = editor.send(chosen)
    assert "The document was imported: 1 added, 1 changed, 1 deleted." in said
    assert "What was added is active." in said
    assert "Report of the import" in said
    found = endpoints(api, made)
    assert set(found) == {"GET /a", "GET /b", "GET /c/{id}", "POST /hand", "POST /e"}
    assert (found["GET /b"]["name"], found["POST /e"]["active"]) == ("New B", True)
    # The same form once more, as of a double click: its version has passed.
    assert "Nothing was imported" in editor.send(chosen)


def test_nothing_is_deleted_unless_it_is_ticked(api: Api, made: Any) -> None:
    editor = Editor(made)
    said = editor.send(fields(editor.upload(NEXT["content"])))
    assert "2 added, 3 changed, 0 deleted. What was added is inactive." in said
    assert {"GET /d", "POST /hand"} < set(endpoints(api, made))


def test_a_collection_that_moved_meanwhile_is_previewed_again_and_kept(api: Api, made: Any) -> None:
    editor = Editor(made)
    first = fields(editor.upload(NEXT["content"]))
    hand = {"name": "Late", "method": "GET", "path": "/late"}
    api.done("POST", f"api_collections/{made['id']}/api_endpoints", hand)
    before = endpoints(api, made)
    said = editor.send({**first, "gone": ["GET /d"]})
    assert "Nothing was imported: the collection was changed after the preview" in said
    assert boxes(said, "gone") == {"GET /d": False, "POST /hand": False, "GET /late": False}
    assert endpoints(api, made) == before
    assert "The document was imported" in editor.send(fields(said))


@pytest.mark.parametrize("version", [{}, {"version": ""}])
def test_without_a_preview_nothing_is_taken(api: Api, made: Any, version: dict[str, str]) -> None:
    editor = Editor(made)
    sent = fields(editor.upload(NEXT["content"]))
    del sent["version"]
    assert "Nothing was imported" in editor.send(sent | version)


def test_a_choice_that_is_refused_keeps_its_ticks(api: Api, made: Any) -> None:
    editor = Editor(made)
    sent = fields(editor.upload(NEXT["content"]))
    said = editor.send({**sent, "added": ["GET /f", "GET /none"], "gone": ["GET /d"]})
    assert "'GET /none' is not among them" in said
    assert boxes(said, "added") == {"POST /e": False, "GET /f": True}
    assert boxes(said, "gone") == {"GET /d": True, "POST /hand": False}


def test_a_pasted_yaml_document_keeps_its_line_ends_between_the_pages(api: Api, made: Any) -> None:
    editor = Editor(made)
    said = editor.send({"openapi_spec": YAML})
    assert boxes(said, "changed") == {"GET /a": True}
    assert "0 added, 1 changed, 0 deleted" in editor.send(fields(said))


@pytest.mark.parametrize(
    ("sent", "problem"),
    [
        ({}, "Choose a file, or paste the document."),
        ({"openapi_spec": "swagger: 1"}, 'role="alert"'),
        ({"step": "apply"}, openapi_documents.LOST),
        ({"step": "apply", "document": "AAAA"}, openapi_documents.LOST),
        ({"step": "apply", "document": "é"}, openapi_documents.LOST),
    ],
)
def test_what_is_no_document_is_said_at_the_form(
    api: Api, made: Any, sent: dict[str, str], problem: str
) -> None:
    said = Editor(made).send(sent)
    assert problem in said
    assert 'name="openapi_file"' in said


def test_a_document_larger_than_a_field_is_taken_and_all_its_boxes_with_it(
    api: Api, made: Any
) -> None:
    answer = {"200": {"description": "y" * 3000}}
    paths = {f"/many/{i}": {"get": {"responses": answer}} for i in range(2500)}
    editor = Editor(made)
    sent = fields(editor.upload(a_spec(paths)["content"]))
    assert len(sent["added"]) == 2500
    assert "2,500 added, 0 changed, 0 deleted" in editor.send(sent)


def test_a_document_that_no_form_could_carry_is_previewed_and_taken(api: Api, made: Any) -> None:
    # What does not compress: more than all fields of a form together may have.
    noise = random.Random(1)
    answer = {
        f"/n{i}": {"get": {"responses": {"200": {"description": noise.randbytes(700_000).hex()}}}}
        for i in range(10)
    }
    editor = Editor(made)
    said = editor.upload(a_spec(answer)["content"])
    assert len(fields(said)["document"]) < 100
    assert "10 added, 0 changed, 0 deleted" in editor.send(fields(said))


def test_a_document_is_kept_for_its_own_member_and_for_a_while(api: Api, made: Any) -> None:
    editor = Editor(made)
    sent = fields(editor.upload(NEXT["content"]))
    assert openapi_documents.LOST in editor.send({**sent, "document": "another"})
    FormPage.objects.update(expires_at=timezone.now())
    assert openapi_documents.LOST in editor.send(sent)


def test_each_added_operation_is_active_or_not_as_it_is_ticked(api: Api, made: Any) -> None:
    editor = Editor(made)
    sent = fields(editor.upload(NEXT["content"]))
    said = editor.send({**sent, "activate": ["GET /f"]})
    assert "Of what was added, 1 are active." in said
    found = endpoints(api, made)
    assert (found["GET /f"]["active"], found["POST /e"]["active"]) == (True, False)


@pytest.fixture
def forms(api: Api) -> Client:
    client = Client()
    client.force_login(members.create(by=SYSTEM, email="maker@example.com", admin=True))
    return client


def test_a_new_collection_takes_the_operations_that_are_ticked(forms: Client) -> None:
    paths = {
        f"/item/{i}": {
            "get": {"tags": ["read"] if i % 2 else ["read", "odd"]},
            "post": {"tags": ["write"]},
        }
        for i in range(15)
    }
    given = {"name": "Shop", "kind": "proxy", "base_url": "http://10.0.0.9", "version": "3.1"}
    sent = {**given, "openapi_spec": a_spec(paths)["content"]}
    said = unescape(forms.post("/collections/new", sent, follow=True).content.decode())
    assert "The document has 30 operations. Nothing is saved yet." in said
    assert not Collection.objects.filter(name="Shop").exists()
    assert not Connection.objects.filter(name="Shop").exists()
    assert len(boxes(said, "take")) == 30
    assert set(boxes(said, "take").values()) == {True}
    assert set(boxes(said, "activate").values()) == {False}
    assert "<option>odd</option><option>read</option><option>write</option>" in said
    assert 'data-tags="read\nodd"' in said
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^>]*)">', said))
    take = [f"GET /item/{i}" for i in range(15)]
    chosen = {**hidden, "take": take, "activate": [*take[:3], "POST /item/1"]}
    said = unescape(forms.post("/collections/new", chosen, follow=True).content.decode())
    assert "15 endpoints were taken from the document; 3 of them are active." in said
    made = Collection.objects.get(name="Shop")
    assert (made.version, made.connection is not None) == ("3.1", True)
    assert made.endpoints.filter(active=True).count() == 3
    assert not made.endpoints.filter(method="POST").exists()


def test_what_does_not_fit_a_new_collection_is_said_before_its_endpoints(forms: Client) -> None:
    sent = {"name": "", "kind": "proxy", "openapi_spec": FIRST["content"]}
    answer = forms.post("/collections/new", sent, follow=True)
    said = unescape(answer.content.decode())
    assert "New collection" in said
    assert "Choose endpoints" not in said
    assert "can't be blank" in said


def test_a_viewer_sees_no_button_and_cannot_open_the_page(api: Api, made: Any) -> None:
    viewer = Editor(made, admin=False)
    where = f"v2/members/{viewer.member.pk}/projects/{api.home}"
    api.done("PUT", where, {"role": "viewer"})
    collection = f"/collections/{made['id']}"
    assert "Import the next document" not in viewer.read(collection)
    assert viewer.client.get(viewer.path).status_code == 403
    assert viewer.client.post(viewer.path, {"openapi_spec": "x"}).status_code == 403
    api.done("PUT", where, {"role": "editor"})
    assert "Import the next document" in viewer.read(collection)


def test_a_recipe_collection_has_no_next_document(api: Api) -> None:
    made = api.done("POST", "api_collections", {"name": "Recipes"})
    assert made["kind"] == Collection.Kind.RECIPE
    editor = Editor(made)
    assert "Import the next document" not in editor.read(f"/collections/{made['id']}")
    assert editor.client.get(editor.path).status_code == 404


@pytest.fixture(scope="module")
def stage(shared_stage: Stage) -> Stage:
    return shared_stage


@pytest.mark.browser
@pytest.mark.gateway
@pytest.mark.slow
def test_the_next_document_is_imported_without_a_mouse(owner: Page, stage: Stage) -> None:
    spec = {"content": FIRST["content"], "format": "json", "active": True}
    made = stage.done("POST", "api_collections", {"name": "Re-imported", "openapi_spec": spec})
    tree = json.loads(NEXT["content"])
    tree["paths"][f"/{'long_' * 30}/{{identifier}}"] = {"get": {}}
    at(owner, stage, f"/collections/{made['id']}")
    owner.get_by_role("link", name="Import the next document").press("Enter")
    owner.get_by_label("File", exact=True).set_input_files(
        {"name": "next.json", "mimeType": "application/json", "buffer": json.dumps(tree).encode()}
    )
    looks_good(owner, "reimport-form")
    owner.get_by_role("button", name="Preview").press("Enter")
    expect(owner.get_by_label("POST /e", exact=True)).to_be_checked()
    expect(owner.get_by_label("Delete GET /d")).not_to_be_checked()
    looks_good(owner, "reimport-preview")
    owner.get_by_label("Delete GET /d").press("Space")
    owner.get_by_role("button", name="Apply").press("Enter")
    expect(owner.get_by_role("status").first).to_contain_text("3 added, 3 changed, 1 deleted")
    listed = stage.done("GET", f"api_endpoints?api_collection_id={made['id']}")
    assert len(listed) == 6
    assert "d" not in [each["path"] for each in listed]
    looks_good(owner, "reimport-done")
