"""Calls at random moments, as callers that know nothing of each other make them (a Poisson process).

    python -m bench.arrivals HOST:PORT PATH RATE SECONDS [HEADER...]

Prints the microseconds of each call, from the moment at which it was due. h2load sends the calls of all
its connections at one moment: what a server takes for one is then multiplied by those that stand before it.
"""

import random
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from bench.stand import Server

#: Longer than the head and body of the answers that are measured.
LONGEST = 4096
#: The same moments in every run: servers are compared by the same calls.
SEED = 20


class Caller:
    """A connection with one call at a time."""

    def __init__(self, host: str, port: int, request: bytes) -> None:
        self.sock = socket.create_connection((host, port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request
        self._answer = b""
        self.due = 0.0

    def fileno(self) -> int:
        return self.sock.fileno()

    def call(self, due: float) -> None:
        self.due, self._answer = due, b""
        self.sock.sendall(self._request)

    def is_answered(self) -> bool:
        """Read what has come; whether the answer is whole. Raises RuntimeError if it isn't a 200."""
        self._answer += self.sock.recv(LONGEST)
        head, separator, body = self._answer.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"answered {head[:60]!r}")
        if not separator:
            return False
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        return len(body) == int(length)


def measure(host: str, port: int, request: bytes, rate: float, seconds: float) -> list[int]:
    """Make the calls; microseconds of each."""
    moments = random.Random(SEED)
    idle: list[Caller] = []
    busy: list[Caller] = []
    took: list[int] = []
    end = time.perf_counter() + seconds
    due = time.perf_counter()
    while busy or due < end:
        now = time.perf_counter()
        while due <= now and due < end:
            caller = idle.pop() if idle else Caller(host, port, request)
            caller.call(due)
            busy.append(caller)
            due += moments.expovariate(rate)
        wait = max(0.0, due - time.perf_counter()) if due < end else 1.0
        for caller in select.select(busy, (), (), wait)[0]:
            if caller.is_answered():
                took.append(round((time.perf_counter() - caller.due) * 1e6))
                busy.remove(caller)
                idle.append(caller)
    return took


def latencies(server: Server, rate: float, seconds: float, around: Sequence[str] = ()) -> list[int]:
    """Microseconds of each call of a run against a server."""
    words = (
        *around, sys.executable, "-m", "bench.arrivals", f"127.0.0.1:{server.port}", server.path,
        f"{rate:g}", f"{seconds:g}", *server.headers,
    )  # fmt: skip
    printed = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout
    return [int(word) for word in printed.split()]


def main() -> None:
    place, path, rate, seconds, *headers = sys.argv[1:]
    host, _, port = place.rpartition(":")
    lines = (f"GET {path} HTTP/1.1", f"Host: {place}", *headers, "", "")
    took = measure(host, int(port), "\r\n".join(lines).encode(), float(rate), float(seconds))
    sys.stdout.write("\n".join(map(str, took)))


if __name__ == "__main__":
    main()
