"""What a member does in the console, wherever that is reached: the same steps at any address."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import BrowserContext, Page, expect
from tests.console.authenticator import add_authenticator
from tests.console.test_single_sign_on import People
from tests.stage import Stage

PASSWORD = "correct horse battery staple"


def button(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def a_link(stage: Stage, email: str) -> str:
    return stage.command("member", "create", "--email", email, "--admin").strip()


def by_link(page: Page, link: str) -> None:
    """In by a one-time link, and a password set."""
    page.goto(link)
    page.get_by_label("New password", exact=True).fill(PASSWORD)
    page.get_by_label("New password again").fill(PASSWORD)
    button(page, "Set password")
    expect(page.get_by_role("heading", name="Overview", exact=True)).to_be_visible()


def with_password(page: Page, url: str, email: str) -> None:
    page.goto(f"{url}/sign-in")
    page.get_by_label("E-mail", exact=True).fill(email)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    button(page, "Sign in")


def sign_out(page: Page, url: str) -> None:
    page.goto(f"{url}/account")
    button(page, "Sign out")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def cookies_are_secure(context: BrowserContext) -> bool:
    cookies = context.cookies()
    return bool(cookies) and all(cookie["secure"] for cookie in cookies)


def uploads_a_logo(page: Page, url: str, name: str, logo: Path) -> None:
    """A client with a logo that is larger than a proxy takes into its first buffer."""
    page.goto(f"{url}/clients/new")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Client logo", exact=True).set_input_files(logo)
    button(page, "Add client")
    expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()
    logo_width = page.locator("h1 img").evaluate("img => img.decode().then(() => img.naturalWidth)")
    assert logo_width > 0


def sees_live_parts(page: Page, stage: Stage, name: str) -> None:
    """A page becomes true by itself."""
    number = page.url.rpartition("/")[2]
    stage.done("PUT", f"api_clients/{number}", {"name": f"{name}, renamed"})
    heading = page.get_by_role("heading", name=f"{name}, renamed", level=1)
    expect(heading).to_be_visible(timeout=60_000)


def uses_a_passkey(page: Page, url: str, host: str) -> None:
    """A passkey is made, and opens the console alone."""
    device = add_authenticator(page)
    page.goto(f"{url}/account/second-factor/passkey")
    page.get_by_label("Name", exact=True).fill("Laptop")
    button(page, "Make the passkey")
    expect(page.get_by_label("Recovery codes")).to_be_visible()
    page.goto(f"{url}/account")
    row = page.get_by_role("row", name=re.compile("Laptop"))
    expect(row).to_contain_text(f"for {host}")
    sign_out(page, url)
    button(page, "Sign in with a passkey")
    expect(page.get_by_role("heading", name="Overview", exact=True)).to_be_visible()
    device.detach()


@contextmanager
def a_provider(stage: Stage, url: str, folder: Path) -> Iterator[People]:
    """A real OpenID provider that knows the console at its public URL."""
    people = People(folder, f"{url}/sign-in/provider/callback")
    stage.done("PUT", "v2/settings", {"fetch_hosts": ["127.0.0.1"]})
    try:
        yield people
    finally:
        people.stop()


def signs_in_at_a_provider(page: Page, url: str, people: People, email: str) -> None:
    """Single sign-on is set up by who is signed in, and used."""
    page.goto(f"{url}/settings/single-sign-on")
    redirect = page.get_by_label("Redirect URI, to be entered at the provider")
    expect(redirect).to_have_value(f"{url}/sign-in/provider/callback")
    page.get_by_label("Issuer, or discovery URL").fill(people.issuer)
    page.get_by_label("Client ID").fill("console")
    page.get_by_label("Client secret").fill("a secret: of the tests/alone")
    page.get_by_label("Text of the button").fill("Sign in with Acme")
    button(page, "Save")
    expect(page.get_by_role("status")).to_contain_text("the provider answers")
    people.are(somebody={"email": email, "email_verified": True})
    sign_out(page, url)
    page.get_by_role("link", name="Sign in with Acme").click()
    page.locator("[name=login]").fill("somebody")
    page.locator("[name=password]").fill("anything")
    page.locator("button[type=submit]").click()
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(re.compile(re.escape(url) + "/(?!sign-in/provider)"))
