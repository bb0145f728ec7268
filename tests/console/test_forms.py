"""Forms of the console in this process, without a gateway: what they save, and what they say."""

import csv
import http.server
import json
import re
import threading
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from django.test import Client
from tests.api.conftest import Api, api
from tests.openid_provider import a_key, public
from tests.stage import free_port

from ostiary import settings
from ostiary.authority.provider_keys import FOLDER, KeySource, _file
from ostiary.directory.actor import SYSTEM
from ostiary.directory.changes import unpublished_objects
from ostiary.directory.models import Client as ApiClient
from ostiary.directory.models import Credential, Policy
from ostiary.directory.people import members
from ostiary.identity import tokens

__all__ = ["api"]


class Owner:
    """An admin who is signed in: sends forms, and reads what the next page says."""

    def __init__(self) -> None:
        self._client = Client()
        self._client.force_login(members.create(by=SYSTEM, email="owner@example.com", admin=True))

    def read(self, path: str) -> str:
        return unescape(self.raw(path))

    def raw(self, path: str) -> str:
        answer = self._client.get(path)
        assert answer.status_code == 200, (path, answer.status_code)
        return str(answer.content.decode())

    def lines(self, path: str) -> list[str]:
        """A table that is sent as it is made."""
        return self._client.get(path).getvalue().decode().splitlines()

    def status(self, path: str, headers: dict[str, str]) -> int:
        return int(self._client.get(path, headers=headers).status_code)

    def send(self, path: str, content: dict[str, Any]) -> str:
        """Send a form; the page that answers it, or the one that it leads to."""
        answer = self._client.post(path, content, follow=True)
        return unescape(answer.content.decode())

    def submit(self, path: str, content: dict[str, Any]) -> str:
        """Send a form as browsers do, which are asked before some things; the page that it leads to."""
        answer = self._client.post(path, content, headers={"Accept": "text/html"})
        assert answer.status_code == 303
        return self.read(answer.headers["Location"])

    def summary(self, path: str, content: dict[str, Any]) -> str:
        return _words(self._client.post(path, content).content.decode())


@pytest.fixture
def owner(api: Api) -> Owner:
    return Owner()


def test_a_number_that_is_none_is_said_once_at_its_field(owner: Owner) -> None:
    said = owner.send("/policies/new", {"name": "Gold", "rate_minute": "many", "quota": "0"})
    for label in ("Requests per minute", "Usage quota"):
        assert said.count(f'role="alert">{label} must be a whole number from 1 to') == 1
    assert said.count('role="alert"') == said.count("must be a whole number") + said.count(
        "is not included in the list"
    )
    assert "can't be blank" not in said
    assert not Policy.objects.exists()


def test_a_form_leaves_alone_what_it_does_not_show(owner: Owner, api: Api) -> None:
    collection = api.done("POST", "api_collections", {"name": "Things"})
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    made = {
        "name": "P", "api_client_id": client["id"], "api_collection_ids": [collection["id"]],
        "auth_type": "token", "active": False, "expires_at": "2999-01-31T12:00:00Z",
    }  # fmt: skip
    before = api.done("POST", "api_access_profiles", made)["result"]
    path = f"/profiles/{before['id']}/edit"
    owner.send(
        path,
        {"name": "Q", "collections": collection["id"], "auth_type": "token", "step": "save",
         "read": _version(owner.read(path))},
    )  # fmt: skip
    after = api.done("GET", f"api_access_profiles/{before['id']}")["result"]
    assert after["name"] == "Q"
    assert (after["active"], after["expires_at"]) == (False, before["expires_at"])


