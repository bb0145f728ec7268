"""Hand-over links: who opens one sees the credential once, and nobody can read it otherwise."""

import base64
import json
import logging
import shlex
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from django.test import Client
from tests.api.conftest import Api, api

from ostiary.console.sign_in import lockout
from ostiary.directory.models import AccessProfile, AuditEvent, Credential, Handover, WebhookEvent
from ostiary.identity import handover_keys, tokens

__all__ = ["api"]

SHARED = "correct horse battery staple, and then some 1"
BROWSER = {"Accept": "text/html"}


@pytest.fixture(autouse=True)
def no_tries_before() -> Iterator[None]:
    yield
    lockout.succeeded("address:handover:127.0.0.1")


@pytest.fixture
def collection(api: Api) -> Any:
    connection = api.done(
        "POST", "connections", {"name": "o", "input": {"base_url": "http://10.0.0.1:81/"}}
    )
    made = {"name": "Orders", "proxy_connection_id": connection["id"]}
    return api.done("POST", "api_collections", made)


@pytest.fixture
def profile(api: Api, collection: Any) -> Any:
    return a_profile(api, collection)


def a_profile(api: Api, collection: Any, auth_type: str = "token", **more: Any) -> Any:
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    given = {
        "name": "Shop", "api_client_id": client["id"], "auth_type": auth_type,
        "api_collection_ids": [collection["id"]], "ip_allow_list": ["192.0.2.0/24"], **more,
    }  # fmt: skip
    return api.done("POST", "api_access_profiles", given)["result"]


def a_link(api: Api, profile: Any, **given: Any) -> Any:
    return api.done("POST", f"v2/access_profiles/{profile['id']}/handovers", given)["data"]


def key_of(link: Any) -> str:
    return str(link["handover_url"]).partition("#")[2]


def opened(link: Any) -> Any:
    return Client().post("/handover", {"code": key_of(link)}, headers=BROWSER)


def test_a_link_shows_a_new_token_once_with_all_that_a_first_request_needs(
    api: Api, profile: Any
) -> None:
    hook = {"name": "H", "url": "https://hooks.example.com/", "events": ["handover.opened"]}
    api.done("POST", "v2/webhooks", hook)
    link = a_link(api, profile)
    page = opened(link)
    assert page.status_code == 200
    text = page.content.decode()
    newest = Credential.objects.filter(profile_id=profile["id"]).latest("pk")
    shown = text.partition('id="secret" readonly value="')[2].partition('"')[0]
    assert tokens.fingerprint(shown) == bytes(newest.fingerprint)
    for said in ("/orders-v1", "API-TOKEN", "192.0.2.0/24", "Download OpenAPI", "Never"):
        assert said in text
    again = opened(link)
    assert again.status_code == 404
    assert shown not in again.content.decode()
    assert "otify" not in text
    found = api.done("GET", f"v2/handovers/{link['id']}")["data"]
    assert (found["handover_state"], found["opened_from"]) == ("opened", "127.0.0.1")
    (event,) = WebhookEvent.objects.filter(type="handover.opened")
    content = json.loads(event.payload)["data"]
    assert content["handover"] == {"id": link["id"], "opened_from": "127.0.0.1"}
    assert content["access_profile"]["id"] == profile["id"]
    assert shown not in event.payload
    assert list(AuditEvent.objects.filter(action="handover.open").values_list("address")) == [
        ("127.0.0.1",)
    ]


def test_the_old_credential_works_on_for_a_day_beside_the_new_one(api: Api, profile: Any) -> None:
    a_link(api, profile)
    old = Credential.objects.filter(profile_id=profile["id"]).earliest("pk")
    assert old.overlap_until is not None
    assert 86_300 < (old.overlap_until - old.created_at).total_seconds() < 86_700


def test_neither_getting_the_page_nor_a_previewer_opens_a_link(api: Api, profile: Any) -> None:
    link = a_link(api, profile)
    for method in ("GET", "HEAD"):
        page = Client().generic(method, "/handover")
        assert page.status_code == 200
    page = Client().get("/handover")
    assert "Show the credential" in page.content.decode()
    assert page["Cache-Control"] == "no-store"
    assert page["Referrer-Policy"] == "no-referrer"
    assert "noindex" in page["X-Robots-Tag"]
    assert "connect-src" not in page["Content-Security-Policy"]
    assert not page.cookies
    assert opened(link).status_code == 200


def test_links_that_show_nothing_answer_alike(api: Api, profile: Any) -> None:
    used, withdrawn, late, revoked = (a_link(api, profile) for _ in range(4))
    opened(used)
    api.done("DELETE", f"v2/handovers/{withdrawn['id']}")
    Handover.objects.filter(pk=late["id"]).update(expires_at="2020-01-01T00:00:00Z")
    api.done(
        "DELETE",
        f"v2/access_profiles/{profile['id']}/credentials/{revoked['credential_id']}",
    )
    unknown = {"handover_url": "#" + tokens.issue_handover_key().reveal()}
    answers = [opened(each) for each in (used, withdrawn, late, revoked, unknown)]
    assert {each.status_code for each in answers} == {404}
    assert len({each.content for each in answers}) == 1
    assert b"Ask who sent it" in answers[0].content


def test_a_withdrawn_link_keeps_no_secret_and_an_opened_one_cannot_be_withdrawn(
    api: Api, profile: Any
) -> None:
    link = a_link(api, profile)
    gone = api.done("DELETE", f"v2/handovers/{link['id']}")["data"]
    assert gone["handover_state"] == "withdrawn"
    assert Handover.objects.get(pk=link["id"]).sealed == ""
    link = a_link(api, profile)
    opened(link)
    assert Handover.objects.get(pk=link["id"]).sealed == ""
    assert api("DELETE", f"v2/handovers/{link['id']}")[0] == 409


