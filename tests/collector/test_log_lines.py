"""Log lines: read in bulk whatever they hold, and sampled by what they say."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ostiary.access.reasons import Reason
from ostiary.collector.log_lines import CALLS, REFUSALS, Batch, Reader
from ostiary.collector.owners import Owners
from ostiary.gateway.contract import LINE, ONE_OF, SUBJECT, code
from ostiary.usage.bulk import CALLS as TABLE
from ostiary.usage.latency import bucket_of


class TheOwners(Owners):
    """A directory in memory: credential 9 is of profile 3 of client 2; endpoint 5 is for GET."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def learn(
        self,
        *,
        credentials: Iterable[int] = (),
        profiles: Iterable[int] = (),
        endpoints: Iterable[int] = (),
    ) -> None:
        self.asked += credentials

    def of_credential(self, credential: int) -> tuple[int, int]:
        return (3, 2) if credential == 9 else (0, 0)

    def client_of(self, profile: int) -> int:
        return 2 if profile == 3 else 0

    def method_of(self, endpoint: int) -> str:
        return "GET" if endpoint == 5 else ""


def a_subject(**parts: object) -> str:
    usual: dict[str, object] = {
        "endpoint": 5, "collection": 4, "profile": 3, "client": 2, "credential": 9, "would": 0,
        "reason": 0, "weight": 1, "method": "-",
    }  # fmt: skip
    return "/".join(str((usual | parts)[name]) for name in SUBJECT)


def a_line(**values: object) -> str:
    usual: dict[str, object] = {
        "at": "1000.123", "request_id": "a-1", "status": "200", "subject": a_subject(),
        "address": "192.0.2.7", "took": "0.003", "bytes_in": 100, "bytes_out": 200, "details": "-",
    }  # fmt: skip
    return "\t".join(str((usual | values)[name]) for name in LINE)


def a_reader(**rates: int) -> Reader:
    return Reader("", TheOwners(), **rates)


def rows(batch: Batch) -> list[dict[str, Any]]:
    made = [dict(zip(TABLE.columns, row, strict=True)) for row in batch.calls]
    return [row | {"details": json.loads(str(row["details"]))} for row in made]


def the_row(line: str) -> dict[str, Any]:
    batch = a_reader().read([line])
    assert (batch.read, batch.strange) == (1, 0)
    (row,) = rows(batch)
    return row


def test_an_admitted_call_is_read() -> None:
    assert the_row(a_line()) == {
        "at_ms": 1_000_123, "request_id": "a-1", "node": "", "status": 200, "reason": 0, "would": 0,
        "method": "GET", "collection_id": 4, "endpoint_id": 5, "client_id": 2, "profile_id": 3,
        "credential_id": 9, "address": "192.0.2.7", "latency_ms": 3, "bytes_in": 100,
        "bytes_out": 200, "stands_for": 1, "details": {},
    }  # fmt: skip


def test_a_refused_call_is_read_with_what_its_owner_may_ask() -> None:
    details = {
        "path": '/a?x="\t',
        "peer": "10.0.0.1",
        "trace": 77,
        "forwarded": "",
        "credentials": "-",
    }
    subject = a_subject(reason=22, method="POST", client=0, credential=0)
    row = the_row(a_line(status=403, subject=subject, details=json.dumps(details)))
    assert (row["status"], row["reason"], row["method"]) == (403, 22, "POST")
    assert (row["profile_id"], row["client_id"]) == (3, 2)
    assert row["details"] == {"path": '/a?x="\t', "peer": "10.0.0.1", "trace": "77"}


def test_details_of_any_kind_are_stored_as_text() -> None:
    details = {"rate_limit": 5, "a": ["b"], "c": {"d": 1}, "e": None, "f": False}
    stored = the_row(a_line(details=json.dumps(details)))["details"]
    assert stored == {"rate_limit": "5", "a": "['b']", "c": "{'d': 1}", "f": "False"}


def test_why_an_admitted_call_failed_and_what_would_have_refused_it_is_known() -> None:
    row = the_row(a_line(status=504, subject=a_subject(reason=code(Reason.UPSTREAM_TIMEOUT))))
    assert row["reason"] == code(Reason.UPSTREAM_TIMEOUT)
    assert the_row(a_line(subject=a_subject(would=22)))["would"] == 22


@pytest.mark.parametrize("status", ["000", "0", "499"])
def test_a_call_whose_caller_went_away_is_unanswered(status: str) -> None:
    assert the_row(a_line(status=status))["status"] == -1


