"""Callers who are slow to ask have bounds in time and number; who asks quickly notices nothing."""

import asyncio
import contextlib
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from tests.cli.test_restart import running
from tests.stage import ask

from ostiary.cli.serving import bounded_http
from ostiary.cli.serving.bounded_http import Room, bounded

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
HALF = b"GET / HTTP/1.1\r\nHo"
WHOLE = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\n"


class Application:
    """Answers with the body, when it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.let.set()
        self.at_work = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        self.at_work += 1
        await self.let.wait()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Server:
    def __init__(self, port: int, application: Application, uvicorn_: uvicorn.Server) -> None:
        self.port, self.application, self.uvicorn = port, application, uvicorn_
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self, text: bytes = b"") -> Streams:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers.append(writer)
        writer.write(text)
        await writer.drain()
        return reader, writer

    def close(self) -> None:
        for writer in self._writers:
            writer.close()


@contextlib.asynccontextmanager
async def serving(*, most: int = 100) -> AsyncIterator[Server]:
    application = Application()
    with socket.create_server(("127.0.0.1", 0)) as sock:
        config = uvicorn.Config(
            application, http=bounded(Room(most)), ws="none", lifespan="off", log_config=None,
            access_log=False, timeout_graceful_shutdown=5,
        )  # fmt: skip
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve(sockets=[sock]))
        while not server.started:
            await asyncio.sleep(0.01)
        ours = Server(sock.getsockname()[1], application, server)
        try:
            yield ours
        finally:
            ours.close()
            server.should_exit = True
            await task


def play(scene: Callable[[Server], Awaitable[None]], *, most: int = 100) -> None:
    async def both() -> None:
        async with asyncio.timeout(60), serving(most=most) as server:
            await scene(server)

    asyncio.run(both())


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(bounded_http, "BODY_SECONDS", 0.3)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    ("text", "answered"),
    [
        pytest.param(b"", b"", id="nothing is sent"),
        pytest.param(HALF, b"HTTP/1.1 408", id="half a head"),
        pytest.param(b"\r\n", b"HTTP/1.1 408", id="an empty line"),
        pytest.param(POST + b"abc", b"", id="half a body"),
    ],
)
def test_who_does_not_end_a_request_is_closed(text: bytes, answered: bytes) -> None:
    async def scene(server: Server) -> None:
        reader, _ = await server.connect(text)
        assert (await reader.read()).startswith(answered)

    play(scene)


@pytest.mark.usefixtures("hasty")
def test_a_head_that_drips_is_late_as_a_whole() -> None:
    async def scene(server: Server) -> None:
        reader, writer = await server.connect(HALF)
        reading = asyncio.create_task(reader.read())
        with contextlib.suppress(ConnectionError):
            while not reading.done():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0.05)
        assert (await reading).startswith(b"HTTP/1.1 408")

    play(scene)


@pytest.mark.usefixtures("hasty")
def test_a_second_head_on_a_connection_is_bounded_too() -> None:
    async def scene(server: Server) -> None:
        reader, writer = await server.connect(WHOLE)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.write(HALF)
        assert (await reader.read()).startswith(b"HTTP/1.1 408")

    play(scene)


@pytest.mark.usefixtures("hasty")
def test_an_answer_may_take_longer_than_a_request() -> None:
    async def scene(server: Server) -> None:
        server.application.let.clear()
        reader, _ = await server.connect(POST + b"abcdef")
        await asyncio.sleep(1)
        server.application.let.set()
        assert (await reader.readuntil(b"abcdef")).startswith(b"HTTP/1.1 200")

    play(scene)


def test_a_body_may_come_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded_http, "BODY_SECONDS", 1.2)

    async def scene(server: Server) -> None:
        reader, writer = await server.connect(POST)
        for byte in b"abcdef":
            await asyncio.sleep(0.25)
            writer.write(bytes([byte]))
        assert (await reader.readuntil(b"abcdef")).startswith(b"HTTP/1.1 200")

    play(scene)


def test_who_has_waited_longest_makes_room() -> None:
    async def scene(server: Server) -> None:
        server.application.let.clear()
        working, _ = await server.connect(WHOLE)
        while not server.application.at_work:
            await asyncio.sleep(0.01)
        oldest, _ = await server.connect(HALF)
        await server.connect(HALF)
        await server.connect(HALF)
        with contextlib.suppress(ConnectionError):
            assert await oldest.read() == b""
        # Whose request is complete is not cut, old as it is.
        server.application.let.set()
        assert (await working.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")

    play(scene, most=3)


def test_with_every_place_at_work_a_new_caller_is_turned_away() -> None:
    async def scene(server: Server) -> None:
        server.application.let.clear()
        first, _ = await server.connect(WHOLE)
        while not server.application.at_work:
            await asyncio.sleep(0.01)
        second, _ = await server.connect(WHOLE)
        with contextlib.suppress(ConnectionError):
            assert await second.read() == b""
        server.application.let.set()
        assert (await first.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")

    play(scene, most=1)


def test_a_request_that_is_under_way_at_the_end_is_answered() -> None:
    async def scene(server: Server) -> None:
        reader, writer = await server.connect()
        while not server.uvicorn.server_state.connections:
            await asyncio.sleep(0.01)
        server.uvicorn.should_exit = True
        while server.uvicorn.servers[0].is_serving():
            await asyncio.sleep(0.001)
        writer.write(WHOLE)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200")
        assert b"connection: close" in answer

    play(scene)


class Guest:
    """A connection of an address, that knows whether it was cut."""

    def __init__(self, address: str) -> None:
        self.address, self.was_cut = address, False

    def cut(self) -> None:
        self.was_cut = True


def _entered(room: Room, *addresses: str) -> list[Guest]:
    guests = [Guest(address) for address in addresses]
    for guest in guests:
        room.enter(guest)
    return guests


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param("192.0.2.1", "192.0.2.1", id="ipv4"),
        pytest.param("2001:db8::1", "2001:db8::2", id="ipv6 by its network"),
        pytest.param("::ffff:192.0.2.1", "192.0.2.1", id="ipv4 in ipv6"),
    ],
)
def test_an_address_that_has_its_share_makes_room_itself(first: str, second: str) -> None:
    room = Room(8)
    other, one, two, three = _entered(room, "198.51.100.1", first, second, second)
    # A quarter of eight are two; whoever waits longest of them goes, and nobody else.
    assert [each.was_cut for each in (other, one, two, three)] == [False, True, False, False]
    room.work(two)
    (four,) = _entered(room, first)
    assert [each.was_cut for each in (other, two, three, four)] == [False, False, True, False]
    room.leave(two)
    room.leave(four)
    assert not any(each.was_cut for each in _entered(room, first, second))


def test_callers_on_a_unix_socket_have_no_address_to_share() -> None:
    room = Room(8)
    assert not any(each.was_cut for each in _entered(room, *[""] * 8))
    assert [each.was_cut for each in _entered(room, "")] == [False]


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
@pytest.mark.usefixtures("many_files")
def test_half_sent_heads_do_not_shut_the_control_port(tmp_path: Path) -> None:
    few = ["prlimit", "--nofile=1024:1024"]
    with running(tmp_path, before=few) as control, contextlib.ExitStack() as stack:
        for _ in range(1100):
            sock = stack.enter_context(
                socket.create_connection(("127.0.0.1", control.port), timeout=60)
            )
            sock.sendall(HALF)
        assert ask(control.port, "GET", "/healthz").json["ok"]
        assert control.lines.count("ready") == 1
        assert not any("hangs" in line for line in control.lines)