def test_an_expiry_is_set_shown_kept_and_lifted_in_the_form_of_a_profile(
    owner: Owner, api: Api
) -> None:
    collection = api.done("POST", "api_collections", {"name": "Things"})
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    filled = {"name": "P", "collections": collection["id"], "auth_type": "token"}
    new = f"/clients/{client['id']}/profiles/new"
    review = owner.send(new, filled | {"expires_on": "2999-01-31", "step": "next"})
    assert "31 January 2999, 23:59 UTC" in review
    owner.send(new, filled | {"expires_on": "2999-01-31", "step": "create", "once": "1"})
    (made,) = api.done("GET", "api_access_profiles")
    assert made["expires_at"].startswith("2999-01-31T23:59:59")
    path = f"/profiles/{made['id']}"
    assert "31 January 2999, 23:59 UTC" in owner.read(path)

    def change(day: str, read: str) -> str:
        version = _version(owner.read(f"{path}/edit"))
        days = {"expires_on": day, "expires_read": read, "read": version, "step": "save"}
        return owner.send(f"{path}/edit", filled | days)

    exact = "2999-01-31T08:00:00Z"
    api.done("PUT", f"api_access_profiles/{made['id']}", {"expires_at": exact})
    for day, read, expected in (
        ("2999-01-31", "2999-01-31", "2999-01-31T08:00:00"),
        ("2998-02-01", "2999-01-31", "2998-02-01T23:59:59"),
        ("", "2998-02-01", "None"),
    ):
        change(day, read)
        kept = api.done("GET", f"api_access_profiles/{made['id']}")["result"]["expires_at"]
        assert str(kept).startswith(expected)
    assert "must be a date" in change("soon", "")
    assert "must be in the future" in change("2001-01-01", "")


def test_what_guards_a_profile_with_signed_tokens_stands_on_its_page(
    owner: Owner, api: Api
) -> None:
    collection = api.done("POST", "api_collections", {"name": "Things"})
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    made = {"api_client_id": client["id"], "api_collection_ids": [collection["id"]], "name": "P"}
    provider = {
        "auth_type": "oidc", "oidc_issuer": "https://login.example.com", "audience": "orders",
        "required_claims": ["scope"], "leeway_seconds": 5,
    }  # fmt: skip
    profile = api.done("POST", "api_access_profiles", made | provider)["result"]
    said = owner.read(f"/profiles/{profile['id']}")
    for words in ("https://login.example.com", "<code>orders</code>", "<code>scope</code>",
                  "5 seconds", "Never fetched", "were not fetched yet"):  # fmt: skip
        assert words in said, words
    folder, source = settings.current().run / FOLDER, KeySource(issuer="https://login.example.com")
    folder.mkdir(parents=True, exist_ok=True)
    _file(folder, source).with_suffix(".failed").write_text("The server does not answer.")
    said = owner.read(f"/profiles/{profile['id']}")
    assert "The server does not answer. Until they are, every call" in said
    _file(folder, source).with_suffix(".failed").unlink()
    hmac = {
        "auth_type": "jwt",
        "jwt_method": "hmac",
        "jwt_secret": "q7Xv2mKp9RtY4wLzN8sB3dFgH6jC1aEu",
    }
    profile = api.done("POST", "api_access_profiles", made | hmac)["result"]
    said = owner.read(f"/profiles/{profile['id']}")
    assert "HS256, HS384, HS512, with a shared secret" in said
    assert "Never fetched" not in said and hmac["jwt_secret"] not in said


@pytest.fixture
def provider() -> Iterator[str]:
    """An OpenID provider: only its metadata and its one key."""
    documents: dict[str, Any] = {"/keys": {"keys": [public(a_key("first")[1])]}}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(documents[self.path]).encode())

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    issuer = f"http://127.0.0.1:{server.server_address[1]}"
    documents["/.well-known/openid-configuration"] = {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/keys",
    }
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield issuer
    server.shutdown()
    server.server_close()


