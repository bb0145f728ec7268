"""Explain and preview in the console: what an owner sees before and after a refusal."""

import json
import re
import sqlite3
import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.console.steps import at, looks_good
from tests.stage import Stage

from ostiary.access.reasons import Reason, describe

pytestmark = [pytest.mark.browser, pytest.mark.gateway, pytest.mark.slow]


def log(stage: Stage, request_id: str, **fields: Any) -> None:
    """A line of the request log, as a collector would have written it."""
    reason: Reason | None = fields.pop("reason", None)
    line = {
        "at_ms": int(time.time() * 1000),
        "request_id": request_id,
        "node": "",
        "status": describe(reason).status if reason else 200,
        "reason": describe(reason).code if reason else 0,
        "would": 0,
        "method": "GET",
        "collection_id": 1,
        "endpoint_id": 1,
        "client_id": 1,
        "profile_id": 1,
        "credential_id": 0 if reason else 1,
        "address": "203.0.113.7",
        "latency_ms": 12,
        "bytes_in": 0,
        "bytes_out": 0,
        "stands_for": 1,
        "details": {},
        **fields,
    }
    line["details"] = json.dumps(line["details"])
    with sqlite3.connect(stage.data / "ostiary.sqlite3", timeout=20) as database:
        names = ", ".join(line)
        marks = ", ".join("?" * len(line))
        database.execute(
            f"INSERT INTO usage_loggedcall ({names}) VALUES ({marks})",
            list(line.values()),
        )
    database.close()


def test_a_refusal_is_explained_by_its_request_id(owner: Page, stage: Stage) -> None:
    details = {
        "path": "/orders-v1/orders",
        "peer": "10.0.0.1",
        "forwarded": "203.0.113.7",
    }
    log(stage, "6744-1", reason=Reason.ADDRESS_NOT_ALLOWED, details=details)
    at(owner, stage, "/clients")
    owner.get_by_role("navigation", name="Main").get_by_role("link", name="Explain").click()
    owner.get_by_label("Request id", exact=True).fill("6744-1")
    owner.get_by_role("button", name="Explain this call").click()
    expect(owner.get_by_role("heading", name="Call 6744-1", level=1)).to_be_visible()
    expect(owner.get_by_text("in none of the profile's allowed ranges")).to_be_visible()
    expect(owner.get_by_text("from the right as far as the addresses are trusted")).to_be_hidden()
    owner.get_by_text("11 checks passed").click()
    owner.get_by_text("Details: Where does the call come from?").click()
    expect(owner.get_by_text("from the right as far as the addresses are trusted")).to_be_visible()
    expect(owner.get_by_text("Nothing that the decision depended on has changed.")).to_be_visible()
    expect(owner.get_by_text("The same call now: admitted")).to_be_visible()
    looks_good(owner, "explain-call")


def test_an_unknown_request_id_is_said_and_kept(owner: Page, stage: Stage) -> None:
    at(owner, stage, "/explain")
    owner.get_by_label("Request id", exact=True).fill("nothing")
    owner.get_by_role("button", name="Explain this call").click()
    expect(owner.get_by_role("alert")).to_contain_text("isn't in the request log")
    expect(owner.get_by_label("Request id", exact=True)).to_have_value("nothing")


def test_a_made_up_call_is_explained_from_the_profile_s_card(owner: Page, stage: Stage) -> None:
    at(owner, stage, "/profiles/1")
    owner.get_by_role("link", name="Explain a call").click()
    owner.get_by_label("Method", exact=True).select_option("DELETE")
    owner.get_by_label("Path", exact=True).fill("/orders-v1/orders")
    owner.get_by_label("Address", exact=True).fill("203.0.113.7")
    owner.get_by_role("button", name="What would it get?").click()
    answer = owner.get_by_role("region", name="The answer")
    expect(answer).to_contain_text("method_not_allowed")
    expect(answer).to_contain_text("accepts other methods")
    expect(owner.get_by_label("Path", exact=True)).to_have_value("/orders-v1/orders")
    looks_good(owner, "explain-made-up")
    owner.get_by_label("Method", exact=True).select_option("GET")
    owner.get_by_label("Address", exact=True).fill("somewhere")
    owner.get_by_role("button", name="What would it get?").click()
    expect(owner.get_by_role("alert")).to_contain_text("an IPv4 or IPv6 address")


