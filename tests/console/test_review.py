"""Explain and preview in the console: what an owner sees before and after a refusal."""

import json
import sqlite3
import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from tests.console.steps import at, looks_good
from tests.stage import Stage

from ostiary.access.reasons import Reason, refusal

pytestmark = [pytest.mark.browser, pytest.mark.gateway, pytest.mark.slow]


def log(stage: Stage, request_id: str, **fields: Any) -> None:
    """A line of the request log, as a collector would have written it."""
    reason: Reason | None = fields.pop("reason", None)
    line = {
        "at_ms": int(time.time() * 1000),
        "request_id": request_id,
        "node": "",
        "status": refusal(reason).status if reason else 200,
        "reason": refusal(reason).code if reason else 0,
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
            f"INSERT INTO usage_loggedcall ({names}) VALUES ({marks})",  # noqa: S608 - our own names
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
    owner.get_by_text("What it saw: Where does the call come from?").click()
    expect(owner.get_by_text("from the right as far as the addresses are trusted")).to_be_visible()
    expect(owner.get_by_text("Nothing that it rested on has been changed.")).to_be_visible()
    expect(owner.get_by_text("The same call now: admitted")).to_be_visible()
    looks_good(owner, "explain-call")


def test_an_unknown_request_id_is_said_and_kept(owner: Page, stage: Stage) -> None:
    at(owner, stage, "/explain")
    owner.get_by_label("Request id", exact=True).fill("nothing")
    owner.get_by_role("button", name="Explain this call").click()
    expect(owner.get_by_role("alert")).to_contain_text("no call that is in the request log")
    expect(owner.get_by_label("Request id", exact=True)).to_have_value("nothing")


def test_a_made_up_call_is_explained_from_the_profile_s_card(owner: Page, stage: Stage) -> None:
    at(owner, stage, "/clients/1")
    owner.get_by_role("link", name="Explain a call").first.click()
    owner.get_by_label("Method", exact=True).select_option("DELETE")
    owner.get_by_label("Path", exact=True).fill("/orders-v1/orders")
    owner.get_by_label("Address", exact=True).fill("203.0.113.7")
    owner.get_by_role("button", name="What would it get?").click()
    answer = owner.get_by_role("region", name="The answer")
    expect(answer).to_contain_text("method_not_allowed")
    expect(answer).to_contain_text("takes other methods")
    expect(owner.get_by_label("Path", exact=True)).to_have_value("/orders-v1/orders")
    looks_good(owner, "explain-made-up")
    owner.get_by_label("Method", exact=True).select_option("GET")
    owner.get_by_label("Address", exact=True).fill("somewhere")
    owner.get_by_role("button", name="What would it get?").click()
    expect(owner.get_by_role("alert")).to_contain_text("no IPv4 or IPv6 address")