def test_a_provider_without_keys_is_warned_about_before_it_is_saved(
    owner: Owner, api: Api, provider: str
) -> None:
    api.done("PUT", "v2/settings", {"fetch_hosts": ["127.0.0.1"]})
    collection = api.done("POST", "api_collections", {"name": "Things"})
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    filled = {
        "name": "P", "collections": collection["id"], "auth_type": "oidc", "oidc_issuer": provider,
    }  # fmt: skip
    new = f"/clients/{client['id']}/profiles/new"
    assert "can't be fetched" not in owner.send(new, filled | {"step": "next"})
    dead = filled | {"oidc_issuer": f"http://127.0.0.1:{free_port()}"}
    said = owner.send(new, dead | {"step": "next"})
    assert f"The keys of {dead['oidc_issuer']} can't be fetched now: " in said
    assert "create the profile anyway" in said
    owner.send(new, filled | {"step": "create", "once": "1"})
    (made,) = api.done("GET", "api_access_profiles")
    path = f"/profiles/{made['id']}/edit"

    def issuer() -> str:
        profile = api.done("GET", f"api_access_profiles/{made['id']}")["result"]
        return str(profile["oidc_issuer"])

    dead["read"] = _version(owner.read(path))
    said = owner.submit(path, dead)
    assert "Save without the provider's keys?" in said and ">Save anyway</button>" in said
    assert f"The keys of {dead['oidc_issuer']} can't be fetched now: " in said
    assert issuer() == provider
    said = owner.submit(path, dead | {"sure": "1", "step": "back"})
    assert f'value="{dead["oidc_issuer"]}"' in said and issuer() == provider
    owner.submit(path, dead | {"sure": "1"})
    assert issuer() == dead["oidc_issuer"]
    defaults = f"/clients/{client['id']}/defaults"
    held = dead | {"read": _version(owner.read(defaults))}
    assert ">Save anyway</button>" in owner.submit(defaults, held)
    assert "Save anyway" not in owner.submit(defaults, held | {"oidc_issuer": provider})
    # What stays is not fetched again.
    same = dead | {"name": "Q", "read": _version(owner.read(path))}
    assert "Save anyway" not in owner.submit(path, same)


def test_the_summary_of_a_new_profile_says_what_is_typed_so_far(owner: Owner, api: Api) -> None:
    things, more = (
        api.done("POST", "api_collections", {"name": name})["id"] for name in ("Things", "More")
    )
    client = api.done("POST", "api_clients", {"name": "A & <b>"})["result"]
    limit = {"limit": 100, "interval": "minute"}
    gold = api.done("POST", "v2/api_policies", {"name": "Gold", "rate_limit": limit})["data"]
    new, path = f"/clients/{client['id']}/profiles/new", f"/help/profile/{client['id']}"
    assert "may call no API collection yet, with an auth token, with no limit" in _words(
        owner.raw(new)
    )
    said = owner.summary(path, {
        "auth_type": "oidc", "collections": [things, more, "x", "9" * 400], "policy": gold["id"],
        "allowed_ips": "192.0.2.7, 192.0.2.8, 198.51.100.0/24", "denied_ips": "203.0.113.1",
        "expires_on": "2999-01-31",
    })  # fmt: skip
    assert said == (
        "A & <b> may call 2 API collections with a token of an OpenID provider, at most 100 requests"
        " per minute, from 2 addresses, 1 range except 1 address, until the end of 31 January 2999, UTC."
    )
    said = owner.summary(path, {"allowed_ips": "192.0.2", "expires_on": "soon", "policy": "x"})
    assert "from addresses that can't be read yet, and does not expire" in said
    said = owner.summary(path, {"allowed_ips": "192.0.2.1", "addresses_watched": "1"})
    assert "from every address" in said and "only watched" in said


def _words(page: str) -> str:
    """The text of a page, without its tags."""
    return " ".join(unescape(re.sub(r"<[^>]*>", "", page)).split())


def test_a_policy_has_a_window_for_each_number_that_is_filled_in(owner: Owner) -> None:
    said = owner.send(
        "/policies/new",
        {"name": "Gold", "rate_second": "5", "rate_day": "10,000", "legacy_headers": "1"},
    )
    assert "The policy Gold was made." in said
    assert "5 requests per second, and 10,000 requests per day" in said
    policy = Policy.objects.get()
    assert policy.legacy_headers
    form = owner.read(f"/policies/{policy.pk}/edit")
    assert 'name="rate_second" inputmode="numeric" value="5"' in form
    assert 'name="rate_day" inputmode="numeric" value="10000"' in form
    assert 'name="rate_hour" inputmode="numeric" value=""' in form
    owner.send(
        f"/policies/{policy.pk}/edit",
        {"name": "Gold", "rate_hour": "7", "read": _version(form), "step": "save"},
    )
    policy.refresh_from_db()
    assert (policy.rate_limit, policy.rate_interval, policy.more_rates) == (7, "hour", [])
    assert not policy.legacy_headers


