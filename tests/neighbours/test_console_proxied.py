"""The console behind real proxies with TLS: its public URL is all that has to be set."""

import re
import ssl
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from tests.neighbours import visits
from tests.neighbours.proxies import (
    AS_IT_COMES,
    CONSOLE,
    PROXIES,
    Authority,
    Files,
    Ports,
    nginx,
)
from tests.stage import Stage, free_port

pytestmark = [pytest.mark.browser, pytest.mark.gateway, pytest.mark.slow]


@pytest.fixture(scope="module")
def stage(shared_stage: Stage) -> Stage:
    shared_stage.done("PUT", "v2/settings", {"trusted_proxies": ["127.0.0.1"]})
    return shared_stage


def _ports(stage: Stage) -> Ports:
    return Ports(console=stage.control, gateway=stage.gateway, proxy=free_port())


def _public(stage: Stage, url: str) -> None:
    stage.done("PUT", "v2/settings", {"console_url": url})


@pytest.mark.parametrize("kind", PROXIES)
def test_members_work_behind_a_proxy_whose_url_is_set(
    stage: Stage, files: Files, page: Page, tmp_path: Path, logo: Path, kind: str
) -> None:
    ports = _ports(stage)
    url = f"https://{CONSOLE}:{ports.proxy}"
    email = f"{kind.replace(' ', '-')}@example.com"
    _public(stage, url)
    with PROXIES[kind](tmp_path, ports, files):
        link = visits.a_link(stage, email)
        assert link.startswith(f"{url}/sign-in/link#")
        visits.by_link(page, link)
        assert visits.cookies_are_secure(page.context)
        if kind != "nginx as it comes":
            # That one takes no body above 1 MB.
            visits.uploads_a_logo(page, url, f"Behind {kind}", logo)
            visits.sees_live_parts(page, stage, f"Behind {kind}")
        visits.sign_out(page, url)
        visits.with_password(page, url, email)
        expect(page.get_by_role("heading", name="Overview", exact=True)).to_be_visible()
        assert visits.cookies_are_secure(page.context)


@pytest.mark.parametrize("kind", ["nginx as it comes", "haproxy"])
def test_passkeys_and_single_sign_on_follow_the_public_url(
    stage: Stage, files: Files, page: Page, tmp_path: Path, kind: str
) -> None:
    ports = _ports(stage)
    url = f"https://{CONSOLE}:{ports.proxy}"
    email = f"keys-of-{kind.replace(' ', '-')}@example.com"
    _public(stage, url)
    with (
        PROXIES[kind](tmp_path, ports, files),
        visits.a_provider(stage, url, tmp_path) as people,
    ):
        visits.by_link(page, visits.a_link(stage, email))
        visits.uses_a_passkey(page, url, CONSOLE)
        visits.signs_in_at_a_provider(page, url, people, email)
        # The member has a second factor now.
        expect(page.get_by_role("heading", name="Second step")).to_be_visible()


def _refused(page: Page, url: str) -> str:
    """What a page says to who wants to sign in at this address."""
    page.goto(f"{url}/sign-in")
    page.get_by_label("E-mail", exact=True).fill("admin@example.com")
    page.get_by_label("Password", exact=True).fill("whatever it is")
    visits.button(page, "Sign in")
    expect(page.get_by_role("heading", name="Nothing was saved")).to_be_visible()
    return page.locator("main").inner_text()


@pytest.mark.parametrize("kind", ["nginx as it comes", "nginx"])
def test_without_the_public_url_a_page_says_what_to_set(
    stage: Stage, files: Files, page: Page, tmp_path: Path, kind: str
) -> None:
    ports = _ports(stage)
    url = f"https://{CONSOLE}:{ports.proxy}"
    _public(stage, "")
    with PROXIES[kind](tmp_path, ports, files):
        assert f"OSTIARY_CONSOLE_URL={url}" in _refused(page, url)


def test_another_public_url_is_named_with_the_one_that_browsers_see(
    stage: Stage, files: Files, page: Page, tmp_path: Path
) -> None:
    ports = _ports(stage)
    url = f"https://{CONSOLE}:{ports.proxy}"
    _public(stage, "https://elsewhere.example.com")
    with PROXIES["nginx"](tmp_path, ports, files):
        told = _refused(page, url)
    assert "its public URL is https://elsewhere.example.com" in told
    assert (
        f"set OSTIARY_CONSOLE_URL (or “Public URL of the console” under Settings) to {url}" in told
    )


def test_http_where_the_public_url_is_https_says_so(
    stage: Stage, files: Files, page: Page, tmp_path: Path
) -> None:
    ports = _ports(stage)
    _public(stage, f"https://{CONSOLE}")
    plain = re.sub(
        r" ssl;|ssl_certificate.*;", lambda m: ";" if m[0] == " ssl;" else "", AS_IT_COMES
    )
    plain = plain.replace("proxy_pass", "proxy_set_header Host $host; proxy_pass")
    with nginx(plain, tmp_path, ports, files):
        told = _refused(page, f"http://{CONSOLE}:{ports.proxy}")
    assert f"its public URL is https://{CONSOLE}" in told


def test_a_page_of_another_site_is_suggested_to_nobody(
    stage: Stage, files: Files, page: Page, tmp_path: Path
) -> None:
    ports = _ports(stage)
    url = f"https://{CONSOLE}:{ports.proxy}"
    _public(stage, "")
    page.route(
        "https://evil.example.com/**",
        lambda route: route.fulfill(
            content_type="text/html",
            body=f'<form method="post" action="{url}/sign-in"><button>Win</button></form>',
        ),
    )
    with PROXIES["nginx"](tmp_path, ports, files):
        page.goto("https://evil.example.com/")
        visits.button(page, "Win")
        expect(page.get_by_role("heading", name="Nothing was saved")).to_be_visible()
        assert "evil" not in page.locator("main").inner_text()


def test_the_address_in_the_audit_log_is_the_callers(
    stage: Stage, authority: Authority, files: Files, tmp_path: Path
) -> None:
    ports = _ports(stage)
    _public(stage, "")
    with PROXIES["nginx"](tmp_path, ports, files):
        url = f"https://localhost:{ports.proxy}/api/v2/settings"
        request = urllib.request.Request(
            url, data=b'{"name": "Behind a proxy"}', method="PUT",
            headers={
                "Host": CONSOLE, "Authorization": f"Bearer {stage.token}",
                "Content-Type": "application/json",
                # As a proxy in front of nginx has it, with the port.
                "X-Forwarded-For": "203.0.113.7:51234",
            },
        )  # fmt: skip
        context: ssl.SSLContext = authority.context()
        with urllib.request.urlopen(request, context=context) as answer:
            assert answer.status == 200
    event = stage.done("GET", "v2/audit_events?per_page=1")["data"][0]
    assert event["address"] == "203.0.113.7"
