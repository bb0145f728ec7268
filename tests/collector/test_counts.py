"""What pushes say, taken together, and how they are answered."""

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ostiary.collector import counts
from ostiary.collector.counts import PushConnection, Waiting, merge, minute_of, read_identity
from ostiary.gateway.contract import COUNT_KEY, Pushed
from ostiary.usage.recording import Totals

HOUR = 494_000


def a_key(**parts: int) -> str:
    usual = {
        "hour": HOUR, "profile": 3, "client": 2, "collection": 4, "endpoint": 5, "credential": 9,
        "would": 0, "status": 2, "reason": 0,
    }  # fmt: skip
    return "/".join(str((usual | parts)[name]) for name in COUNT_KEY)


def a_push(
    totals: dict[str, tuple[int, int, int]] | None = None, limits: dict[str, int] | None = None
) -> Pushed:
    return Pushed(birth="b1", counts=totals or {}, limits=limits or {}, lines=())


def test_of_one_counter_the_largest_totals_count() -> None:
    merged = merge([a_push({a_key(): (5, 10, 1)}), a_push({a_key(): (4, 12, 3)})])
    assert merged.totals == {f"b1/{a_key()}": Totals(5, 12, 3)}


def test_counters_of_two_births_are_two() -> None:
    other = Pushed(birth="b2", counts={a_key(): (1, 1, 1)}, limits={}, lines=())
    assert len(merge([a_push({a_key(): (5, 1, 1)}), other]).totals) == 2


def test_limits_are_told_apart() -> None:
    merged = merge(
        [a_push(limits={"q/3/0/7200": 5, "r/3/3600/7200": 4}), a_push(limits={"q/3/0/7200": 3})]
    )
    assert merged.quotas == {(3, 7200): 5}
    assert merged.rates == {(3, 3600, 7200): 4}


@pytest.mark.parametrize(
    "limits",
    [
        {"x/3/0/1": 1},
        {"q/3/0": 1},
        {"q/a/0/1": 1},
        {"q/0/0/1": 1},
        {"q/3/0/1": -1},
        {"q/3/0/1": 2**63},
    ],
)
def test_a_limit_that_cannot_be_read_costs_itself_alone(limits: dict[str, int]) -> None:
    merged = merge([a_push(limits={**limits, "q/3/0/7200": 5})])
    assert (merged.quotas, merged.strange) == ({(3, 7200): 5}, 1)


@pytest.mark.parametrize("totals", [(-1, 0, 0), (0, 2**63, 0)])
def test_totals_that_no_counter_has_cost_themselves_alone(totals: tuple[int, int, int]) -> None:
    merged = merge([a_push({a_key(): totals, a_key(profile=7): (1, 1, 1)})])
    assert (list(merged.totals), merged.strange) == ([f"b1/{a_key(profile=7)}"], 1)


def test_a_key_is_taken_apart() -> None:
    counter = read_identity(f"b1/{a_key(status=4, reason=13, would=22, credential=0)}")
    assert (counter.hour, counter.profile, counter.client) == (HOUR, 3, 2)
    assert (counter.collection, counter.endpoint, counter.credential) == (4, 5, 0)
    assert (counter.status, counter.reason, counter.would) == (4, 13, 22)
    assert read_identity(f"b1/{a_key(status=1)}").status == 2


@pytest.mark.parametrize(
    "key",
    ["", "1/2", a_key() + "/0", a_key(profile=2**31), a_key(profile=-1), a_key(status=6),
     a_key(reason=2**15), a_key().replace("/3/", "/x/")],
)  # fmt: skip
def test_what_is_no_key_is_told(key: str) -> None:
    with pytest.raises(ValueError):
        read_identity(f"b1/{key}")


@given(st.integers(HOUR * 3600 - 7200, HOUR * 3600 + 7200))
def test_a_gain_is_of_a_minute_of_its_hour(moment: int) -> None:
    minute = minute_of(read_identity(f"b1/{a_key()}"), moment)
    assert minute % 60 == 0
    assert minute // 3600 == HOUR
    if moment // 3600 == HOUR:
        assert minute == moment - moment % 60


class Served:
    """A connection as the event loop serves it, with what it took and answered."""

    def __init__(self) -> None:
        self.taken: list[Waiting] = []
        self.open: set[PushConnection] = set()

    def connection(self) -> PushConnection:
        return PushConnection(self.taken.append, self.open)


def talk(
    path: str, then: Callable[[Served, asyncio.StreamReader, asyncio.StreamWriter], object]
) -> None:
    async def run() -> None:
        served = Served()
        server = await asyncio.get_running_loop().create_unix_server(served.connection, path)
        reader, writer = await asyncio.open_unix_connection(path)
        result = then(served, reader, writer)
        if asyncio.iscoroutine(result):
            await result
        writer.close()
        server.close()

    asyncio.run(run())


@pytest.fixture
def path(tmp_path: object) -> str:
    return f"{tmp_path}/c.sock"


def test_a_ping_is_answered_at_once_and_pushes_when_they_are_stored(path: str) -> None:
    async def then(
        served: Served, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(b"counts b1\nc\tk\t1\t2\t3\n\nping\n")
        assert await reader.readline() == b"pong\n"
        (push,) = served.taken
        assert push.text == b"counts b1\nc\tk\t1\t2\t3"
        push.answer(True)
        assert await reader.readline() == b"ok\n"
        writer.write(b"counts b1\n\n")
        while len(served.taken) < 2:
            await asyncio.sleep(0)
        served.taken[1].answer(False)
        assert await reader.readline() == b"later\n"

    talk(path, then)


def test_what_is_no_push_ends_the_connection(path: str) -> None:
    async def then(
        served: Served, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await reader.read() == b""
        assert not served.taken

    talk(path, then)


@given(st.data())
def test_pushes_come_whole_however_the_stream_is_cut(data: st.DataObject) -> None:
    served = Served()

    class Transport(asyncio.Transport):
        written = b""

        def write(self, data: bytes | bytearray | memoryview) -> None:
            self.written += bytes(data)

        def is_closing(self) -> bool:
            return False

        def close(self) -> None:
            raise AssertionError("it was given up")

    connection, transport = served.connection(), Transport()
    connection.connection_made(transport)
    stream = b"ping\ncounts b1\n\nping\ncounts b2\nc\tk\t1\t2\t3\n\ncounts b3\n\nping\n"
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        connection.data_received(stream[:size])
        stream = stream[size:]
    assert [push.text for push in served.taken] == [
        b"counts b1", b"counts b2\nc\tk\t1\t2\t3", b"counts b3",
    ]  # fmt: skip
    assert transport.written == counts.PONG * 3
    assert not connection.in_the_middle
