"""Single sign-on: with a real provider in a real browser, and with one that lies."""

import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from playwright.sync_api import Browser, Page, expect
from tests.console.steps import at, looks_good, say_yes
from tests.console.test_sign_in import (
    add_app,
    button,
    by_link,
    confirm,
    events,
    give_code,
    sign_in,
    sign_out,
)
from tests.console.visitor import Visitor, place
from tests.openid_provider import PROVIDER, a_key, public
from tests.stage import Stage, free_port

pytestmark = [pytest.mark.browser, pytest.mark.gateway, pytest.mark.slow]

LABEL = "Sign in with Acme"
SECRET = "a secret: of the tests/alone"
ADMIN = "sso-admin@example.com"


class People:
    """The npm package `oidc-provider`, with people who can sign in; they change while it runs."""

    def __init__(self, folder: Path, redirect_uri: str) -> None:
        self.issuer = f"http://127.0.0.1:{free_port()}"
        self._redirect_uri, self._file = redirect_uri, folder / "people.json"
        self.are()
        keys = folder / "keys.json"
        keys.write_text(json.dumps({"keys": [a_key("first")[1]]}))
        node = shutil.which("node") or shutil.which("nodejs")
        assert node
        port = self.issuer.rpartition(":")[2]
        self._process = subprocess.Popen(
            [node, "provider.mjs", port, str(keys), str(self._file)],
            cwd=PROVIDER, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "listening\n"

    def are(self, **people: dict[str, Any]) -> None:
        told = {"redirect_uri": self._redirect_uri, "people": people}
        self._file.write_text(json.dumps(told))

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture(scope="module")
def people(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[People]:
    callback = f"http://localhost:{stage.control}/sign-in/provider/callback"
    people = People(tmp_path_factory.mktemp("provider"), callback)
    stage.done("PUT", "v2/settings", {"fetch_hosts": ["127.0.0.1"]})
    yield people
    people.stop()


@pytest.fixture(scope="module")
def admin(browser: Browser, stage: Stage) -> Iterator[Page]:
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(60_000)
    by_link(page, stage, ADMIN)
    yield page
    context.close()


@pytest.fixture
def fresh(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(60_000)
    yield page
    context.close()


def set_up(admin: Page, stage: Stage, issuer: str, secret: str = SECRET) -> None:
    at(admin, stage, "/settings")
    admin.get_by_role("link", name="Set up single sign-on").click()
    admin.get_by_label("Issuer, or discovery URL").fill(issuer)
    admin.get_by_label("Client ID").fill("console")
    admin.get_by_label("Client secret").fill(secret)
    admin.get_by_label("Text of the button").fill(LABEL)
    button(admin, "Save")


def through(page: Page, stage: Stage, login: str) -> None:
    """To the provider, as `login`, and back."""
    at(page, stage, "/sign-in?next=/policies")
    page.get_by_role("link", name=LABEL).click()
    page.locator("[name=login]").fill(login)
    page.locator("[name=password]").fill("anything")
    page.locator("button[type=submit]").click()
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(re.compile(rf":{stage.control}/(?!sign-in/provider)"))


def test_an_admin_sets_it_up_and_the_secret_is_seen_no_more(
    admin: Page, stage: Stage, people: People
) -> None:
    at(admin, stage, "/settings/single-sign-on")
    looks_good(admin, "single-sign-on")
    set_up(admin, stage, "http://10.0.0.1/")
    expect(admin.get_by_role("alert")).to_contain_text("Issuer cannot be used: It must be https")
    expect(admin.get_by_label("Client ID")).to_have_value("console")
    set_up(admin, stage, f"{people.issuer}/.well-known/openid-configuration")
    expect(admin.get_by_role("status")).to_contain_text("the provider answers")
    expect(admin.get_by_label("Issuer, or discovery URL")).to_have_value(people.issuer)
    expect(admin.get_by_label("Client secret")).to_have_value("")
    callback = f"http://localhost:{stage.control}/sign-in/provider/callback"
    expect(admin.get_by_label("Redirect URI")).to_have_value(callback)
    admin.get_by_label("Issuer, or discovery URL").fill("https://elsewhere.example")
    button(admin, "Save")
    expect(admin.get_by_role("alert")).to_contain_text("must be entered again")
    stored = (stage.data / "ostiary.sqlite3").read_bytes()
    stored += (stage.data / "ostiary.sqlite3-wal").read_bytes()
    assert SECRET.encode() not in stored
    told = stage.done("GET", "v2/audit_events?search=single_sign_on")["data"]
    assert told[0]["after"]["client_secret"] == "changed"


def test_a_member_signs_in_by_verified_address_and_then_by_who_they_are(
    fresh: Page, admin: Page, stage: Stage, people: People, browser: Browser
) -> None:
    stage.a_member("ann@example.com", admin=True)
    stage.a_member("bob@example.com", admin=True)
    ann = {"email": "Ann@Example.com", "email_verified": True}
    people.are(**{"ann-at-acme": ann})
    at(fresh, stage, "/sign-in")
    looks_good(fresh, "sign-in-provider")
    through(fresh, stage, "ann-at-acme")
    expect(fresh.get_by_role("heading", name="Policies")).to_be_visible()
    assert "code=" not in fresh.url
    at(fresh, stage, "/account")
    expect(fresh.get_by_text(f"{people.issuer}, since")).to_be_visible()
    expect(fresh.get_by_text("ann@example.com").first).to_be_visible()

    # At the provider she takes Bob's address: she is still Ann here.
    people.are(**{"ann-at-acme": {**ann, "email": "bob@example.com"}})
    context = browser.new_context()
    again = context.new_page()
    through(again, stage, "ann-at-acme")
    at(again, stage, "/account")
    expect(again.get_by_text("ann@example.com").first).to_be_visible()
    # And who gets her old address there does not get in.
    people.are(mallory=ann)
    context.clear_cookies()
    through(again, stage, "mallory")
    expect(again.get_by_role("status")).to_contain_text("an active member's here")
    context.close()
    actions = [event["action"] for event in events(stage, "ann@example.com")]
    assert actions.count("member.single_sign_on_link") == 1
    assert actions.count("member.sign_in") == 2


@pytest.mark.parametrize(
    "claims",
    [
        {"email": "nobody@example.com", "email_verified": True},
        {"email": "carol@example.com", "email_verified": False},
        {"email": "carol@example.com"},
        {"email": "carol@example.com", "email_verified": "true"},
        {"email": "off@example.com", "email_verified": True},
        {"email": "\N{KELVIN SIGN}im@example.com", "email_verified": True},
        {},
    ],
    ids=[
        "no member",
        "not verified",
        "does not say",
        "says it oddly",
        "switched off",
        "another letter",
        "nothing",
    ],
)
def test_nobody_else_gets_in_and_the_page_says_so(
    fresh: Page, stage: Stage, people: People, claims: dict[str, Any]
) -> None:
    known = {m["email"]: m["id"] for m in stage.done("GET", "v2/members?per_page=100")["data"]}
    for email in ("carol@example.com", "off@example.com", "kim@example.com"):
        if email not in known:
            stage.a_member(email)
    known = {m["email"]: m["id"] for m in stage.done("GET", "v2/members?per_page=100")["data"]}
    stage.done("PUT", f"v2/members/{known['off@example.com']}", {"active": False})
    people.are(carol=claims)
    through(fresh, stage, "carol")
    expect(fresh.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(fresh.get_by_role("status")).to_contain_text("ask an admin to add you")
    after = {m["email"] for m in stage.done("GET", "v2/members?per_page=100")["data"]}
    assert after == set(known)


def test_an_admin_unlinks_a_member_whose_sessions_end(
    fresh: Page, admin: Page, stage: Stage, people: People
) -> None:
    email = "emil@example.com"
    stage.a_member(email)
    people.are(emil={"email": email, "email_verified": True})
    through(fresh, stage, "emil")
    expect(fresh.get_by_role("heading", name="Policies", level=1)).to_be_visible()
    at(admin, stage, "/members?search=emil")
    admin.get_by_role("button", name=f"Unlink single sign-on of {email}").click()
    say_yes(admin)
    expect(admin.get_by_role("status")).to_contain_text("linked to no provider")
    assert "member.single_sign_on_unlink" in str(events(stage, email))
    fresh.reload()
    expect(fresh.get_by_role("heading", name="Sign in", level=1)).to_be_visible()


def test_the_second_step_is_asked_here_too_and_links_nobody_before(
    fresh: Page, stage: Stage, people: People
) -> None:
    email = "dora@example.com"
    by_link(fresh, stage, email)
    app, _ = add_app(fresh, stage)
    sign_out(fresh, stage)
    people.are(dora={"email": email, "email_verified": True})
    through(fresh, stage, "dora")
    expect(fresh.get_by_role("heading", name="Second step")).to_be_visible()
    assert "member.single_sign_on_link" not in str(events(stage, email))
    give_code(fresh, app.next())
    expect(fresh.get_by_role("heading", name="Policies")).to_be_visible()
    assert "member.single_sign_on_link" in str(events(stage, email))
    at(fresh, stage, "/account")
    fresh.get_by_role("link", name="Remove the link").click()
    confirm(fresh)
    looks_good(fresh, "unlink")
    button(fresh, "Remove the link")
    expect(fresh.get_by_role("status")).to_contain_text("is gone")
    assert "member.single_sign_on_unlink" in str(events(stage, email))


def test_it_can_be_switched_off(fresh: Page, admin: Page, stage: Stage, people: People) -> None:
    at(admin, stage, "/settings/single-sign-on")
    button(admin, "Turn off single sign-on")
    say_yes(admin)
    expect(admin.get_by_role("status")).to_contain_text("is off")
    at(fresh, stage, "/sign-in")
    expect(fresh.get_by_role("link", name=LABEL)).to_have_count(0)
    at(fresh, stage, "/sign-in/provider")
    expect(fresh.get_by_role("heading", name="Sign in")).to_be_visible()
    sign_in(fresh, stage, ADMIN)
    expect(fresh.get_by_role("heading", name="Overview")).to_be_visible()


class Liar:
    """An OpenID provider that answers what a test wants."""

    def __init__(self) -> None:
        self.key, self.shown = a_key("k")
        self.metadata: dict[str, Any] = {}
        self.id_token: Any = None
        self.userinfo: dict[str, Any] | None = None
        self.got: list[tuple[str, dict[str, str], dict[str, list[str]]]] = []
        liar = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None: ...

            def do_GET(self) -> None:
                if self.path == "/.well-known/openid-configuration":
                    self.answer(liar.told())
                elif self.path == "/keys":
                    self.answer({"keys": [public(liar.shown)]})
                elif self.path == "/userinfo" and liar.userinfo is not None:
                    self.answer(liar.userinfo)
                else:
                    self.answer({}, 404)

            def do_POST(self) -> None:
                form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                liar.got.append((self.path, dict(self.headers.items()), form))
                if self.path == "/moved":
                    self.answer({}, 307, Location="/token")
                else:
                    self.answer({"id_token": liar.id_token, "access_token": "at"})

            def answer(self, content: object, status: int = 200, **headers: str) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.issuer = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def told(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            **self.metadata,
        }

    def signs(self, right_nonce: str, **claims: Any) -> str:
        """An id token that is right but for `claims`; None takes one away."""
        now = int(time.time())
        right = {
            "iss": self.issuer, "aud": "console", "sub": "eve", "nonce": right_nonce, "iat": now,
            "exp": now + 60, "email": "eve@example.com", "email_verified": True,
        }  # fmt: skip
        content = {k: v for k, v in {**right, **claims}.items() if v is not None}
        return jwt.encode(content, self.key, algorithm="RS256", headers={"kid": "k"})

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def liar(stage: Stage, admin: Page, people: People) -> Iterator[Liar]:
    liar = Liar()
    set_up(admin, stage, liar.issuer)
    stage.a_member("eve@example.com", admin=True)
    yield liar
    liar.close()


@pytest.fixture
def eve(stage: Stage, liar: Liar) -> Iterator[Visitor]:
    liar.userinfo = None
    visitor = Visitor(stage)
    yield visitor
    visitor.close()


def begin(visitor: Visitor, **query: str) -> dict[str, str]:
    answer = visitor.get("/sign-in/provider", params=query)
    assert answer.status_code == 302
    return {k: v[0] for k, v in parse_qs(urlsplit(place(answer)).query).items()}


def back(visitor: Visitor, **query: str) -> str:
    return place(visitor.get("/sign-in/provider/callback", params={"code": "c", **query}))


def test_what_is_asked_for_is_asked_rightly(eve: Visitor, liar: Liar) -> None:
    asked = begin(eve, next="/policies")
    assert asked["response_type"] == "code"
    assert asked["code_challenge_method"] == "S256"
    assert asked["scope"] == "openid email"
    assert len({asked[name] for name in ("state", "nonce", "code_challenge")}) == 3
    liar.id_token = liar.signs(asked["nonce"])
    assert back(eve, state=asked["state"], iss=liar.issuer) == "/policies"
    assert eve.is_in()
    path, headers, form = liar.got[-1]
    assert path == "/token"
    assert headers["Authorization"].startswith("Basic ")
    assert "client_secret" not in form
    assert len(form["code_verifier"][0]) >= 43
    # The answer is good once.
    assert back(eve, state=asked["state"]) == "/sign-in"


LIES: dict[str, dict[str, Any]] = {
    "another nonce": {"nonce": "x"},
    "no nonce": {"nonce": None},
    "another audience": {"aud": "other"},
    "several audiences and no party": {"aud": ["console", "other"]},
    "another party": {"azp": "other"},
    "another issuer": {"iss": "https://accounts.example"},
    "expired": {"exp": int(time.time()) - 3600},
    "never expires": {"exp": None},
    "no subject": {"sub": None},
    "a number as subject": {"sub": 7},
    "a long subject": {"sub": "x" * 256},
    "a subject beyond ASCII": {"sub": "\u00e9ve"},
    "a subject with a control character": {"sub": "eve\0"},
    "half a letter as nonce": {"nonce": "\ud800"},
    "half a letter in the address": {"sub": "new", "email": "\ud800@example.com"},
    "not yet": {"nbf": int(time.time()) + 3600},
}


@pytest.mark.parametrize("claims", LIES.values(), ids=LIES)
def test_an_id_token_that_does_not_fit_signs_nobody_in(
    eve: Visitor, liar: Liar, claims: dict[str, Any]
) -> None:
    asked = begin(eve)
    liar.id_token = liar.signs(asked["nonce"], **claims)
    assert back(eve, state=asked["state"]) == "/sign-in"
    assert not eve.is_in()


@pytest.mark.parametrize("kind", ["unsigned", "by our secret", "another key", "none", "a number"])
def test_a_signature_that_is_not_the_providers_signs_nobody_in(
    eve: Visitor, liar: Liar, kind: str
) -> None:
    asked = begin(eve)
    claims = jwt.decode(liar.signs(asked["nonce"]), options={"verify_signature": False})
    other = rsa.generate_private_key(65537, 2048)
    liar.id_token = {
        "unsigned": jwt.encode(claims, "", algorithm="none"),
        "by our secret": jwt.encode(claims, SECRET * 2, algorithm="HS256", headers={"kid": "k"}),
        "another key": jwt.encode(claims, other, algorithm="RS256", headers={"kid": "k"}),
        "none": None,
        "a number": 7,
    }[kind]
    assert back(eve, state=asked["state"]) == "/sign-in"
    assert not eve.is_in()


def test_state_binds_the_answer_to_the_browser_that_asked(
    eve: Visitor, liar: Liar, stage: Stage
) -> None:
    asked = begin(eve)
    liar.id_token = liar.signs(asked["nonce"])
    victim = Visitor(stage)
    before = len(liar.got)
    assert back(victim, state=asked["state"]) == "/sign-in"
    begin(victim)
    assert back(victim, state=asked["state"]) == "/sign-in"
    begin(victim)
    assert back(victim) == "/sign-in"
    assert len(liar.got) == before, "no code was spent"
    assert not victim.is_in()
    victim.close()
    assert back(eve, state="x" + asked["state"]) == "/sign-in"
    assert back(eve, state=asked["state"]) == "/sign-in", "one try for each attempt"
    asked = begin(eve)
    assert back(eve, state=asked["state"], iss="https://accounts.example") == "/sign-in"
    assert not eve.is_in()


def test_userinfo_of_somebody_else_is_not_believed(
    eve: Visitor, liar: Liar, admin: Page, stage: Stage
) -> None:
    stage.a_member("fay@example.com")
    fay = {"email": "fay@example.com", "email_verified": True}
    liar.metadata = {"userinfo_endpoint": f"{liar.issuer}/userinfo"}
    try:
        set_up(admin, stage, liar.issuer)  # asks for the metadata anew
        for told, leads_to in (
            ({"sub": "other", **fay}, "/sign-in"),
            (fay, "/sign-in"),
            ({"sub": "fay", **fay, "email_verified": False}, "/sign-in"),
            ({"sub": "fay", **fay}, "/"),
        ):
            liar.userinfo = told
            asked = begin(eve)
            liar.id_token = liar.signs(asked["nonce"], email=None, sub="fay")
            assert back(eve, state=asked["state"]) == leads_to
    finally:
        liar.metadata = {}
        set_up(admin, stage, liar.issuer)


@pytest.mark.parametrize(
    "metadata",
    [
        {"issuer": "https://accounts.example"},
        {"token_endpoint": "http://169.254.169.254/token"},
        {"token_endpoint": "file:///etc/passwd"},
        {"jwks_uri": "http://10.0.0.1/keys"},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": None},
    ],
    ids=["another name", "link-local", "a file", "inside", "a script", "none"],
)
def test_a_provider_does_not_lead_inside(
    eve: Visitor, liar: Liar, admin: Page, stage: Stage, metadata: dict[str, Any]
) -> None:
    liar.metadata = metadata
    try:
        set_up(admin, stage, liar.issuer)  # asks for the metadata anew
        asked = eve.get("/sign-in/provider")
        if "jwks_uri" in metadata:
            query = {k: v[0] for k, v in parse_qs(urlsplit(place(asked)).query).items()}
            liar.id_token = liar.signs(query["nonce"])
            assert back(eve, state=query["state"]) == "/sign-in"
        else:
            expect(admin.get_by_role("status")).to_contain_text("nobody can sign in that way yet")
            assert place(asked) == "/sign-in"
        assert not eve.is_in()
    finally:
        liar.metadata = {}
        set_up(admin, stage, liar.issuer)


def test_a_redirect_gets_neither_code_nor_secret(
    eve: Visitor, liar: Liar, admin: Page, stage: Stage
) -> None:
    liar.metadata = {"token_endpoint": f"{liar.issuer}/moved"}
    try:
        set_up(admin, stage, liar.issuer)
        asked = begin(eve)
        liar.id_token = liar.signs(asked["nonce"])
        before = len(liar.got)
        assert back(eve, state=asked["state"]) == "/sign-in"
        assert [path for path, _, _ in liar.got[before:]] == ["/moved"]
    finally:
        liar.metadata = {}
        set_up(admin, stage, liar.issuer)


def test_neither_code_nor_token_nor_secret_is_in_the_log(stage: Stage, liar: Liar) -> None:
    told = "\n".join(stage.lines)
    assert "single sign-on failed" in told
    assert SECRET not in told
    assert "eyJ" not in told