def test_nothing_that_is_stored_or_logged_opens_a_link(
    api: Api, profile: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    link = a_link(api, profile, secret=profile["secret"])
    row = Handover.objects.get(pk=link["id"])
    stored = json.dumps(
        [
            {k: str(v) for k, v in each.items()}
            for table in (Handover, AuditEvent, Credential, AccessProfile)
            for each in table.objects.values()
        ]
    )
    raw = base64.urlsafe_b64decode(row.sealed)
    for secret in (key_of(link), profile["secret"]):
        assert secret not in stored
        assert secret.encode() not in raw
    assert handover_keys.opened(row.sealed, tokens.issue_handover_key().reveal()) is None
    opened(link)
    assert key_of(link) not in caplog.text
    assert profile["secret"] not in caplog.text


def test_the_secret_of_who_holds_it_is_handed_over_and_no_other(api: Api, profile: Any) -> None:
    link = a_link(api, profile, secret=profile["secret"])
    assert Credential.objects.filter(profile_id=profile["id"]).count() == 1
    assert profile["secret"] in opened(link).content.decode()
    path = f"v2/access_profiles/{profile['id']}/handovers"
    status, answer = api("POST", path, {"secret": "somebody else's, long enough"})
    assert (status, list(answer["errors"])) == (400, ["secret"])
    assert "somebody" not in json.dumps(answer)


def test_an_oauth_client_is_handed_over_with_id_and_secret(api: Api, collection: Any) -> None:
    profile = a_profile(api, collection, "oauth2")
    link = a_link(api, profile, secret=profile["oauth_client_secret"])
    text = opened(link).content.decode()
    assert profile["oauth_client_secret"] in text
    assert profile["oauth_client_id"] in text
    assert "/oauth2/token" in text
    assert "Client secret" in text


def test_an_hmac_secret_is_handed_over_or_replaced_by_a_new_one(api: Api, collection: Any) -> None:
    profile = a_profile(api, collection, "jwt", jwt_method="hmac", jwt_secret=SHARED)
    link = a_link(api, profile, secret=SHARED)
    older = a_link(api, profile, secret=SHARED)
    assert SHARED in opened(link).content.decode()
    text = opened(a_link(api, profile)).content.decode()
    assert SHARED not in text
    assert profile["profile_key"] in text
    assert opened(older).status_code == 404


@pytest.mark.parametrize("auth_type", ["token", "oauth2", "jwt"])
def test_no_path_and_no_imported_token_runs_a_command_of_its_own_where_the_first_request_is_pasted(
    api: Api, collection: Any, auth_type: str
) -> None:
    path = "/$(id)'&x={a}"
    content = {"name": "Hostile", "method": "GET", "path": path, "active": True}
    api.done("POST", f"api_collections/{collection['id']}/api_endpoints", content)
    token = "';id>x;'$(id)-0123456789"
    signed = {"jwt_method": "hmac", "jwt_secret": SHARED} if auth_type == "jwt" else {}
    more = {"token": token} if auth_type == "token" else signed
    profile = a_profile(api, collection, auth_type, **more)
    given = {"secret": token} if auth_type == "token" else {}
    text = unescape(opened(a_link(api, profile, **given)).content.decode())
    call = text.partition('<textarea id="call"')[2].partition(">")[2].partition("</textarea>")[0]
    words = shlex.split(call.splitlines()[-1])
    assert words[0] == "curl"
    assert len(words) == 4
    assert words[3].endswith("/orders-v1/$(id)'&x=1")
    if auth_type == "token":
        assert words[1:3] == ["-H", f"API-TOKEN: {token}"]


def test_methods_without_a_secret_have_nothing_to_hand_over(api: Api, collection: Any) -> None:
    profile = a_profile(api, collection, "oidc", oidc_issuer="https://login.example.com")
    status, answer = api("POST", f"v2/access_profiles/{profile['id']}/handovers", {})
    assert (status, list(answer["errors"])) == (400, ["auth_type"])


def test_who_opened_a_link_reads_the_documents_of_its_collections_and_no_others(
    api: Api, profile: Any, collection: Any
) -> None:
    link = a_link(api, profile)
    sent = {"code": key_of(link), "collection": collection["id"]}
    assert Client().post("/handover/openapi.json", sent).status_code == 404
    opened(link)
    document = Client().post("/handover/openapi.json", sent)
    assert document.status_code == 200
    assert json.loads(document.content)["openapi"] == "3.1.0"
    other = {**sent, "collection": collection["id"] + 1}
    assert Client().post("/handover/openapi.json", other).status_code == 404


def test_guessing_is_slowed_down_and_says_so(api: Api) -> None:
    answers = [
        Client().post("/handover", {"code": f"osth_{n}"}, headers=BROWSER).status_code
        for n in range(40)
    ]
    assert answers[0] == 404
    assert answers[-1] == 429


def test_a_viewer_makes_no_link_and_a_stranger_sees_none(api: Api, profile: Any) -> None:
    link = a_link(api, profile)
    path = f"v2/access_profiles/{profile['id']}/handovers"
    viewer = api.as_(admin=False, role="viewer", everywhere=True)
    assert viewer("POST", path, {})[0] == 403
    assert viewer("DELETE", f"v2/handovers/{link['id']}")[0] == 403
    assert viewer.done("GET", path)["data"][0]["handover_state"] == "waiting"
    project = api.done("POST", "folders", {"name": "Other"})["id"]
    stranger = api.as_(admin=False, role="owner", project_ids=[int(project)])
    assert stranger("GET", path)[0] == 404
    assert stranger("GET", f"v2/handovers/{link['id']}")[0] == 404
