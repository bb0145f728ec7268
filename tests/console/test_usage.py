"""Dashboard, logs and profile page, as a member sees them who looks at made-up usage."""

import csv
import io
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.console.steps import at, looks_good, view
from tests.stage import Stage

pytestmark = [pytest.mark.browser, pytest.mark.gateway, pytest.mark.slow]


@pytest.fixture(scope="module")
def stage(own_stage: Stage) -> Stage:
    return own_stage


@pytest.fixture(scope="module")
def page(browser: Browser, stage: Stage) -> Iterator[Page]:
    link = stage.a_member("o@example.com", admin=True)
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(link)
    for label in ("New password", "New password again"):
        page.get_by_label(label, exact=True).fill("correct horse battery staple")
    page.get_by_role("button", name="Set password").click()
    yield page
    context.close()


def test_without_calls_the_pages_say_what_to_do_next(page: Page, stage: Stage) -> None:
    at(page, stage, "/usage")
    expect(page.get_by_role("heading", name="No calls in this time")).to_be_visible()
    looks_good(page, "usage-empty")
    at(page, stage, "/logs")
    expect(page.get_by_role("heading", name="No calls yet")).to_be_visible()
    looks_good(page, "logs-empty")
    stage.command("seed", "--profiles=30", "--usage=40")


def test_the_dashboard_shows_who_called_what(page: Page, stage: Stage) -> None:
    at(page, stage, "/clients")
    page.get_by_role("link", name="Usage", exact=True).click()
    expect(page.get_by_role("heading", name="Usage", level=1)).to_be_visible()
    chart = page.get_by_role("img", name="Calls over time")
    expect(chart).to_be_visible()
    expect(page.get_by_role("img", name="Refusals over time")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("Rate limited"))).to_be_visible()
    looks_good(page, "usage")
    page.get_by_text("Show as table").first.click()
    expect(page.get_by_role("region", name="Figures over time").get_by_role("row")).to_have_count(
        31
    )
    page.get_by_role("link", name="24 hours").click()
    expect(page).to_have_url(re.compile("days=1"))
    looks_good(page, "usage-hours")
    page.get_by_role("link", name="12 months").click()
    expect(page.get_by_role("link", name="12 months")).to_have_attribute("aria-current", "true")


def test_charts_are_read_by_keys_and_lead_to_their_calls(page: Page, stage: Stage) -> None:
    for width in (360, 1440):
        view(page, width, "light")
        at(page, stage, "/usage?days=7")
        chart = page.get_by_role("img", name="Calls over time")
        box = chart.bounding_box()
        assert box
        # The newest is in sight, and texts have the size of the page's text.
        assert box["x"] + box["width"] <= width
        size = "text => parseFloat(getComputedStyle(text).fontSize) * text.getCTM().a"
        text = float(chart.locator("text").first.evaluate(size))
        assert text >= float(page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)"))
    view(page, 1280, "light", height=800)
    plot = page.get_by_role("group", name=re.compile("^Refusals over time"))
    plot.focus()
    page.keyboard.press("ArrowLeft")
    readout = plot.locator(".readout")
    expect(readout).to_contain_text(re.compile(r"\d+ \w+ \d{4}: [\d,]+ calls, .* [\d,]+ refused"))
    newest = readout.inner_text()
    page.keyboard.press("ArrowLeft")
    expect(readout).not_to_have_text(newest)
    page.keyboard.press("End")
    expect(readout).to_have_text(newest)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/logs\?from=.*outcome=refused"))
    expect(page.get_by_role("row").nth(1)).to_contain_text(re.compile("429|403"))
    at(page, stage, "/usage?days=7")
    page.get_by_role("img", name="Calls over time").locator(".column").last.click()
    expect(page).to_have_url(re.compile(r"/logs\?from="))


def test_live_shows_calls_as_they_arrive_until_it_is_pressed_again(
    page: Page, stage: Stage
) -> None:
    at(page, stage, "/logs?outcome=refused")
    live = page.get_by_role("button", name="Live", exact=True)
    live.click()
    expect(live).to_have_attribute("aria-pressed", "true")
    assert stage.call("/nowhere", "ost_nobody").status in {401, 404}
    first = page.get_by_role("region", name="Calls").get_by_role("row").nth(1)
    expect(first).to_contain_text("unknown")
    expect(page.get_by_text(re.compile("^Live: 1 new call at"))).to_be_visible()
    live.click()
    expect(page.get_by_text("Live is stopped.")).to_be_visible()