def test_a_number_that_is_none_is_refused_beside_its_own_field(owner: Owner) -> None:
    page = owner.send("/policies/new", {"name": "Gold", "rate_hour": "5", "rate_day": "many"})
    assert "Requests per day must be a whole number from 1 to 1000000000" in page
    assert "Requests per hour must" not in page
    assert not Policy.objects.exists()


def test_a_window_that_refuses_nothing_is_said(owner: Owner) -> None:
    said = owner.send("/policies/new", {"name": "Gold", "rate_minute": "5", "rate_day": "5"})
    assert "Gold: The limit of 5 per minute refuses nothing that 5 per day does not." in said


def test_a_refresh_that_is_not_confirmed_shows_the_secret_and_when_the_old_one_ends(
    owner: Owner, api: Api
) -> None:
    profile = a_profile(api)
    api.confirmer.answers = False
    page = owner.send(f"/profiles/{profile['id']}/refresh", {"once": "1", "overlap": "0"})
    assert "Saved, not yet in force: the gateway has not confirmed it." in page
    assert "The old one ends when the gateway confirms, at the latest at 20" in page
    shown = re.search(r'id="secret" readonly value="([^"]+)"', page)
    assert shown
    fingerprint = tokens.fingerprint(shown[1])
    assert Credential.objects.filter(fingerprint=fingerprint, revoked_at=None).exists()


def test_what_is_made_and_not_confirmed_is_said_to_be_made(owner: Owner, api: Api) -> None:
    api.confirmer.answers = False
    said = owner.send("/policies/new", {"name": "Gold"})
    assert "The policy Gold was made." in said
    assert "Saved; the gateway has not confirmed it yet, and takes it over" in said


@pytest.mark.parametrize(
    ("streams", "sentence"),
    [
        pytest.param(1, "1 open stream is closed within a second.", id="one"),
        pytest.param(12, "12 open streams are closed within a second.", id="several"),
    ],
)
def test_streams_that_end_with_a_revocation_are_counted(
    owner: Owner, api: Api, streams: int, sentence: str
) -> None:
    profile = a_profile(api)
    assert "closed within" not in owner.send(f"/profiles/{profile['id']}/active", {"active": "1"})
    api.confirmer.streams = streams
    assert sentence in owner.send(f"/profiles/{profile['id']}/active", {"active": "0"})


def a_profile(api: Api) -> Any:
    connection = api.done(
        "POST", "connections", {"name": "Orders", "input": {"base_url": "http://10.0.0.1"}}
    )
    collection = api.done(
        "POST", "api_collections", {"name": "Orders", "proxy_connection_id": connection["id"]}
    )
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    content = {
        "name": "Script", "api_client_id": client["id"], "auth_type": "token",
        "api_collection_ids": [collection["id"]],
    }  # fmt: skip
    return api.done("POST", "api_access_profiles", content)["result"]


def _version(form: str) -> str:
    """The version of what a form was read from, which it carries."""
    found = re.search(r'name="read" value="([^"]*"[^"]*"|[^"]*)"', form)
    assert found
    return found[1]


class Refusals:
    """A gateway that refuses what is written down here."""

    def __init__(self) -> None:
        self.reasons: dict[tuple[str, int], str] = {}

    def reason(self, kind: str, object_id: int) -> str:
        return self.reasons.get((kind, object_id), "")

    def ids(self, kind: str) -> frozenset[int]:
        return frozenset(number for each, number in self.reasons if each == kind)


@pytest.fixture
def refusals() -> Iterator[Refusals]:
    before, found = unpublished_objects._installed, Refusals()
    unpublished_objects.install(found)
    yield found
    unpublished_objects.install(before)