def test_a_change_of_a_profile_is_shown_before_it_is_saved(owner: Page, stage: Stage) -> None:
    made = stage.done(
        "POST",
        "api_access_profiles",
        {"name": "Changing", "api_client_id": 1, "api_collection_ids": [1], "auth_type": "token"},
    )["result"]
    before, own = int(time.time() * 1000) - 3_600_000, {"profile_id": made["id"]}
    for number in range(3):
        log(stage, f"6744-2{number}", at_ms=before + number, address=f"198.51.100.{number}", **own)
    log(stage, "6744-30", at_ms=before + 9, address="192.0.2.7", **own)
    at(owner, stage, f"/profiles/{made['id']}/edit")
    owner.get_by_label("Allowed IPs", exact=True).fill("192.0.2.0/24, 127.0.0.0/8")
    owner.get_by_role("button", name="Save").click()
    expect(owner.get_by_role("heading", name="What this change would do")).to_be_visible()
    short = owner.get_by_role("region", name="In short")
    expect(short).to_contain_text("would have refused 3 calls of 1 profile since")
    expect(owner.get_by_role("cell", name="198.51.100.2")).to_be_visible()
    looks_good(owner, "preview")
    owner.get_by_role("button", name="Back").click()
    expect(owner.get_by_label("Allowed IPs", exact=True)).to_have_value("192.0.2.0/24, 127.0.0.0/8")
    owner.get_by_label("Only watch these addresses", exact=True).check()
    looks_good(owner, "profile-edit")
    owner.get_by_role("button", name="Save").click()
    expect(short).to_contain_text("enforced, it would refuse 3 calls")
    owner.get_by_role("button", name="Save this change").click()
    row = owner.get_by_role("row", name=re.compile("Changing"))
    expect(row.get_by_text("Report-only")).to_be_visible()
    looks_good(owner, "client-watched")
    row.get_by_role("link", name="Changing", exact=True).click()
    expect(owner.get_by_text("Only watched: nobody is refused by the lists")).to_be_visible()


def test_what_switching_off_would_stop_is_shown_to_who_asks_before(
    owner: Page, stage: Stage
) -> None:
    made = stage.done(
        "POST",
        "api_access_profiles",
        {"name": "Busy", "api_client_id": 1, "api_collection_ids": [1], "auth_type": "token"},
    )["result"]
    for number in range(4):
        at_ms = int(time.time() * 1000) - 60_000 + number
        log(stage, f"6744-4{number}", at_ms=at_ms, profile_id=made["id"])
    at(owner, stage, f"/profiles/{made['id']}")
    looks_good(owner, "profile-before-off")
    owner.get_by_role("link", name="Before you switch it off").click()
    expect(owner.get_by_role("heading", name="What switching it off would do")).to_be_visible()
    short = owner.get_by_role("region", name="In short")
    expect(short).to_contain_text("would have refused 4 calls of 1 profile since")
    looks_good(owner, "preview-off")
    owner.get_by_role("link", name="Cancel").click()
    assert stage.done("GET", f"api_access_profiles/{made['id']}")["result"]["active"]
    owner.get_by_role("link", name="Before you switch it off").click()
    owner.get_by_role("button", name="Switch it off").click()
    expect(owner.get_by_role("status").first).to_contain_text("Busy is inactive")
    assert not stage.done("GET", f"api_access_profiles/{made['id']}")["result"]["active"]
    at(owner, stage, f"/profiles/{made['id']}")
    expect(owner.get_by_role("link", name="Before you switch it off")).to_have_count(0)


def test_a_change_that_calls_do_not_feel_is_saved_at_once(owner: Page, stage: Stage) -> None:
    at(owner, stage, "/profiles/1/edit")
    owner.get_by_label("Profile name", exact=True).fill("Acme script")
    owner.get_by_role("button", name="Save").click()
    expect(owner.get_by_role("status").first).to_contain_text("was changed")


def test_a_change_of_a_policy_is_shown_before_it_is_saved(owner: Page, stage: Stage) -> None:
    for number in range(2):
        log(stage, f"6744-4{number}")
    at(owner, stage, "/policies")
    owner.get_by_role("link", name="Edit").last.click()
    owner.get_by_label("Requests per day", exact=True).fill("1")
    owner.get_by_label("Only watch these limits", exact=True).check()
    owner.get_by_role("button", name="Save").click()
    short = owner.get_by_role("region", name="In short")
    expect(short).to_contain_text("only watched; enforced, it would refuse")
    owner.get_by_role("button", name="Save this change").click()
    expect(owner.get_by_text("Only watched: nothing is refused").first).to_be_visible()
    looks_good(owner, "policies-watched")


def test_advice_leads_to_the_change_with_its_values_filled_in(owner: Page, stage: Stage) -> None:
    made = stage.done(
        "POST",
        "api_access_profiles",
        {"name": "Nightly", "api_client_id": 1, "api_collection_ids": [1], "auth_type": "token"},
    )["result"]
    before = int(time.time() * 1000) - 7_200_000
    for number in range(25):
        log(stage, f"6744-5{number}", at_ms=before + number, address="192.0.2.7",
            profile_id=made["id"])  # fmt: skip
    at(owner, stage, "/clients")
    owner.get_by_role("navigation", name="Main").get_by_role("link", name="Advice").click()
    open_ = owner.get_by_role("region", name="Every address may call, though few do")
    expect(open_).to_contain_text("All 25 logged calls of the last 30 days came from 1 address")
    looks_good(owner, "advice")
    open_.get_by_role("listitem").filter(has_text="Nightly").get_by_role(
        "link", name=re.compile("^See the change")
    ).click()
    expect(owner.get_by_text("What is proposed is filled in below.")).to_be_visible()
    expect(owner.get_by_label("Allowed IPs", exact=True)).to_have_value("192.0.2.7")
    owner.get_by_role("button", name="Save").click()
    short = owner.get_by_role("region", name="In short")
    expect(short).to_contain_text("None of the 25 calls recorded")
    owner.get_by_role("button", name="Save this change").click()
    owner.get_by_role("link", name="Nightly", exact=True).click()
    expect(owner.get_by_role("region", name="Access profile")).to_contain_text("192.0.2.7")
