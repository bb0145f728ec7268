"""An upstream that records every byte, and reads requests as strictly as HTTP/1.1 allows."""

import re
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass, field

#: nginx lets control characters in values pass; those that end a line or a text it does not.
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([^\0\r\n]*)")
_LINE = re.compile(rb"([A-Z]+) (/[!-~]*) HTTP/1\.1")


class Garbled(AssertionError):
    """What came is no request that every server would read alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it came."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


@dataclass(slots=True)
class _Connection:
    got: bytearray = field(default_factory=bytearray)
    #: Requests of `got` that were answered.
    answered: int = 0


class Recorder:
    """Answers each whole request with `answer`, and tells what came."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") -> None:
        self.answer = answer
        self.hangs_up = False
        self._lock = threading.Lock()
        self._connections: list[_Connection] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = int(self._listener.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        connection = _Connection()
        self._connections.append(connection)
        with peer, suppress(OSError, Garbled):
            while part := peer.recv(65536):
                for _ in range(self._whole(connection, part)):
                    peer.sendall(self.answer)
                    if self.hangs_up:
                        return

    def _whole(self, connection: _Connection, part: bytes) -> int:
        """Take bytes; how many requests they end. Raises Garbled."""
        with self._lock:
            connection.got += part
            whole = len(requests_of(bytes(connection.got)))
            new, connection.answered = whole - connection.answered, whole
        return new

    def clear(self) -> None:
        """Forget what came on connections so far; they may go on."""
        with self._lock:
            for connection in self._connections:
                connection.got.clear()
                connection.answered = 0

    @property
    def bytes(self) -> bytes:
        """Everything that came."""
        with self._lock:
            return b"".join(bytes(each.got) for each in self._connections)

    def requests(self) -> list[Request]:
        """All that came; raises Garbled."""
        with self._lock:
            texts = [bytes(each.got) for each in self._connections]
        return [each for text in texts for each in requests_of(text)]

    def close(self) -> None:
        self._listener.close()


def requests_of(data: bytes) -> list[Request]:
    """Whole requests of a connection's bytes; one that is not whole yet is left out. Raises Garbled."""
    found = []
    while data:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            break
        first, *lines = head.split(b"\r\n")
        line = _LINE.fullmatch(first)
        headers = [_HEADER.fullmatch(each) for each in lines]
        if line is None or None in headers:
            raise Garbled(head)
        pairs = tuple((m[1].decode(), m[2].decode("latin-1")) for m in headers if m)
        body = _body(pairs, rest)
        if body is None:
            break
        content, used = body
        data = rest[used:]
        found.append(
            Request(method=line[1].decode(), target=line[2].decode(), headers=pairs, body=content)
        )
    return found


def _body(headers: tuple[tuple[str, str], ...], rest: bytes) -> tuple[bytes, int] | None:
    """A body and the bytes that it took; None: it is not whole. Raises Garbled."""
    lengths = [value for key, value in headers if key.lower() == "content-length"]
    codings = [value for key, value in headers if key.lower() == "transfer-encoding"]
    if len(lengths) + len(codings) > 1 or (codings and codings != ["chunked"]):
        raise Garbled(f"{lengths} {codings}")
    if codings:
        return _chunks(rest)
    if not lengths:
        return b"", 0
    if not re.fullmatch(r"0|[1-9][0-9]{0,15}", lengths[0]):
        raise Garbled(lengths[0])
    length = int(lengths[0])
    return (rest[:length], length) if len(rest) >= length else None


def _chunks(rest: bytes) -> tuple[bytes, int] | None:
    body, at = b"", 0
    while True:
        end = rest.find(b"\r\n", at)
        if end < 0:
            return None
        if not re.fullmatch(rb"[0-9a-fA-F]{1,8}", rest[at:end]):
            raise Garbled(rest[at:end])
        size = int(rest[at:end], 16)
        at = end + 2
        if len(rest) < at + size + 2:
            return None
        if rest[at + size : at + size + 2] != b"\r\n":
            # After the last chunk, this is a trailer.
            raise Garbled(rest[at : at + size + 40])
        body += rest[at : at + size]
        at += size + 2
        if size == 0:
            return body, at