def test_what_the_gateway_refuses_is_shown_on_its_page_and_in_lists(
    owner: Owner, api: Api, refusals: Refusals
) -> None:
    collection_id = a_profile(api)["api_collection_ids"][0]
    collection = api.done("GET", f"api_collections/{collection_id}")
    endpoint = api.done(
        "POST", f"api_collections/{collection_id}/api_endpoints",
        {"name": "List", "method": "GET", "path": "/orders"},
    )  # fmt: skip
    connection_id = collection["proxy_connection_id"]
    pages = {
        "connection": [
            f"/connections/{connection_id}/edit", "/connections", f"/collections/{collection_id}",
        ],
        "collection": [f"/collections/{collection_id}", "/collections"],
        "endpoint": [f"/endpoints/{endpoint['id']}/edit", f"/collections/{collection_id}"],
    }  # fmt: skip
    ids = {"connection": connection_id, "collection": collection_id, "endpoint": endpoint["id"]}
    addresses = {
        "connection": f"connections/{connection_id}",
        "collection": f"api_collections/{collection_id}",
        "endpoint": f"api_endpoints/{endpoint['id']}",
    }
    for kind, paths in pages.items():
        for path in paths:
            assert "efused by the gateway" not in owner.read(path)
        assert api.done("GET", addresses[kind])["gateway_problem"] is None
        refusals.reasons[kind, ids[kind]] = "its <b>value</b> is too long"
        for path in paths:
            page = owner.raw(path)
            assert "efused by the gateway" in page, path
            assert "its &lt;b&gt;value&lt;/b&gt; is too long" in page, path
        assert api.done("GET", addresses[kind])["gateway_problem"] == "its <b>value</b> is too long"
        refusals.reasons.clear()


def test_a_page_that_is_looked_at_learns_of_a_refusal(
    owner: Owner, api: Api, refusals: Refusals
) -> None:
    collection_id = a_profile(api)["api_collection_ids"][0]
    path = f"/collections/{collection_id}"
    version = re.search(r'data-version="([^ ]*)">', owner.raw(path))
    assert version
    seen = {"X-Ostiary-Live": "1", "If-None-Match": unescape(version[1])}
    assert owner.status(path, seen) == 304
    refusals.reasons["collection", collection_id] = "it is too long"
    assert owner.status(path, seen) == 200


def test_a_name_in_the_audit_log_s_csv_is_no_formula(owner: Owner) -> None:
    owner.send("/policies/new", {"name": "=1+1", "rate_second": "5"})
    rows = list(csv.DictReader(owner.lines("/audit-log?format=csv")))
    assert "'=1+1" in [row["name"] for row in rows]


def test_a_member_is_renamed_and_deleted_in_the_console(owner: Owner, api: Api) -> None:
    made = api.done("POST", "v2/members", {"email": "m@example.com"})["data"]["id"]
    path = f"/members/{made}/edit"
    sent = {"email": "mia@example.com", "name": "Mia", "read": _version(owner.read(path))}
    assert "was changed" in owner.send(path, sent)
    assert "Somebody else changed it" in owner.send(path, sent | {"name": "Mio"})
    assert api.done("GET", f"v2/members/{made}")["data"]["name"] == "Mia"
    gone = owner.send(f"/members/{made}/delete", {"name": "mia@example.com"})
    assert "was deleted" in gone
    assert api("GET", f"v2/members/{made}")[0] == 404


def test_a_tokens_end_and_secret_are_changed_in_the_console(owner: Owner, api: Api) -> None:
    api.done("PUT", "v2/settings", {"token_default_days": 10, "token_longest_days": 20})
    form = owner.read("/tokens")
    given = re.search(r'name="expires_on" type="date" value="([0-9-]+)" max="([0-9-]+)"', form)
    assert given is not None
    shown = owner.send(
        "/tokens",
        {"name": "T", "role": "admin", "expires_on": given[1], "once": "1"},
    )
    secret = re.search(r'value="(ostm_[\w-]+)"', shown)
    assert secret is not None
    made = api.done("GET", "v2/tokens")["data"][-1]
    assert made["expires_at"].startswith(given[1])
    path = f"/tokens/{made['id']}/edit"
    sent = {"name": "U", "expires_on": given[2], "read": _version(owner.read(path))}
    assert "was changed" in owner.send(path, sent)
    changed = api.done("GET", f"v2/tokens/{made['id']}")["data"]
    assert (changed["name"], changed["expires_at"][:10]) == ("U", given[2])
    rotated = owner.send(f"/tokens/{made['id']}/rotate", {"overlap": "3600", "once": "2"})
    assert "was rotated" in rotated
    assert secret[1] not in rotated
    assert Api(secret[1], api.confirmer)("GET", "projects")[0] == 200
    assert "must be a date" in owner.send(path, sent | {"expires_on": "soon"})
    foreign = f"/tokens/{api.token_id}"
    assert "Only the member who made this token" in owner.read(f"{foreign}/edit")
    assert "Only whoever made" in owner.send(f"{foreign}/rotate", {"overlap": "0", "once": "3"})


