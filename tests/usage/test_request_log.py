"""The request log is read whole and in order, page by page, and each filter takes what it says."""

from collections.abc import Callable

import pytest

from ostiary.access.reasons import Reason, describe
from ostiary.directory.actor import Actor
from ostiary.directory.changes.errors import Invalid, NotFound
from ostiary.usage import request_log
from ostiary.usage.models import LoggedCall
from ostiary.usage.request_log import LogFilter, LogOrder, LogOutcome, Statuses

ADMIN = Actor(kind="member", id=1, name="Ada", admin=True)
#: Has no role in any project.
STRANGER = Actor(kind="token", id=1, name="Script")
NOON = 1_795_521_600_000
ADMITTED, LIMITED, UPSTREAM = (
    0,
    describe(Reason.RATE_LIMITED).code,
    describe(Reason.UPSTREAM_FAILED).code,
)
#: Status, reason, milliseconds.
KINDS = (
    (200, ADMITTED, 3), (404, ADMITTED, 20), (500, ADMITTED, 1500), (429, LIMITED, 1),
    (502, UPSTREAM, 30), (304, ADMITTED, 1000), (0, ADMITTED, 999),
)  # fmt: skip


@pytest.fixture
def lines(db: None) -> list[LoggedCall]:
    """Lines of every kind, of several consumers, several of them in one millisecond."""
    found = []
    for number, (status, reason, latency) in enumerate(KINDS * 5):
        found.append(
            LoggedCall.objects.create(
                at_ms=NOON + number // 3 * 1000, request_id=f"abcd{number % 4}-{number}-1",
                status=status, reason=reason, latency_ms=latency, method="GET" if number % 2 else "POST",
                address=f"192.0.2.{number % 3}", client_id=1 + number % 2, profile_id=1 + number % 5,
                credential_id=1 + number % 6, collection_id=1, endpoint_id=1 + number % 4,
                details={"caller_request_id": "theirs"} if number == 7 else {},
            )
        )  # fmt: skip
    return found


def paged(wanted: LogFilter, *, most: int) -> list[int]:
    """The numbers of all lines, read page by page."""
    found: list[LoggedCall] = []
    while True:
        before = request_log.cursor(found[-1], wanted.order) if found else ""
        page = request_log.calls(ADMIN, wanted, before=before, most=most)
        found += page
        if len(page) < most:
            return [each.pk for each in found]


KEYS: dict[LogOrder, Callable[[LoggedCall], tuple[int, int]]] = {
    LogOrder.NEWEST: lambda call: (-call.at_ms, -call.pk),
    LogOrder.OLDEST: lambda call: (call.at_ms, call.pk),
    LogOrder.SLOWEST: lambda call: (-call.latency_ms, -call.pk),
}


@pytest.mark.parametrize("order", LogOrder)
@pytest.mark.parametrize("most", [1, 4, 100])
def test_pages_have_every_line_once_and_in_order(
    lines: list[LoggedCall], order: LogOrder, most: int
) -> None:
    wanted = [call.pk for call in sorted(lines, key=KEYS[order])]
    assert paged(LogFilter(order=order), most=most) == wanted
    assert [call.pk for call in request_log.every(ADMIN, LogFilter(order=order), most=9)] == wanted[
        :9
    ]


