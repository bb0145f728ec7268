"""The request log in this process: what its page finds, where it leads, and what a call's page says."""

import re
import time
from html import unescape

import pytest
from django.db import connection
from django.test import Client
from tests.api.conftest import Api, api

from ostiary.access.reasons import REASONS, Reason, describe
from ostiary.directory.actor import SYSTEM
from ostiary.directory.models import Credential
from ostiary.directory.people import members
from ostiary.usage import request_log
from ostiary.usage.models import LoggedCall

__all__ = ["api"]
MARK = "1795820123456789"


class Reader:
    """An admin who reads pages, and follows links by what they say."""

    def __init__(self) -> None:
        self._client = Client()
        self._client.force_login(members.create(by=SYSTEM, email="owner@example.com", admin=True))
        self.clicks = 0
        self.page = ""
        self.path = ""

    def at(self, path: str) -> str:
        answer = self._client.get(path, follow=True)
        assert answer.status_code == 200, (path, answer.status_code)
        self.path = answer.redirect_chain[-1][0] if answer.redirect_chain else path
        self.page = unescape(answer.content.decode())
        return self.page

    def click(self, words: str) -> str:
        """Follow the first link in the content with these words in its text or its name."""
        content = self.page.partition("<main")[2]
        for found in re.finditer(r"<a ([^>]*)>(.*?)</a>", content, re.DOTALL):
            said = re.sub(r"<[^>]*>", "", found[2]) + found[1]
            if words in said:
                [href] = re.findall(r'href="([^"]*)"', found[1])
                self.clicks += 1
                path = self.path.partition("?")[0]
                return self.at(href if href.startswith("/") else path + href)
        raise AssertionError(words)

    def header(self, path: str, name: str) -> str:
        return str(self._client.get(path).headers[name])

    def status(self, path: str) -> int:
        return int(self._client.get(path).status_code)

    def lines(self, path: str) -> list[str]:
        """A table that is sent as it is made."""
        return self._client.get(path).getvalue().decode().splitlines()

    def rows(self) -> list[str]:
        """Request ids of the rows, in their order."""
        return re.findall(r'aria-label="Request ([^"]+)"', self.page)


@pytest.fixture
def reader(api: Api) -> Reader:
    return Reader()


def log(number: int, **fields: object) -> LoggedCall:
    """A line as a collector writes it; the higher the number, the younger."""
    reason = fields.pop("reason", None)
    assert reason is None or isinstance(reason, Reason)
    line: dict[str, object] = {
        "at_ms": int(time.time() * 1000) - 60_000 + number,
        "request_id": f"{MARK}-12-{number}",
        "status": describe(reason).status if reason else 200,
        "reason": describe(reason).code if reason else 0,
        "method": "GET",
        "address": "203.0.113.7",
        "latency_ms": 12,
        "details": {"path": "/things-v1/items"} if reason else {},
        **fields,
    }
    return LoggedCall.objects.create(**line)


@pytest.fixture
def calls(reader: Reader) -> list[LoggedCall]:
    return [
        log(1),
        log(2, reason=Reason.RATE_LIMITED),
        log(3, reason=Reason.UPSTREAM_TIMEOUT, latency_ms=30_000),
        log(4, status=404),
        log(5, status=-1),
        log(6, reason=Reason.UNKNOWN_CREDENTIAL, at_ms=int(time.time() * 1000) - 7_200_000),
    ]


def ids(*numbers: int) -> list[str]:
    return [f"{MARK}-12-{number}" for number in numbers]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", (5, 4, 3, 2, 1, 6)),
        ("outcome=refused", (2, 6)),
        ("outcome=errors", (5, 4, 3)),
        ("outcome=slow", (3,)),
        ("range=1h", (5, 4, 3, 2, 1)),
        ("range=15m&outcome=refused", (2,)),
        ("order=oldest", (6, 1, 2, 3, 4, 5)),
        ("order=slowest&range=1h", (3, 5, 4, 2, 1)),
        (f"request_id={MARK}-12-4", (4,)),
        (f"request_id={MARK[:6]}&outcome=slow", (3,)),
        ("request_id=…12-3", (3,)),
        ("request_id=2-2", ()),
        ("reason=rate_limited", (2,)),
        ("outcome=nonsense&range=x&order=y", (5, 4, 3, 2, 1, 6)),
    ],
    ids=str,
)
@pytest.mark.usefixtures("calls")
def test_chips_ranges_orders_and_parts_of_ids_find_their_calls(
    reader: Reader, query: str, found: tuple[int, ...]
) -> None:
    reader.at(f"/logs?{query}")
    assert reader.rows() == ids(*found)