def test_several_profiles_are_switched_and_moved_together_in_the_console(
    owner: Owner, api: Api
) -> None:
    collection = api.done("POST", "api_collections", {"name": "Things"})["id"]
    first, second = (
        api.done("POST", "api_clients", {"name": name})["result"]["id"] for name in "AB"
    )
    made = {"api_client_id": first, "api_collection_ids": [collection], "auth_type": "token"}
    ids = [
        api.done("POST", "api_access_profiles", made | {"name": f"P{n}"})["result"]["id"]
        for n in range(2)
    ]
    page = f"/clients/{first}"
    for each in ("Deactivate…", "Move…", f'name="back" value="{page}"', f'id="profile-{ids[0]}"'):
        assert each in owner.read(page)
    path = "/access-profiles/change"
    whole = {"back": page, "filter": f"client={first}"}
    said = owner.send(path, {**whole, "ids": f"{ids[0]}-{ids[1]}", "what": "deactivate"})
    assert "2 access profiles deactivated" in said
    assert f'href="{page}"' in said
    for wrong in ("C", ""):
        given = {**whole, "ids": str(ids[0]), "what": "move", "value": wrong}
        assert "Nothing was changed: " in owner.send(path, given)
    said = owner.send(path, {**whole, "ids": str(ids[0]), "what": "move", "value": "B"})
    assert "1 access profile moved" in said
    moved = api.done("GET", f"api_access_profiles?api_client_id={second}")
    assert [(each["id"], each["active"]) for each in moved] == [(ids[0], False)]


def test_properties_are_set_and_deleted_in_the_console(owner: Owner, api: Api) -> None:
    for path, scope in (
        ("/settings/properties", ""),
        (f"/projects/{api.home}/properties", f"?project_id={api.home}"),
    ):
        assert "No properties yet" in owner.read(path)
        assert "was set" in owner.send(path, {"name": "a", "value": "1\n2"})
        assert api.done("GET", f"properties{scope}") == {"a": "1\n2"}
        for wrong in ({"name": "", "value": "x"}, {"name": "b", "value": "x" * 1025}):
            assert 'role="alert"' in owner.send(path, wrong)
        assert "was deleted" in owner.send(path, {"name": "a", "delete": "1"})
        assert api.done("GET", f"properties{scope}") == {}


def test_keys_and_labels_are_saved_shown_and_found(owner: Owner) -> None:
    sent = {"name": "Acme", "key": "acme", "labels": "team: payments\n items\n\n"}
    page = owner.send("/clients/new", sent)
    assert "<code>acme</code>" in page
    assert "team: payments, items" in page
    owner.send("/clients/new", {"name": "Other"})
    for text in ("acme", "team:payments", "items:"):
        found = owner.read(f"/clients?search={text}")
        assert ("Acme" in found, "Other" in found) == (True, False), text
    form = owner.read(f"/clients/{ApiClient.objects.get(name='Acme').pk}/edit")
    assert "team: payments\nitems</textarea>" in form


def test_a_wrong_key_or_label_is_said_at_its_field(owner: Owner) -> None:
    owner.send("/policies/new", {"name": "Gold", "key": "gold"})
    said = owner.send("/policies/new", {"name": "Silver", "key": "gold"})
    assert 'role="alert">Key has already been taken' in said
    said = owner.send("/policies/new", {"name": "Silver", "key": "no key", "labels": "a: 1\na: 2"})
    assert 'role="alert">Key must be small letters' in said
    assert 'role="alert">Labels: must be a map of names to values, each name once' in said


def test_a_webhook_s_page_and_list_show_its_key_and_labels(owner: Owner, api: Api) -> None:
    given = {
        "name": "Ops", "url": "https://hooks.example.com/x", "events": ["credential.issued"],
        "key": "ops-hook", "labels": {"team": "payments"},
    }  # fmt: skip
    made = api.done("POST", "v2/webhooks", given)["data"]
    for path in (f"/webhooks/{made['id']}", "/webhooks"):
        page = owner.read(path)
        assert "<code>ops-hook</code>" in page
        assert "team: payments" in page
