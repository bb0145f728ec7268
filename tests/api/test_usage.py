"""Usage and request log over the management API: shapes, scopes, cursors, CSV, hostile values."""

import csv
import io
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.api.conftest import Api

from ostiary.directory.actor import SYSTEM
from ostiary.directory.clients import clients
from ostiary.usage import upkeep
from ostiary.usage.models import LoggedCall, MinuteCount, MinuteLatency

HOUR = 3600


@pytest.fixture
def now() -> int:
    return int(time.time()) // 60 * 60


def _count(at: int, **more: Any) -> None:
    MinuteCount.objects.create(**{"time": at, "status": 2, "calls": 1, "collection_id": 1, **more})


def _log(at: int, **more: Any) -> LoggedCall:
    values = {
        "at_ms": at * 1000 + 5, "request_id": f"r{LoggedCall.objects.count()}", "status": 200,
        "method": "GET", "address": "192.0.2.1", "latency_ms": 3, "collection_id": 1, **more,
    }  # fmt: skip
    return LoggedCall.objects.create(**values)


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _csv(answer: Any) -> list[dict[str, str]]:
    assert answer["Content-Type"].startswith("text/csv")
    assert "attachment" in answer["Content-Disposition"]
    return list(csv.DictReader(io.StringIO(answer.getvalue().decode())))


