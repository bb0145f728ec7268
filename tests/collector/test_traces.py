"""Traces of the authority: framed, and read whatever they hold."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.collector.traces import BadFrame, Frames, read


def framed(*messages: bytes) -> bytes:
    return b"".join(b"%d %s" % (len(m), m) for m in messages)


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.data())
def test_messages_come_whole_however_the_stream_is_cut(
    messages: list[bytes], data: st.DataObject
) -> None:
    stream, frames, whole = framed(*messages), Frames(), list[bytes]()
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        whole += frames.feed(stream[:size])
        stream = stream[size:]
    assert whole == messages


@pytest.mark.parametrize("stream", [b"x 1", b"1234567 a", b"70000 a", b" a", b"12345678"])
def test_what_is_no_frame_is_given_up(stream: bytes) -> None:
    with pytest.raises(BadFrame):
        list(Frames().feed(stream))


def test_a_trace_is_read() -> None:
    message = {"number": 7, "at_ms": 5, "sequence": 3, "profile": 2, "credential": 9, "steps": []}
    trace = read(json.dumps(message).encode())
    assert trace is not None
    assert (trace.number, trace.at_ms, trace.sequence) == (7, 5, 3)
    assert (trace.profile_id, trace.credential_id, trace.steps) == (2, 9, [])


@pytest.mark.parametrize("message", [b"", b"{}", b"[]", b'{"number": "x"}', b"\xff"])
def test_nonsense_is_no_trace(message: bytes) -> None:
    assert read(message) is None
