"""The way of an owner through the console, by label and name, in a real Chromium."""

import io
import re
from collections.abc import Callable

import pytest
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Page, expect
from tests.console.steps import accessible, at, fits, keep_picture, say_no, say_yes, view
from tests.stage import Stage, ask

pytestmark = [pytest.mark.browser, pytest.mark.gateway, pytest.mark.slow]

PASSWORD = "correct horse battery staple"


def a_picture(colour: tuple[int, int, int], form: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (300, 200), colour).save(out, form)
    return out.getvalue()


def test_the_link_signs_in_once_and_leads_to_a_password(page: Page, link: str) -> None:
    page.goto(link)
    expect(page.get_by_role("heading", name="Set a password")).to_be_visible()
    assert "osts_" not in page.url
    page.get_by_label("New password", exact=True).fill("short")
    page.get_by_label("New password again").fill("short")
    page.get_by_label("New password", exact=True).fill(PASSWORD)
    page.get_by_label("New password again").fill(PASSWORD)
    page.get_by_role("button", name="Set password").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("password is set")


def test_the_link_does_not_work_twice(browser: Browser, link: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(link)
    expect(page.get_by_role("alert")).to_contain_text("used already")
    context.close()


def test_the_list_shows_the_demo(page: Page) -> None:
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Clients").click()
    expect(page.get_by_text("API platform").first).to_be_visible()
    row = page.get_by_role("row", name=re.compile("Acme Corporation"))
    expect(row).to_contain_text("Home")
    expect(row).to_contain_text("Active")
    keep_picture(page, "clients")


def test_a_client_is_added_with_a_logo(page: Page) -> None:
    page.get_by_role("link", name="New client").click()
    page.get_by_label("Name", exact=True).fill("Wayne <b>Enterprises</b>")
    page.get_by_label("Description", exact=True).fill("Two\nlines")
    picture: FilePayload = {
        "name": "x.png",
        "mimeType": "image/png",
        "buffer": a_picture((200, 30, 30)),
    }
    page.get_by_label("Client logo", exact=True).set_input_files(picture)
    assert page.get_by_label("Project", exact=True).input_value() == "1"
    page.get_by_role("button", name="Add client").click()
    expect(page.get_by_role("heading", name="Wayne <b>Enterprises</b>")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("was added")
    expect(page.get_by_text("No access profiles yet")).to_be_visible()
    source = page.locator("h1 img").get_attribute("src")
    answer = page.request.get(page.url.rpartition("/clients/")[0] + str(source))
    assert answer.status == 200
    assert answer.headers["content-type"] == "image/png"
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "must be a PNG or JPEG"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 100, "damaged"),
        (a_picture((1, 2, 3))[:-40], "damaged"),
        (b"x" * (2 * 1024 * 1024 + 1), "larger than 2 MB"),
        (a_picture((1, 2, 3), "GIF"), "must be a PNG or JPEG"),
    ],
    ids=["svg", "only claims", "truncated", "too large", "gif"],
)
def test_what_is_no_logo_is_refused_and_nothing_typed_is_lost(
    page: Page, content: bytes, words: str
) -> None:
    page.goto(page.url.partition("/clients")[0] + "/clients/new")
    page.get_by_label("Name", exact=True).fill("Kept name")
    file: FilePayload = {"name": "logo.png", "mimeType": "image/png", "buffer": content}
    page.get_by_label("Client logo", exact=True).set_input_files(file)
    page.get_by_role("button", name="Add client").click()
    expect(page.get_by_role("alert")).to_contain_text(words)
    assert page.get_by_label("Name", exact=True).input_value() == "Kept name"


def test_search_and_filter(page: Page) -> None:
    page.goto(page.url.partition("/clients")[0] + "/clients")
    page.get_by_label("Search", exact=True).fill("wayne")
    expect(page.get_by_role("row", name=re.compile("Acme"))).to_have_count(0)
    expect(page.get_by_role("row", name=re.compile("Wayne"))).to_be_visible()
    page.get_by_label("Search", exact=True).fill("nobody")
    expect(page.get_by_text("No client matches")).to_be_visible()
    page.get_by_label("Search", exact=True).fill("")
    expect(page.get_by_role("row", name=re.compile("Acme"))).to_be_visible()


def test_the_switch_of_a_client_asks_and_holds_at_the_gateway(page: Page, stage: Stage) -> None:
    token = re.search(r"API-TOKEN: (ost_\S+)'", "\n".join(stage.lines))
    assert token
    assert stage.call("/orders-v1/orders", token[1]).status == 200
    page.get_by_role("link", name=re.compile("Acme")).click()
    page.get_by_role("switch", name="Active", exact=True).click()
    say_no(page)
    assert stage.call("/orders-v1/orders", token[1]).status == 200
    page.get_by_role("switch", name="Active", exact=True).click()
    say_yes(page)
    expect(page.get_by_role("status")).to_contain_text("inactive")
    assert stage.call("/orders-v1/orders", token[1]).status == 401
    page.get_by_role("switch", name="Inactive", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("active again")
    assert stage.call("/orders-v1/orders", token[1]).status == 200


PAGES = ["/", "/clients", "/clients/new", "/clients/1", "/password", "/nothing-here"]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_accessible_and_fits_at_every_width(
    page: Page, stage: Stage, path: str
) -> None:
    name = path.strip("/").replace("/", "-") or "overview"
    for scheme in ("light", "dark"):
        for width in (360, 1280, 2560):
            view(page, width, scheme)
            if scheme == "light":
                # The page is loaded at each width, since scripts may look at it only then.
                at(page, stage, path)
                fits(page, width, name)
            keep_picture(page, f"{name}-{width}-{scheme}")
        accessible(page)
    view(page, 1280, "light", height=800)


def test_pages_tell_browsers_what_they_may_do(page: Page, stage: Stage) -> None:
    answer = page.request.get(f"http://localhost:{stage.control}/clients")
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
    session = next(c for name, c in cookies.items() if name.startswith("ostiary_session"))
    assert session["httpOnly"]
    assert session["sameSite"] == "Lax"


def test_without_a_session_there_is_only_the_sign_in(stage: Stage) -> None:
    for path in ("/", "/clients", "/clients/1", "/logos/1/1-48.png"):
        answer = ask(stage.control, "GET", path)
        assert answer.status == 302
        assert answer.headers["location"].startswith("/sign-in")
    assert ask(stage.control, "POST", "/clients/1/active").status == 403


def test_signing_out_and_in_again(page: Page, stage: Stage) -> None:
    page.goto(f"http://localhost:{stage.control}/clients")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto(f"http://localhost:{stage.control}/clients/1")
    fill: Callable[[str], None] = page.get_by_label("Password", exact=True).fill
    page.get_by_label("E-mail", exact=True).fill("admin@localhost.localdomain")
    fill("wrong password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("Wrong email or password")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("heading", name="Acme Corporation")).to_be_visible()


@pytest.mark.parametrize("target", ["//evil.example", "https://evil.example", "/\\evil.example"])
def test_signing_in_never_leads_elsewhere(stage: Stage, target: str) -> None:
    answer = ask(stage.control, "GET", f"/sign-in?next={target}")
    assert b"evil.example" not in answer.body
