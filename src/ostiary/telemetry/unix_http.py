"""HTTP over a Unix socket, for the parts of one machine to ask each other."""

import asyncio
import http.client
import socket
from pathlib import Path
from typing import cast

import httptools


class UnixConnection(http.client.HTTPConnection):
    """An HTTP connection to a socket in the folder of sockets; raises OSError as usual."""

    def __init__(self, path: Path, *, seconds: float) -> None:
        super().__init__("localhost", timeout=seconds)
        self._path, self._seconds = path, seconds

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self._seconds)
        self.sock.connect(str(self._path))


#: Bytes of the largest answer that is accepted.
LARGEST = 256 * 1024 * 1024


class UnixClient:
    """Sends requests of an asyncio program to one socket, on reused connections.

    A program that asks several times a second would spend most of its time in a larger client.
    """

    def __init__(self, path: Path, *, seconds: float) -> None:
        self._path, self._seconds = path, seconds
        self._idle: list[_Connection] = []

    async def request(self, method: str, target: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of the answer; raises OSError, which includes TimeoutError."""
        async with asyncio.timeout(self._seconds):
            connection = await self._connection()
            try:
                head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n"
                if body or method != "GET":
                    head += f"Content-Length: {len(body)}\r\n"
                answer = await connection.exchange(head.encode() + b"\r\n" + body)
            except BaseException:
                connection.close()
                raise
        if connection.reusable:
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    async def _connection(self) -> "_Connection":
        while self._idle:
            connection = self._idle.pop()
            if connection.reusable:
                return connection
            connection.close()
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_unix_connection(_Connection, str(self._path))
        return connection


class _Connection(asyncio.Protocol):
    """One connection, with one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.WriteTransport | None = None
        self._answered: asyncio.Future[tuple[int, bytes]] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._body = bytearray()
        self.reusable = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's class isn't an asyncio.Transport.
        self._transport = cast("asyncio.WriteTransport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        self.reusable = False
        self._fail(error or ConnectionResetError("the other side closed the connection"))

    def data_received(self, data: bytes) -> None:
        if self._answered is None:
            # Unasked data: it would be taken for the answer to the next request.
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(OSError(f"the answer does not read ({error})"))
            self.close()

    def on_body(self, body: bytes) -> None:
        self._body += body
        if len(self._body) > LARGEST:
            self._fail(OSError("the answer is too large"))
            self.close()

    def on_message_complete(self) -> None:
        self.reusable = self._parser.should_keep_alive()
        if self._answered is not None and not self._answered.done():
            self._answered.set_result((self._parser.get_status_code(), bytes(self._body)))
        self._answered = None

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Send a request; status and body of its answer. Raises OSError."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the connection is closed")
        self.reusable = False
        self._body.clear()
        self._parser = httptools.HttpResponseParser(self)
        answered: asyncio.Future[tuple[int, bytes]] = asyncio.get_running_loop().create_future()
        self._answered = answered
        self._transport.write(request)
        return await answered

    def close(self) -> None:
        self.reusable = False
        if self._transport is not None:
            self._transport.close()

    def _fail(self, error: Exception) -> None:
        answered, self._answered = self._answered, None
        if answered is not None and not answered.done():
            answered.set_exception(error)