def test_pages_of_each_order_go_on_where_the_last_one_ended(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ostiary.console.insight.request_log.PER_PAGE", 2)
    for number in range(1, 6):
        log(number, latency_ms=number // 2)
    for order, link, wanted in (
        ("newest", "Older", (5, 4, 3, 2, 1)),
        ("oldest", "Next", (1, 2, 3, 4, 5)),
        ("slowest", "Next", (5, 4, 3, 2, 1)),
    ):
        reader.at(f"/logs?order={order}")
        seen = reader.rows()
        while f">{link}</a>" in reader.page:
            reader.click(link)
            seen += reader.rows()
        assert seen == ids(*wanted), order


@pytest.mark.usefixtures("calls")
def test_rows_show_the_part_of_an_id_that_differs(reader: Reader) -> None:
    assert "<code>…12-4</code>" in reader.at("/logs")
    log(9, request_id="1795829999999999-12-4")
    page = reader.at("/logs")
    assert "<code>…9999-12-4</code>" in page
    assert "<code>…6789-12-4</code>" in page


@pytest.mark.usefixtures("calls")
def test_the_search_of_everything_finds_request_ids_whole_or_in_part(reader: Reader) -> None:
    for text in (f"{MARK}-12-2", MARK[:8], "12-2", "…12-2"):
        assert f'href="/logs/{MARK}-12-2"' in reader.at(f"/search?find={text}"), text
    assert "Rate limited" in reader.page
    assert "/logs/" not in reader.at("/search?find=99-99").partition("<main")[2]


def test_what_a_credential_called_is_a_filter_that_can_be_taken_off(
    reader: Reader, api: Api
) -> None:
    collection = api.done("POST", "api_collections", {"name": "Things"})
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    given = {
        "name": "P", "api_client_id": client["id"], "api_collection_ids": [collection["id"]],
        "auth_type": "token",
    }  # fmt: skip
    profile = api.done("POST", "api_access_profiles", given)["result"]
    credential = Credential.objects.get(profile_id=profile["id"])
    of_it = {"client_id": client["id"], "profile_id": profile["id"], "credential_id": credential.pk}
    log(1, **of_it)
    log(2, **{**of_it, "credential_id": 0})
    reader.at(f"/logs?credential={credential.pk}")
    assert reader.rows() == ids(1)
    assert credential.last_four in reader.page
    reader.click("Remove the filter Credential")
    assert reader.rows() == ids(2, 1)


@pytest.mark.usefixtures("calls")
def test_live_gets_what_was_stored_since_and_no_more(reader: Reader) -> None:
    page = reader.at("/logs?outcome=refused")
    [latest] = re.findall(r'data-latest="(\d+)"', page)
    asked = f"/logs?outcome=refused&arrived={latest}"
    assert reader.at(asked).strip() == ""
    log(7)
    # A gateway may deliver a line late: it is told by when it was stored.
    late = log(8, reason=Reason.QUOTA_EXCEEDED, at_ms=1000)
    assert reader.at(asked).count("<tr") == 1
    assert reader.rows() == ids(8)
    assert reader.header(asked, "X-Ostiary-Latest") == str(late.pk)
    for query in ("order=oldest", "cursor=5-5", "to=2026-01-01T00:00"):
        assert "data-tail" not in reader.at(f"/logs?{query}")


def test_a_call_s_page_is_its_explanation_with_what_passed_folded(reader: Reader, api: Api) -> None:
    collection = api.done("POST", "api_collections", {"name": "Things"})
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]
    given = {
        "name": "P", "api_client_id": client["id"], "api_collection_ids": [collection["id"]],
        "auth_type": "token", "ip_allow_list": ["198.51.100.0/24"],
    }  # fmt: skip
    profile = api.done("POST", "api_access_profiles", given)["result"]
    of_it = {"client_id": client["id"], "profile_id": profile["id"]}
    log(1, reason=Reason.ADDRESS_NOT_ALLOWED, **of_it)
    reader.at("/logs")
    page = reader.click(f"Request {MARK}-12-1")
    assert "Refused: Address not allowed" in page
    folded = page.index("<summary>11 checks passed</summary>")
    failed = page.index("May it call from this address?")
    assert folded < failed < page.index("checks not reached")
    assert "<details open>" in page[failed:]
    assert "<details open>" not in page[folded:failed]
    reader.at(f"/explain/{MARK}-12-1")
    assert reader.path == f"/logs/{MARK}-12-1"
    assert reader.status("/logs/nobody-1-1") == 404
    # From what the page says on to the calls that were refused alike.
    reader.click("Others like it")
    assert reader.rows() == ids(1)


@pytest.mark.usefixtures("calls")
def test_a_reason_has_one_label_in_log_filter_and_explanation(reader: Reader) -> None:
    page = reader.at("/logs")
    for reason in REASONS:
        assert f'<option value="{reason}">{reason.label}</option>' in page
    assert reader.click("Rate limited")
    assert reader.rows() == ids(2)
    assert "Refused: Rate limited" in reader.at(f"/logs/{MARK}-12-2")


@pytest.mark.parametrize(
    ("outcome", "index"),
    [("refused", "logged_failing"), ("errors", "logged_failing"), ("slow", "logged_slow")],
)
def test_an_outcome_is_found_by_an_index_of_its_own(api: Api, outcome: str, index: str) -> None:
    wanted = request_log.LogFilter(outcome=request_log.LogOutcome(outcome))
    plan = request_log._matching(SYSTEM, wanted, "")[:51].explain()
    if connection.vendor == "sqlite":
        assert index in plan