def test_usage_has_the_rows_that_the_page_promises(api: Api, now: int) -> None:
    client = api.done("POST", "api_clients", {"name": "Acme"})["result"]["id"]
    then = now - 2 * HOUR
    for status, reason, calls in ((2, 0, 5), (4, 28, 3), (5, 0, 2)):
        _count(then, client_id=client, status=status, reason=reason, calls=calls, bytes_out=10)
    MinuteLatency.objects.create(time=then, client_id=client, collection_id=1, bucket=5, calls=7)
    upkeep.run(now)
    [row] = api.done("GET", "v2/usage?bucket=hour&group_by=client")["data"]
    assert row == {
        "time": _iso(then // HOUR * HOUR), "client_id": client, "calls": 10, "refused": 3,
        "errors": 2, "bytes_in": 0, "bytes_out": 30,
        "latency_ms": {"p50": 5, "p95": 5, "p99": 5},
    }  # fmt: skip
    page = api.done("GET", f"v2/usage?bucket=all&group_by=status,reason&client_id={client}")
    assert [(r["status"], r["reason"], r["calls"]) for r in page["data"]] == [
        ("2xx", None, 5), ("4xx", "rate_limited", 3), ("5xx", None, 2),
    ]  # fmt: skip
    assert (page["count"], page["page"], page["per_page"]) == (3, 1, 100)
    [limited] = api.done("GET", "v2/usage?bucket=all&reason=rate_limited")["data"]
    assert (limited["calls"], limited["refused"], limited["latency_ms"]["p50"]) == (3, 3, None)
    assert api.done("GET", "v2/usage?bucket=all&status=5xx")["data"][0]["calls"] == 2
    assert api.done("GET", f"v2/usage?to={_iso(then)}")["data"] == []


def test_usage_pages(api: Api, now: int) -> None:
    for endpoint in range(1, 8):
        _count(now, endpoint_id=endpoint, calls=endpoint)
    first = api.done("GET", "v2/usage?group_by=api_endpoint&per_page=3")
    third = api.done("GET", "v2/usage?group_by=api_endpoint&per_page=3&page=3")
    assert [r["api_endpoint_id"] for r in first["data"]] == [7, 6, 5]
    assert [r["api_endpoint_id"] for r in third["data"]] == [1]
    assert first["count"] == 7


def test_a_token_sees_its_project_alone(api: Api, now: int) -> None:
    other = api.done("POST", "folders", {"name": "Other"})["id"]
    mine = clients.create(by=SYSTEM, given=clients.ClientInput(name="A")).pk
    theirs = clients.create(by=SYSTEM, given=clients.ClientInput(name="B", project_id=other)).pk
    for client, calls in ((mine, 1), (theirs, 10), (0, 100)):
        _count(now, client_id=client, calls=calls, collection_id=0)
        _log(now, client_id=client, collection_id=0)
    scoped = api.as_(admin=False, role="viewer", project_ids=[other])
    assert [r["calls"] for r in scoped.done("GET", "v2/usage")["data"]] == [10]
    assert [r["client_id"] for r in scoped.done("GET", "v2/request_logs")["data"]] == [theirs]
    assert len(_csv(scoped.answer("GET", "v2/request_logs?format=csv"))) == 1
    for path in ("usage", "request_logs", "request_logs?format=csv"):
        joined = "&" if "?" in path else "?"
        assert scoped("GET", f"v2/{path}{joined}client_id={mine}")[0] == 404
    assert len(api.done("GET", "v2/request_logs")["data"]) == 3


def test_a_collection_of_another_project_is_not_there_for_who_called_it(api: Api, now: int) -> None:
    """Neither in the request log nor in usage: such a call looks like one for no collection."""
    other = api.done("POST", "folders", {"name": "Other"})["id"]
    client = clients.create(by=SYSTEM, given=clients.ClientInput(name="B", project_id=other)).pk
    ids = {}
    for name, project in (("Hidden", api.home), ("Own", other)):
        given = {"name": name, "project_id": project}
        ids[name] = api.done("POST", "api_collections", given)["id"]
    not_granted, not_found = 24, 23
    for collection, endpoint, reason, calls in (
        (ids["Hidden"], 77, not_granted, 10),
        (ids["Own"], 78, not_granted, 2),
        (0, 0, not_found, 5),
    ):
        row = {"client_id": client, "collection_id": collection, "endpoint_id": endpoint}
        _count(now - 2 * HOUR, **row, status=4, reason=reason, calls=calls)
        MinuteLatency.objects.create(time=now - 2 * HOUR, **row, bucket=5, calls=calls)
        _log(now - calls, **row, status=403, reason=reason)
    upkeep.run(now)
    theirs = api.as_(admin=False, role="editor", project_ids=[other])

    def usage(by: Api, query: str) -> list[Any]:
        return by.done("GET", f"v2/usage?bucket=all&{query}")["data"]  # type: ignore[no-any-return]

    rows = usage(theirs, "group_by=api_collection,api_endpoint")
    assert [(r["api_collection_id"], r["api_endpoint_id"], r["calls"]) for r in rows] == [
        (None, None, 15), (ids["Own"], 78, 2),
    ]  # fmt: skip
    assert [r["latency_ms"]["p50"] for r in rows] == [5, 5]
    rows = usage(theirs, "group_by=reason")
    reasons = [(r["reason"], r["calls"]) for r in rows]
    assert reasons == [("collection_not_found", 15), ("collection_not_granted", 2)]
    for reason, calls in reasons:
        assert usage(theirs, f"reason={reason}")[0]["calls"] == calls
        logged = theirs.done("GET", f"v2/request_logs?reason={reason}")["data"]
        assert {(c["reason"], c["api_collection_id"], c["api_endpoint_id"]) for c in logged} == {
            (reason, None, None) if reason == "collection_not_found" else (reason, ids["Own"], 78)
        }
        assert len(logged) == (2 if reason == "collection_not_found" else 1)
    assert str(ids["Hidden"]) not in {
        row["api_collection_id"] for row in _csv(theirs.answer("GET", "v2/request_logs?format=csv"))
    }
    # It is there for who may know of it: who sees it, and who has a profile that includes it.
    assert {r["api_collection_id"] for r in usage(api, "group_by=api_collection")} == {
        None, *ids.values()
    }  # fmt: skip
    both = api.as_(admin=False, role="editor", project_ids=[other, api.home])
    given = {"name": "P", "api_client_id": client, "api_collection_ids": [ids["Hidden"]]}
    both.done("POST", "api_access_profiles", {**given, "auth_type": "token"})
    assert len(theirs.done("GET", "v2/request_logs?reason=collection_not_granted")["data"]) == 2
    rows = usage(theirs, "group_by=api_collection")
    assert {r["api_collection_id"] for r in rows} == {None, *ids.values()}


def test_a_call_is_found_by_the_id_that_a_proxy_in_front_gave_it(api: Api, now: int) -> None:
    _log(now, details={"caller_request_id": "edge-7/a"})
    _log(now, details={"caller_request_id": "edge-8"})
    [found] = api.done("GET", "v2/request_logs?caller_request_id=edge-7/a")["data"]
    assert found["caller_request_id"] == "edge-7/a"
    assert api.done("GET", "v2/request_logs?caller_request_id=edge")["data"] == []


def test_the_request_log_filters_and_pages(api: Api, now: int) -> None:
    _log(now - 9, status=404, reason=23, address="2001:db8::1", details={"path": "/x"})
    _log(now - 8, status=-1)
    _log(now - 8, status=500, method="POST", endpoint_id=7)
    _log(now - 7, status=429, reason=28, request_id="abc", stands_for=4)

    def ids(query: str) -> list[str]:
        return [c["request_id"] for c in api.done("GET", f"v2/request_logs?{query}")["data"]]

    assert ids("") == ["abc", "r2", "r1", "r0"]
    assert ids("status=4xx") == ["abc", "r0"]
    assert ids("status=404") == ["r0"]
    assert ids("status=none") == ["r1"]
    assert ids("reason=rate_limited") == ["abc"]
    assert ids("reason=none") == ["r2", "r1"]
    assert ids("request_id=abc") == ["abc"]
    assert ids("ip=2001:DB8:0:0::1") == ["r0"]
    assert ids("method=POST") == ["r2"]
    assert ids("api_endpoint_id=7") == ["r2"]
    assert ids(f"from={_iso(now - 8)}&to={_iso(now - 7)}") == ["r2", "r1"]
    seen, cursor = [], ""
    while True:
        page = api.done("GET", f"v2/request_logs?per_page=1&cursor={cursor}")
        seen += [c["request_id"] for c in page["data"]]
        if (cursor := page["next_cursor"]) is None:
            break
        if len(seen) == 1:
            _log(now)  # comes while the pages are read, and disturbs none of them
    assert seen == ["abc", "r2", "r1", "r0"]
    [found] = api.done("GET", "v2/request_logs?request_id=r0")["data"]
    assert (found["status"], found["reason"], found["path"]) == (404, "collection_not_found", "/x")
    [no_answer] = api.done("GET", "v2/request_logs?request_id=r1")["data"]
    assert (no_answer["status"], no_answer["reason"], no_answer["path"]) == (None, None, None)


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =cmd|' /C calc'!A0", '"=1']


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_of_a_csv_is_a_formula(api: Api, now: int, text: str) -> None:
    _log(now, details={"path": text}, reason=23, status=404, method=text[:16])
    [row] = _csv(api.answer("GET", "v2/request_logs", Accept="text/csv"))
    for name in ("path", "method"):
        assert row[name].lstrip(" ")[:1] not in {"=", "+", "-", "@", "\t", "\r"}
        assert row[name].removeprefix("'") in {text, text[:16]}


def test_usage_as_csv_has_every_row(api: Api, now: int) -> None:
    for endpoint in range(1, 121):
        _count(now, endpoint_id=endpoint, calls=endpoint)
    found = _csv(api.answer("GET", "v2/usage?group_by=api_endpoint&format=csv"))
    assert sum(int(row["calls"]) for row in found) == 120 * 121 / 2
    assert found[0]["api_endpoint_id"] == "120"


HOSTILE = [
    "group_by=password", "group_by=client;DROP", "bucket=second", "from=yesterday",
    "from=2026-01-01", "from=1700000000", "from=0001-01-01T00:00:00Z", "to=9999-12-31T23:59:59-23:59",
    "status=200", "status=9xx", "reason=28", "reason='--", "client_id=0", "client_id=-1",
    "client_id=99999999999999999999", "page=0", "per_page=101", "format=xlsx",
    "bucket=minute&from=2026-01-01T00:00:00Z",
]  # fmt: skip


@pytest.mark.parametrize("query", HOSTILE)
def test_hostile_questions_about_usage_are_refused_in_a_sentence(api: Api, query: str) -> None:
    status, answer = api("GET", f"v2/usage?{query}")
    if query.startswith("to=9999"):
        assert status == 200
        return
    assert (status, answer["message"]) == (400, "Validation failed")
    assert answer["errors"]


HOSTILE_LOGS = [
    "cursor=1", "cursor=a-b", "cursor=-1--1", "cursor=" + "9" * 30, "ip=localhost", "ip=1.2.3",
    "ip=fe80::1%25eth0%27", "status=700", "status=20", "method=get", "method=%00", "reason=28",
    "request_id=", "request_id=%00", "request_id=" + "x" * 41, "per_page=1000",
]  # fmt: skip


@pytest.mark.parametrize("query", HOSTILE_LOGS)
def test_hostile_questions_about_calls_are_refused_in_a_sentence(api: Api, query: str) -> None:
    status, answer = api("GET", f"v2/request_logs?{query}")
    assert (status, answer["message"]) == (400, "Validation failed")
    assert answer["errors"]