def test_filters_stand_in_the_address_and_narrow_the_figures(page: Page, stage: Stage) -> None:
    at(page, stage, "/usage")
    page.get_by_label("Client", exact=True).fill("Client 000001")
    page.get_by_label("API collection", exact=True).select_option(label="Orders")
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile(r"client=\d+"))
    expect(page).to_have_url(re.compile(r"collection=\d+"))
    expect(page.get_by_label("Client", exact=True)).to_have_value("Client 000001")
    expect(page.get_by_role("heading", name="Top clients")).to_have_count(0)
    expect(page.get_by_role("heading", name="Top consumers")).to_be_visible()
    page.get_by_label("Client", exact=True).fill("nobody of this name")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("No client fits “nobody of this name”.")).to_be_visible()
    at(page, stage, "/usage?from=2026-13-01&to=x&client=&days=9")
    expect(page.get_by_role("alert")).to_contain_text("isn't a date")
    at(page, stage, "/usage?client=999999")
    expect(page.get_by_role("heading", name="No calls in this time")).to_be_visible()


def test_each_page_has_the_usage_of_its_own(page: Page, stage: Stage) -> None:
    at(page, stage, "/clients")
    expect(page.get_by_role("columnheader", name="Requests, 7 days")).to_be_visible()
    page.get_by_role("link", name="Client 000000").click()
    expect(page.get_by_role("img", name="Calls over time")).to_be_visible()
    looks_good(page, "client-usage")
    page.get_by_role("link", name="Profile 0000001", exact=True).first.click()
    expect(page.get_by_role("heading", name="Profile 0000001", level=1)).to_be_visible()
    expect(page.get_by_role("img", name="Calls over time")).to_be_visible()
    looks_good(page, "profile")
    page.get_by_role("link", name="Open in Usage").click()
    expect(page).to_have_url(re.compile(r"/usage\?profile=\d+"))
    at(page, stage, "/collections")
    page.get_by_role("link", name="Orders").click()
    expect(page.get_by_role("img", name="Latency over time")).to_be_visible()
    page.get_by_role("link", name="Edit GET /items", exact=True).click()
    expect(page.get_by_role("img", name="Latency over time")).to_be_visible()


def test_logs_are_filtered_paged_opened_and_downloaded(page: Page, stage: Stage) -> None:
    at(page, stage, "/logs")
    rows = page.get_by_role("region", name="Calls").get_by_role("row")
    expect(rows).to_have_count(51)
    looks_good(page, "logs")
    first = rows.nth(1).inner_text()
    page.get_by_role("link", name="Older").click()
    expect(page.get_by_role("link", name="Newest")).to_be_visible()
    assert rows.nth(1).inner_text() != first
    at(page, stage, "/logs")
    page.get_by_text("More filters", exact=True).click()
    page.get_by_label("Reason", exact=True).select_option("rate_limited")
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile("reason=rate_limited"))
    expect(rows.nth(1)).to_contain_text("429")
    looks_good(page, "logs-filtered")
    page.get_by_text("More filters", exact=True).click()
    page.get_by_label("Access profile", exact=True).fill("Profile 0000007")
    page.get_by_role("button", name="Apply").click()
    expect(page).to_have_url(re.compile("profile_name=Profile"))
    expect(page.get_by_label("Access profile", exact=True)).to_have_value("Profile 0000007")
    page.get_by_text("More filters", exact=True).click()
    page.get_by_label("Access profile", exact=True).fill("Profile 000000")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_role("alert")).to_contain_text("fits more than one access profile")
    at(page, stage, "/logs?reason=rate_limited")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download CSV").click()
    found = list(csv.DictReader(io.StringIO(waiting.value.path().read_text())))
    assert {row["reason"] for row in found} == {"rate_limited"}
    assert {row["status"] for row in found} == {"429"}
    assert all(row["client"].startswith("Client ") for row in found)
    rows.nth(1).get_by_role("link", name=re.compile("^Request ")).click()
    expect(page.get_by_role("heading", name=re.compile("^Call "), level=1)).to_be_visible()
    expect(page.get_by_text("Refused: Rate limited")).to_be_visible()
    page.get_by_role("button", name="Copy the request id").first.click()
    expect(page.get_by_text(re.compile("^Cop(ied|y it from here)"))).to_be_visible()
    looks_good(page, "log")


def test_a_filter_that_cannot_be_read_says_so_beside_its_field(page: Page, stage: Stage) -> None:
    at(page, stage, "/logs?ip=localhost&status=9xx&latency=fast&client_name=Nobody&reason=28")
    for text in ("must be an IPv4 or IPv6 address", "must be a status such as 404",
                 "must be a number of milliseconds", "fits no client"):  # fmt: skip
        expect(page.get_by_text(text)).to_be_visible()
    expect(page.get_by_label("Address", exact=True)).to_have_value("localhost")


def test_what_is_kept_for_how_long_is_a_setting(page: Page, stage: Stage) -> None:
    at(page, stage, "/settings")
    page.get_by_label("Days of usage by minute", exact=True).fill("400")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("must be a number of days from 1 to 31")).to_be_visible()
    page.get_by_label("Days of usage by minute", exact=True).fill("3")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("The settings were saved.")).to_be_visible()
    expect(page.get_by_label("Days of usage by minute", exact=True)).to_have_value("3")