def test_whose_a_credential_is_is_filled_in() -> None:
    row = the_row(a_line(subject=a_subject(profile=0, client=0)))
    assert (row["profile_id"], row["client_id"]) == (3, 2)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("-", ""),
    ],
)
def test_addresses_are_stored_in_one_form(text: str, address: str) -> None:
    assert the_row(a_line(address=text))["address"] == address


STRANGE = {
    "empty": "",
    "cut": a_line()[:-9],
    "two in one": a_line(details="{}")[:-2] + a_line(),
    "a field too many": a_line() + "\tx",
    "time": a_line(at="x"),
    "time before all": a_line(at="-1.000"),
    "time after all": a_line(at=f"{10**20}.000"),
    "status": a_line(status="2x"),
    "large status": a_line(status="1000"),
    "bytes": a_line(bytes_in="-"),
    "many bytes": a_line(bytes_out=2**63),
    "address": a_line(address="1::2::3"),
    "no object": a_line(details="[]"),
    "half an object": a_line(details='{"path":"/a'),
    "too deep": a_line(details="[" * 100_000),
    "subject": a_line(subject="5/4/3"),
    "large id": a_line(subject=a_subject(profile=2**31)),
    "negative id": a_line(subject=a_subject(endpoint=-1)),
    "large code": a_line(subject=a_subject(reason=2**15)),
    "no weight": a_line(subject=a_subject(weight=0)),
}


@pytest.mark.parametrize("line", STRANGE.values(), ids=STRANGE)
def test_a_line_that_cannot_be_read_costs_itself_alone(line: str) -> None:
    batch = a_reader().read([a_line(), line, a_line()])
    assert (batch.read, batch.strange, len(batch.calls)) == (2, 1, 2)


@given(
    st.lists(
        st.one_of(
            st.text(max_size=60),
            st.lists(st.text(max_size=9), min_size=9, max_size=9).map("\t".join),
        ),
        max_size=5,
    )
)
@example([a_line(details=json.dumps({"path": "\0\ud800"}))])
def test_whatever_comes_can_be_stored(lines: list[str]) -> None:
    batch = a_reader().read(lines)
    assert batch.read + batch.strange == len(lines)
    for row in rows(batch):
        json.dumps(row["details"], ensure_ascii=False).encode()
        assert "\0" not in str(row["details"])


def test_a_line_that_stands_for_others_counts_for_them() -> None:
    batch = a_reader().read([a_line(subject=a_subject(weight=ONE_OF)), a_line()])
    assert [row["stands_for"] for row in rows(batch)] == [ONE_OF, 1]
    assert list(batch.latencies.values()) == [ONE_OF + 1]
    assert batch.stood_for == ONE_OF + 1


def test_latencies_are_counted_by_minute_and_bucket_of_known_calls_alone() -> None:
    lines = [
        a_line(at="1000.000", took="0.003"),
        a_line(at="1019.999", took="0.003"),
        a_line(at="1020.000", took="3.000"),
        a_line(subject=a_subject(credential=0)),
        a_line(subject=a_subject(endpoint=0)),
    ]
    latencies = a_reader().read(lines).latencies
    assert {(what.minute, bucket): n for (what, bucket), n in latencies.items()} == {
        (960, bucket_of(3)): 2,
        (1020, bucket_of(3000)): 1,
    }
    assert {tuple(what)[1:] for what, _ in latencies} == {(3, 2, 4, 5)}
    assert not a_reader().read(lines, timed=False).latencies


def test_each_subject_is_looked_up_once() -> None:
    owners = TheOwners()
    reader = Reader("", owners)
    for _ in range(3):
        reader.read([a_line(), a_line()])
    assert owners.asked == [9]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 9_000), st.booleans(), st.integers(1, 3))
def test_stored_lines_stand_for_all_that_came(calls: int, refused: bool, seconds: int) -> None:
    """In whatever order their seconds come: each worker's lines come a buffer at a time."""
    reader, most = a_reader(), (REFUSALS if refused else CALLS)
    subject = a_subject(reason=13 if refused else 0)
    lines = [a_line(at=f"{1000 + n % seconds}.000", subject=subject) for n in range(calls)]
    stored = rows(reader.read(lines))
    if calls <= most * seconds:
        assert [row["stands_for"] for row in stored] == [1] * calls
    stood = sum(row["stands_for"] for row in stored)
    largest = max((row["stands_for"] for row in stored), default=1)
    assert calls - 2 * largest * seconds < stood <= calls
    assert len(stored) <= most * 7 * seconds


def test_the_rate_up_to_which_all_are_stored_can_be_chosen() -> None:
    stored = rows(a_reader(calls=2).read([a_line()] * 8))
    assert [row["stands_for"] for row in stored] == [1, 1, 2, 4]
