"""Collections and endpoints are edited in the console; nothing that was typed is lost."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.console.steps import at, looks_good
from tests.stage import Stage, Upstream

pytestmark = [pytest.mark.browser, pytest.mark.gateway, pytest.mark.slow]


@pytest.fixture(scope="module")
def stage(shared_stage: Stage) -> Stage:
    return shared_stage


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.close()


@pytest.fixture(scope="module")
def collection(stage: Stage, upstream: Upstream) -> Any:
    paths = ("GET /things/{id}", "GET /things/new", "POST /things")
    return stage.a_collection(upstream, *paths, name="Edited")


@pytest.fixture(scope="module")
def token(stage: Stage, collection: Any) -> str:
    return str(stage.a_profile(collection)["secret"])


def test_an_endpoint_is_changed_and_the_gateway_follows(
    owner: Page, stage: Stage, collection: Any, token: str, upstream: Upstream
) -> None:
    at(owner, stage, f"/collections/{collection['id']}")
    owner.get_by_role("link", name="Edit GET /things/{id}").click()
    owner.get_by_label("Name", exact=True).fill("Show an article")
    owner.get_by_label("Path", exact=True).fill("/articles/{id}")
    owner.get_by_label("Path on the upstream", exact=True).fill("/v2/articles/{id}/show")
    owner.get_by_label("Timeout in seconds", exact=True).fill("7")
    owner.get_by_label("Description", exact=True).fill("One article")
    looks_good(owner, "endpoint-edit")
    owner.get_by_role("button", name="Save").click()
    expect(owner.get_by_role("status")).to_contain_text("was changed")
    assert stage.call("/edited-v1/things/5", token).status == 404
    assert stage.call("/edited-v1/articles/5", token).status == 200
    assert upstream.seen[-1].target == "/v2/articles/5/show"
    # Emptied, both follow again: the path, and the connection's timeout.
    owner.get_by_role("link", name="Edit GET /articles/{id}").click()
    expect(owner.get_by_label("Timeout in seconds", exact=True)).to_have_value("7")
    owner.get_by_label("Path on the upstream", exact=True).fill("")
    owner.get_by_label("Timeout in seconds", exact=True).fill("")
    owner.get_by_role("button", name="Save").click()
    assert stage.call("/edited-v1/articles/5", token).status == 200
    assert upstream.seen[-1].target == "/articles/5"


def test_mistakes_in_an_endpoint_are_said_and_kept(
    owner: Page, stage: Stage, collection: Any
) -> None:
    at(owner, stage, f"/collections/{collection['id']}")
    owner.get_by_role("link", name="Edit POST /things").click()
    owner.get_by_label("Timeout in seconds", exact=True).fill("soon")
    owner.get_by_label("Path on the upstream", exact=True).fill("/x/{other}")
    owner.get_by_role("button", name="Save").click()
    expect(owner.get_by_role("alert").filter(has_text="from 1 to 240")).to_be_visible()
    expect(owner.get_by_role("alert").filter(has_text="{other} is not in the path")).to_be_visible()
    expect(owner.get_by_label("Timeout in seconds", exact=True)).to_have_value("soon")


def test_a_path_says_what_it_matches_while_it_is_typed(
    owner: Page, stage: Stage, collection: Any
) -> None:
    at(owner, stage, f"/collections/{collection['id']}/endpoints/new")
    path = owner.get_by_label("Path", exact=True)
    path.press_sequentially("/things/{number}")
    expect(owner.get_by_text("/edited-v1/things/42")).to_be_visible()
    expect(owner.get_by_text(re.compile("more literal"))).to_be_visible()
    path.fill("/things/{")
    path.press_sequentially("x")
    expect(owner.get_by_text("has a brace without its other half")).to_be_visible()
    path.fill("/things/")
    path.press_sequentially("*")
    expect(owner.get_by_text("write {name} for one segment")).to_be_visible()
    path.fill("/articles/")
    path.press_sequentially("{x}")
    expect(owner.get_by_text("has these calls already")).to_be_visible()


def test_a_collection_says_which_endpoint_takes_a_call(
    owner: Page, stage: Stage, collection: Any
) -> None:
    at(owner, stage, f"/collections/{collection['id']}")
    path = owner.get_by_label("Path of a call", exact=True)
    # Another test moves GET /things/{id}; this path is there before and after.
    path.press_sequentially("/things")
    said = owner.locator("#call-help")
    owner.get_by_label("Method of a call", exact=True).select_option("DELETE")
    expect(said).to_contain_text("answered 405")
    path.fill("/things")
    path.press_sequentially("%2F7")
    expect(said).to_contain_text("answered 400")
    owner.get_by_label("Method of a call", exact=True).select_option("GET")
    path.fill("/things/")
    path.press_sequentially("new")
    expect(said).to_contain_text("Goes to GET /things/new")
    path.fill("/nothing")
    path.press_sequentially("/x")
    expect(said).to_contain_text("answered 404")


def test_an_import_keeps_its_report_and_all_endpoints_are_activated_at_once(
    owner: Page, stage: Stage, upstream: Upstream
) -> None:
    document = {
        "swagger": "2.0",
        "host": upstream.url.removeprefix("http://"),
        "schemes": ["http"],
        "paths": {
            "/{rest+}": {"x-amazon-apigateway-any-method": {"summary": "Everything else"}},
            "/a/{b}.json": {"get": {}},
            "/old/:id": {"get": {}},
        },
    }
    at(owner, stage, "/collections/new")
    owner.get_by_label("Name", exact=True).fill("Brought in")
    owner.get_by_text("Import an OpenAPI document").click()
    owner.get_by_label("Or paste it").fill(json.dumps(document))
    owner.get_by_role("button", name="Add collection").click()
    owner.get_by_role("button", name="Create the collection").click()
    expect(owner.get_by_role("status").first).to_contain_text("2 endpoints were taken")
    report = owner.get_by_role("region", name="Report of the import")
    expect(report).to_contain_text("GET /old/:id (line 1) the path has ':id': write {id}")
    owner.get_by_role("button", name="Activate all", exact=True).click()
    expect(owner.get_by_text("2 endpoints are now active")).to_be_visible()
    expect(report).to_be_visible()
    looks_good(owner, "collection-imported")
    made = next(c for c in stage.done("GET", "api_collections") if c["name"] == "Brought in")
    token = stage.a_profile(made)["secret"]
    assert stage.call(f"/{made['handle']}/x/y", token, method="PATCH").status == 200
    assert upstream.seen[-1].target == "/x/y"
    owner.get_by_role("link", name="Try it ANY /{rest...}").click()
    owner.get_by_label("Method", exact=True).select_option("PUT")
    owner.get_by_label("rest", exact=True).fill("deep/er/")
    owner.get_by_role("button", name="Send the call").click()
    expect(owner.locator("#answer")).to_contain_text("200")
    assert (upstream.seen[-1].method, upstream.seen[-1].target) == ("PUT", "/deep/er/")
    at(owner, stage, f"/collections/{made['id']}")
    owner.get_by_role("button", name="Delete this report").click()
    expect(report).to_have_count(0)
    owner.get_by_role("link", name="Edit collection").click()
    owner.get_by_label("Allow encoded slashes and semicolons in paths").check()
    owner.get_by_role("button", name="Save").click()
    expect(owner.get_by_text("It must not take them for separators of its own")).to_be_visible()
    assert stage.call(f"/{made['handle']}/x%2Fy", token).status == 200
    assert upstream.seen[-1].target == "/x%2Fy"


def test_a_base_url_says_what_it_means_while_it_is_typed(owner: Page, stage: Stage) -> None:
    at(owner, stage, "/connections/new")
    urls = owner.get_by_label("Base URLs", exact=True)
    urls.press_sequentially("http://10.0.0.7:9000/api")
    expect(owner.get_by_text("without encryption")).to_be_visible()
    urls.fill("http://169.254.169.254")
    urls.press_sequentially("/x")
    expect(owner.locator("#url-help .problem")).to_be_visible()


def test_a_collection_is_changed(owner: Page, stage: Stage, collection: Any, token: str) -> None:
    at(owner, stage, f"/collections/{collection['id']}")
    owner.get_by_role("link", name="Edit collection").click()
    owner.get_by_label("Name", exact=True).fill("Edited well")
    owner.get_by_label("Version", exact=True).fill("1.1")
    owner.get_by_label("Browser origins (CORS)", exact=True).fill("https://app.example.com/path")
    owner.get_by_role("button", name="Save").click()
    expect(owner.get_by_role("alert")).to_contain_text("isn't an origin")
    expect(owner.get_by_label("Name", exact=True)).to_have_value("Edited well")
    owner.get_by_label("Browser origins (CORS)", exact=True).fill("https://app.example.com")
    owner.get_by_label("The consumer's credential").check()
    looks_good(owner, "collection-edit")
    owner.get_by_role("button", name="Save").click()
    expect(owner.get_by_role("heading", name="Edited well", level=1)).to_be_visible()
    origin = {"Origin": "https://app.example.com"}
    answer = stage.call("/edited-v1/things/new", token, headers=origin)
    assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
    assert token in answer.body.decode()


def test_two_who_edit_at_once_are_told(owner: Page, stage: Stage, collection: Any) -> None:
    at(owner, stage, f"/collections/{collection['id']}/edit")
    stage.done("PUT", f"api_collections/{collection['id']}", {"description": "Theirs"})
    owner.get_by_label("Description", exact=True).fill("Mine")
    owner.get_by_role("button", name="Save").click()
    expect(owner.get_by_role("alert")).to_contain_text("Somebody else changed it")
    expect(owner.get_by_label("Description", exact=True)).to_have_value("Mine")
    owner.get_by_role("button", name="Save").click()
    expect(owner.get_by_text("Mine")).to_be_visible()


URL = {"base_url": "http://10.0.0.7"}
RATE = {"rate_limit": {"limit": 9, "interval": "minute"}}


@pytest.mark.parametrize(
    ("form", "theirs", "more", "label"),
    [
        pytest.param("/clients/{client}/edit", "api_clients/{client}", {}, "Name", id="client"),
        pytest.param(
            "/profiles/{profile}/edit",
            "api_access_profiles/{profile}",
            {},
            "Profile name",
            id="access profile",
        ),
        pytest.param(
            "/policies/{policy}/edit", "v2/api_policies/{policy}", RATE, "Name", id="policy"
        ),
        pytest.param(
            "/connections/{connection}/edit",
            "connections/{connection}",
            {"input": URL},
            "Name",
            id="connection",
        ),
        pytest.param("/webhooks/{webhook}/edit", "v2/webhooks/{webhook}", {}, "Name", id="webhook"),
        pytest.param("/projects/{project}/edit", "projects/{project}", {}, "Name", id="project"),
        pytest.param("/settings", "v2/settings", {}, "Workspace name", id="settings"),
    ],
)
def test_who_saves_second_is_told_on_every_form_and_loses_nothing(
    owner: Page,
    stage: Stage,
    ids: dict[str, Any],
    form: str,
    theirs: str,
    more: dict[str, Any],
    label: str,
) -> None:
    at(owner, stage, form.format(**ids))
    stage.done("PUT", theirs.format(**ids), {"name": "Theirs", **more})
    owner.get_by_label(label, exact=True).fill("Mine")
    owner.get_by_role("button", name="Save", exact=True).click()
    expect(owner.get_by_role("alert")).to_contain_text("Somebody else changed it")
    expect(owner.get_by_label(label, exact=True)).to_have_value("Mine")
    assert 'value="Theirs"' in owner.request.get(owner.url.partition("?")[0]).text()
    owner.get_by_role("button", name="Save", exact=True).click()
    expect(owner.get_by_role("status")).to_be_visible()
    at(owner, stage, form.format(**ids))
    expect(owner.get_by_label(label, exact=True)).to_have_value("Mine")


def test_who_saves_second_is_told_also_after_the_preview(
    owner: Page, stage: Stage, ids: dict[str, Any]
) -> None:
    at(owner, stage, f"/profiles/{ids['profile']}/edit")
    owner.get_by_label("Allowed IPs", exact=True).fill("192.0.2.0/24")
    owner.get_by_role("button", name="Save", exact=True).click()
    expect(owner.get_by_role("button", name="Save this change")).to_be_visible()
    stage.done("PUT", f"api_access_profiles/{ids['profile']}", {"name": "Theirs too"})
    owner.get_by_role("button", name="Save this change").click()
    expect(owner.get_by_role("alert")).to_contain_text("Somebody else changed it")
    expect(owner.get_by_label("Allowed IPs", exact=True)).to_have_value("192.0.2.0/24")
    assert 'value="Theirs too"' in owner.request.get(owner.url.partition("?")[0]).text()


@pytest.fixture(scope="module")
def ids(stage: Stage, collection: Any) -> dict[str, Any]:
    client = stage.a_client("Edited twice")
    hook = {"name": "Twice", "url": "https://hooks.example.com/x", "events": ["quota.warning"]}
    return {
        "client": client["id"],
        "profile": stage.a_profile(collection, client=client, name="Twice")["id"],
        "policy": stage.done("POST", "v2/api_policies", {"name": "Twice", **RATE})["data"]["id"],
        "connection": stage.done("POST", "connections", {"name": "Twice", "input": URL})["id"],
        "webhook": stage.done("POST", "v2/webhooks", hook)["data"]["id"],
        "project": stage.done("POST", "folders", {"name": "Twice"})["id"],
    }


def test_the_document_is_downloaded_for_a_method(
    owner: Page, stage: Stage, collection: Any
) -> None:
    at(owner, stage, f"/collections/{collection['id']}")
    with owner.expect_download() as got:
        owner.get_by_role("link", name="OAuth 2.0 access token").click()
    document = json.loads(got.value.path().read_text())
    assert got.value.suggested_filename == "edited-v1.json"
    assert document["servers"][0]["url"].endswith(f":{stage.gateway}/edited-v1")
    assert "/articles/{id}" in document["paths"]
    flow = document["components"]["securitySchemes"]["oauth2"]["flows"]["clientCredentials"]
    assert flow["tokenUrl"].endswith("/oauth2/token")


def test_defaults_change_for_all_that_follow_and_one_press_detaches(
    owner: Page, stage: Stage, collection: Any, upstream: Upstream
) -> None:
    other = stage.a_collection(upstream, "GET /stock", name="Stock")
    given = {"name": "Follows", "auth_type": "token", "api_collection_ids": [collection["id"]]}
    client = stage.done("POST", "v2/api_clients", given)["data"]
    path = f"v2/api_clients/{client['id']}/api_keys"
    key = stage.done("POST", path, {"name": "Nightly", "active": True})["data"]
    at(owner, stage, f"/clients/{client['id']}")
    defaults = owner.get_by_role("region", name="Defaults")
    expect(defaults).to_contain_text("1 of 1")
    looks_good(owner, "client-with-defaults")
    defaults.get_by_role("link", name="Change defaults").click()
    owner.get_by_label("Stock", exact=True).check()
    looks_good(owner, "client-defaults")
    owner.get_by_role("button", name="Save").click()
    owner.get_by_role("button", name="Save").click()
    expect(owner.get_by_role("status")).to_contain_text("was changed")
    assert stage.call("/stock-v1/stock", key["auth_token"]).status == 200
    at(owner, stage, f"/profiles/{key['id']}")
    expect(owner.get_by_role("main")).to_contain_text("Follows its client")
    looks_good(owner, "profile-that-follows")
    owner.get_by_role("link", name="Edit Nightly").click()
    expect(owner.get_by_text("This profile follows its client")).to_be_visible()
    expect(owner.get_by_label("Stock", exact=True)).to_have_count(0)
    looks_good(owner, "profile-that-follows-edit")
    owner.get_by_label("Profile name", exact=True).fill("Nightly import")
    owner.get_by_role("button", name="Save").click()
    expect(owner.get_by_role("status")).to_contain_text("was changed")
    at(owner, stage, f"/profiles/{key['id']}/edit")
    owner.get_by_role("button", name="Detach from the client").click()
    expect(owner.get_by_role("status")).to_contain_text("settings of its own")
    stage.done("PUT", f"v2/api_clients/{client['id']}", given)
    found = stage.done("GET", f"{path}/{key['id']}")["data"]
    assert (found["name"], found["follows_client"]) == ("Nightly import", False)
    assert sorted(found["api_collection_ids"]) == sorted([collection["id"], other["id"]])
    expect(owner.get_by_role("button", name="Follow the client's defaults")).to_be_visible()