FILTERS: dict[str, tuple[LogFilter, Callable[[LoggedCall], bool]]] = {
    "since": (LogFilter(start_ms=NOON + 5000), lambda c: c.at_ms >= NOON + 5000),
    "until": (LogFilter(end_ms=NOON + 5000), lambda c: c.at_ms < NOON + 5000),
    "client": (LogFilter(client_id=2), lambda c: c.client_id == 2),
    "profile": (LogFilter(profile_id=3), lambda c: c.profile_id == 3),
    "credential": (LogFilter(credential_id=4), lambda c: c.credential_id == 4),
    "collection": (LogFilter(collection_id=9), lambda c: c.collection_id == 9),
    "endpoint": (LogFilter(endpoint_id=4), lambda c: c.endpoint_id == 4),
    "refused": (LogFilter(outcome=LogOutcome.REFUSED), lambda c: c.reason == LIMITED),
    "errors": (
        LogFilter(outcome=LogOutcome.ERRORS),
        lambda c: (c.status >= 400 or c.status < 100) and c.reason in {ADMITTED, UPSTREAM},
    ),
    "slow": (LogFilter(outcome=LogOutcome.SLOW), lambda c: c.latency_ms >= 1000),
    "one status": (LogFilter(statuses=Statuses(first=404, last=404)), lambda c: c.status == 404),
    "class": (LogFilter(statuses=request_log.statuses("5xx")), lambda c: c.status // 100 == 5),
    "no answer": (LogFilter(statuses=request_log.statuses("none")), lambda c: c.status < 100),
    "reasons": (LogFilter(reasons=frozenset({LIMITED})), lambda c: c.reason == LIMITED),
    "method": (LogFilter(method="POST"), lambda c: c.method == "POST"),
    "address": (LogFilter(address="192.0.2.1"), lambda c: c.address == "192.0.2.1"),
    "latency": (LogFilter(least_latency_ms=30), lambda c: c.latency_ms >= 30),
    "id": (LogFilter(request_id="abcd1-5-1"), lambda c: c.request_id == "abcd1-5-1"),
    "beginning": (LogFilter(part_of_id="abcd2"), lambda c: c.request_id.startswith("abcd2")),
    "tail": (LogFilter(part_of_id="1-1"), lambda c: c.request_id.endswith("-1-1")),
    "middle": (LogFilter(part_of_id="d3-1"), lambda c: "d3-1" in c.request_id),
    "their id": (LogFilter(caller_request_id="theirs"), lambda c: bool(c.details)),
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_takes_what_it_says(lines: list[LoggedCall], name: str) -> None:
    wanted, fits = FILTERS[name]
    expected = [call.pk for call in sorted(lines, key=KEYS[LogOrder.NEWEST]) if fits(call)]
    assert paged(wanted, most=7) == expected
    assert expected or name == "collection"


def test_what_arrived_since_is_the_youngest_first(lines: list[LoggedCall]) -> None:
    assert request_log.latest() == lines[-1].pk
    since = lines[-4].pk
    found = request_log.arrived(ADMIN, LogFilter(), since=since, most=2)
    assert [call.pk for call in found] == [lines[-1].pk, lines[-2].pk]
    assert request_log.arrived(ADMIN, LogFilter(), since=lines[-1].pk, most=2) == []


def test_a_call_is_found_by_its_id_by_who_may_see_it(lines: list[LoggedCall]) -> None:
    wanted = lines[3]
    assert request_log.find(ADMIN, wanted.request_id).pk == wanted.pk
    assert request_log.named_like(ADMIN, wanted.request_id, most=5)[0].pk == wanted.pk
    for by, request_id in ((ADMIN, "abcd"), (ADMIN, ""), (STRANGER, wanted.request_id)):
        with pytest.raises(NotFound):
            request_log.find(by, request_id)


@pytest.mark.parametrize("cursor", ["x", "1", "1-", "-1", "1-2-3", "9" * 30 + "-1", "٣-1"])
def test_a_cursor_that_is_none_is_refused(db: None, cursor: str) -> None:
    with pytest.raises(Invalid):
        request_log.calls(ADMIN, LogFilter(), before=cursor, most=1)


def test_addresses_and_statuses_are_read_strictly() -> None:
    assert request_log.address("::ffff:192.0.2.1") == "192.0.2.1"
    assert request_log.address("2001:DB8::1") == "2001:db8::1"
    for text in ("", "x", "192.0.2.0/24", "fe80::1%eth0"):
        with pytest.raises(ValueError, match="must be an"):
            request_log.address(text)
    for text in ("", "6xx", "40", "4040", "٤٠٤"):
        with pytest.raises(ValueError, match="must be a status"):
            request_log.statuses(text)
