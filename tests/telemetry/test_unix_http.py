"""Requests over Unix sockets: answers of every framing, and other sides that go away."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from ostiary.telemetry.unix_http import UnixClient

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 409 Conflict\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
)
CLOSED = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"


@asynccontextmanager
async def answering(
    path: Path, answers: list[bytes], *, close_after: int = 1000
) -> AsyncIterator[list[int]]:
    """A server that gives these answers in turn; the list grows by one for each connection."""
    connections: list[int] = []
    serving: list[asyncio.Task[Any] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(0)
        serving.append(asyncio.current_task())
        try:
            while connections[-1] < close_after and answers:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length or 0))
                writer.write(answers.pop(0))
                await writer.drain()
                connections[-1] += 1
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield connections
    finally:
        server.close()
        await asyncio.gather(*filter(None, serving))


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


@pytest.mark.parametrize(
    ("answer", "status"),
    [pytest.param(LENGTH, 200, id="length"), pytest.param(CHUNKED, 409, id="chunked")],
)
def test_one_connection_serves_one_request_after_the_other(
    tmp_path: Path, answer: bytes, status: int
) -> None:
    async def work() -> None:
        async with answering(tmp_path / "s", [answer] * 3) as connections:
            client = UnixClient(tmp_path / "s", seconds=60)
            for body in (b"", b"text", b""):
                assert await client.request("POST", "/x", body) == (status, b"hello")
            assert connections == [3]
            client.close()

    run(work)


def test_requests_at_once_have_a_connection_each(tmp_path: Path) -> None:
    async def work() -> None:
        async with answering(tmp_path / "s", [LENGTH] * 4) as connections:
            client = UnixClient(tmp_path / "s", seconds=60)
            asked: list[Awaitable[tuple[int, bytes]]] = [
                client.request("GET", "/x") for _ in range(4)
            ]
            assert await asyncio.gather(*asked) == [(200, b"hello")] * 4
            assert len(connections) == 4
            client.close()

    run(work)


def test_a_connection_that_the_other_side_closes_is_not_used_again(tmp_path: Path) -> None:
    async def work() -> None:
        async with answering(tmp_path / "s", [CLOSED, LENGTH, LENGTH], close_after=1) as made:
            client = UnixClient(tmp_path / "s", seconds=60)
            for _ in range(2):
                assert await client.request("GET", "/x") == (200, b"hello")
            assert made == [1, 1]
            client.close()

    run(work)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", id="half"),
        pytest.param(b"not HTTP\r\n\r\n", id="no-http"),
    ],
)
def test_what_is_no_whole_answer_is_an_error_and_the_next_request_works(
    tmp_path: Path, answer: bytes
) -> None:
    async def work() -> None:
        async with answering(tmp_path / "s", [answer, LENGTH], close_after=1):
            client = UnixClient(tmp_path / "s", seconds=60)
            with pytest.raises(OSError):
                await client.request("GET", "/x")
            assert await client.request("GET", "/x") == (200, b"hello")
            client.close()

    run(work)


def test_a_socket_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    async def work() -> None:
        with pytest.raises(OSError):
            await UnixClient(tmp_path / "s", seconds=60).request("GET", "/x")

    run(work)


def test_a_silent_other_side_is_an_error_after_the_time(tmp_path: Path) -> None:
    async def work() -> None:
        gone = asyncio.Event()

        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()
            await writer.wait_closed()
            gone.set()

        server = await asyncio.start_unix_server(silent, tmp_path / "s")
        with pytest.raises(TimeoutError):
            await UnixClient(tmp_path / "s", seconds=0.05).request("GET", "/x")
        server.close()
        await gone.wait()

    run(work)
