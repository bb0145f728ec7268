"""Lines of the request log: framed, read whatever they hold, and sampled by what they say."""

import time
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ostiary.access.reasons import Reason
from ostiary.collector.journal import CALLS, REFUSALS, WAITING, Journal
from ostiary.collector.lines import BadFrame, Frames, read
from ostiary.gateway.leases import ONE_OF, code


def a_line(
    number: int = 1,
    *,
    second: int = 1000,
    status: int = 200,
    one: str = "-",
    address: str = "C0000207",
    more: str = "-",
) -> bytes:
    return (
        f"{second}-120-{number} {status} e5;c4;up_0;-;0 9 0 {one} {address} 3 100 200 {more}"
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


@given(st.ip_addresses())
def test_addresses_are_read_from_their_digits(address: IPv4Address | IPv6Address) -> None:
    line = read(a_line(address=address.packed.hex().upper()))
    assert line is not None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    assert line.address == str(mapped or address)


def test_an_address_of_the_old_kind_in_a_new_one_is_told_as_it_is() -> None:
    line = read(a_line(address=ip_address("::ffff:192.0.2.7").packed.hex()))
    assert line is not None
    assert line.address == "192.0.2.7"


def test_what_was_no_request_has_no_id_and_came_now() -> None:
    before = int(time.time() * 1000)
    line = read(b"- 400 - - - - C0000207 +0 0 187 -")
    assert line is not None
    assert (line.request_id, line.status) == ("", 400)
    assert line.at_ms >= before


def test_a_line_that_stands_for_others_counts_for_them() -> None:
    journal = Journal()
    journal.take(a_line(1, one="0"))
    journal.take(a_line(2))
    drained = journal.drain()
    assert [each.stands_for for each in drained.kept] == [ONE_OF, 1]
    assert drained.latencies.total() == ONE_OF + 1


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
