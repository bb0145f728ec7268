"""Lines of the request log: framed, read whatever they hold, and sampled by what they say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostiary.access.reasons import Reason
from ostiary.collector.journal import CALLS, REFUSALS, WAITING, Journal
from ostiary.collector.lines import BadFrame, Frames, read
from ostiary.gateway.leases import code


def a_line(number: int = 1, *, second: int = 1000, status: int = 200, more: str = "-") -> bytes:
    return (
        f"{second} 120 {second}-120-{number} {status} e5;c4;up_0;-;0 9 0 192.0.2.7 3 100 200 {more}"
    ).encode()


def framed(*messages: bytes) -> bytes:
    return b"".join(b"%d %s" % (len(m), m) for m in messages)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.data())
def test_messages_come_whole_however_the_stream_is_cut(
    messages: list[bytes], data: st.DataObject
) -> None:
    stream, frames, found = framed(*messages), Frames(), list[bytes]()
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += frames.feed(stream[:size])
        stream = stream[size:]
    assert found == messages


@pytest.mark.parametrize("stream", [b"x 1", b"1234567 a", b"70000 a", b" a", b"12345678"])
def test_what_is_no_frame_is_given_up(stream: bytes) -> None:
    with pytest.raises(BadFrame):
        list(Frames().feed(stream))


def test_an_admitted_call_is_read() -> None:
    line = read(a_line())
    assert line is not None
    assert (line.at_ms, line.status, line.reason, line.endpoint, line.collection) == (
        1000_123, 200, 0, 5, 4,
    )  # fmt: skip
    assert (line.credential, line.address, line.milliseconds) == (9, "192.0.2.7", 3)
    assert (line.bytes_in, line.bytes_out, line.details) == (100, 200, {})


def test_a_refused_call_is_read_with_what_its_owner_may_ask() -> None:
    more = "c=22;m=POST;s=e5;c4;up_0;-;0;o=3;t=77;peer=10.0.0.1;f=203.0.113.9,10.0.0.1;p=/a;p=b"
    line = read(a_line(status=403, more=more).replace(b" e5;c4;up_0;-;0 9 0 ", b" - - - "))
    assert line is not None
    assert (line.reason, line.method, line.profile) == (22, "POST", 3)
    assert (line.endpoint, line.collection) == (5, 4)
    assert line.details == {
        "trace": "77",
        "peer": "10.0.0.1",
        "forwarded": "203.0.113.9,10.0.0.1",
        "path": "/a;p=b",
    }


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("u=504;n=1", Reason.UPSTREAM_TIMEOUT),
        ("u=503;n=1", Reason.UPSTREAM_UNAVAILABLE),
        ("u=502;n=1", Reason.UPSTREAM_FAILED),
        ("r=33", Reason.RECIPE_FAILED),
        ("c=28;m=GET;l=5;i=60;e=0;u=1;b=0;g=1;q=9;p=/a", Reason.RATE_LIMITED),
    ],
)
def test_why_an_admitted_call_failed_is_known(more: str, reason: Reason) -> None:
    line = read(a_line(more=more))
    assert line is not None
    assert line.reason == code(reason)


def test_what_a_watched_list_would_have_refused_is_told_of_each_call() -> None:
    line = read(a_line().replace(b" 9 0 ", b" 9 22 "))
    assert line is not None
    assert (line.would, line.reason) == (22, 0)


@given(st.binary(max_size=200))
def test_nonsense_is_nothing(message: bytes) -> None:
    line = read(message)
    assert line is None or line.request_id is not None


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 5_000), st.booleans())
def test_kept_lines_stand_for_all_that_came(calls: int, refused: bool) -> None:
    journal = Journal()
    more = "c=13;m=GET;s=0;o=0;t=0;peer=;f=;p=/" if refused else "-"
    for number in range(calls):
        journal.take(a_line(number, more=more))
    most = REFUSALS if refused else CALLS
    kept = journal.drain().kept
    if calls <= most:
        assert [each.stands_for for each in kept] == [1] * calls
    stood = sum(each.stands_for for each in kept)
    largest = max((each.stands_for for each in kept), default=1)
    assert calls - 2 * largest < stood <= calls
    assert len(kept) <= most * 7
    assert journal.lines == calls


def test_what_cannot_be_written_waits_and_what_finds_no_room_is_counted() -> None:
    journal = Journal(calls=10**6)
    for number in range(WAITING + 5):
        journal.take(a_line(number))
    assert journal.lost == 5
    drained = journal.drain()
    journal.take(a_line(1))
    journal.put_back(drained)
    assert (journal.lost, len(journal.drain().kept)) == (6, WAITING)
