"""Instructions in user space per call: the gateway with everything promised, beside bare servers.

    bench_instructions.py [tls]

With `tls` only what TLS and HTTP/2 cost, beside bare nginx. Callgrind counts, from after a warm-up, over one keep-alive connection with a path that varies. What
the same server uses at rest in that time is taken off. It repeats within a few per cent on any
machine, however busy, which times do not.
"""

import functools
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from bench.lone import gateway
from bench.stand import Callgrind, Server, bare_haproxy, bare_nginx, calls, folder, upstream

WARM_UP, ROUND, ROUNDS, REST_SECONDS = 2000, 500, 5, 3


def per_call(grind: Callgrind, server: Server, made: Path, *, http2: bool) -> float:
    """Instructions of one call, the median of several rounds."""
    send = functools.partial(calls, http2=http2)
    uris = made / "uris"
    base = server.url.rsplit("/", 1)[0]
    uris.write_text("".join(f"{base}/{n * 7919 % 100_000}\n" for n in range(ROUND)))
    if send(WARM_UP, uris, *server.headers) != WARM_UP:
        raise RuntimeError(f"{server.name} does not answer every call")
    grind.zero(server.pid)
    time.sleep(REST_SECONDS)
    rest = grind.count(server.pid) / REST_SECONDS
    rounds = []
    for _ in range(ROUNDS):
        grind.zero(server.pid)
        began = time.monotonic()
        if send(ROUND, uris, *server.headers) != ROUND:
            raise RuntimeError(f"{server.name} does not answer every call")
        elapsed = time.monotonic() - began
        rounds.append((grind.count(server.pid) - rest * elapsed) / ROUND)
    return statistics.median(rounds)


def measured(
    start: Callable[[Callgrind], AbstractContextManager[Server]], *, http2: bool = False
) -> float:
    with folder() as made:
        grind = Callgrind(made)
        with start(grind) as server:
            return per_call(grind, server, made, http2=http2)


#: Above this rate one of 16 calls has a log line: nearly all of them, or none.
SAMPLED, EACH = 1, 1_000_000
OURS: tuple[tuple[str, Mapping[str, Any]], ...] = (
    ("30 endpoints, 1 of 16 calls with a log line", {"log_rate": SAMPLED}),
    ("30 endpoints, each call with a log line", {"log_rate": EACH}),
    ("10,000 endpoints, 1 of 16 with a log line", {"log_rate": SAMPLED, "count": 10_000}),
    ("30 endpoints, X-RateLimit headers as well", {"log_rate": SAMPLED, "legacy": True}),
    ("30 endpoints, behind a trusted proxy", {"log_rate": SAMPLED, "trusted": True}),
    ("30 endpoints, limits over several gateways", {"log_rate": SAMPLED, "shared": True}),
    ("30 endpoints, a connection made since the start", {"log_rate": SAMPLED, "dynamic": True}),
)


def main() -> None:
    with upstream() as server:
        if sys.argv[1:] != ["tls"]:
            plain(server)
        tls(server)


def plain(server: int) -> None:
    bare = measured(lambda grind: bare_haproxy(server, around=grind.around))
    print(f"bare HAProxy: {bare:,.0f} instructions per call", flush=True)
    other = measured(functools.partial(_bare_nginx, server, tls=False))
    print(f"bare nginx: {other:,.0f}, {other / bare:.2f} times bare HAProxy", flush=True)
    for name, options in OURS:
        ours = measured(functools.partial(_gateway, server, options))
        print(f"{name}: {ours:,.0f}, {ours / bare:.2f} times bare HAProxy", flush=True)


def tls(server: int) -> None:
    """A call by protocol, and what TLS and HTTP/2 add to it, beside bare nginx."""
    bare, ours = [], []
    for name, encrypted, http2 in (
        ("HTTP/1.1", False, False),
        ("HTTP/1.1, TLS", True, False),
        ("HTTP/2, TLS", True, True),
    ):
        bare.append(measured(functools.partial(_bare_nginx, server, tls=encrypted), http2=http2))
        options = {"log_rate": SAMPLED, "tls": encrypted}
        ours.append(measured(functools.partial(_gateway, server, options), http2=http2))
        print(
            f"{name}: bare nginx {bare[-1]:,.0f}, ours {ours[-1]:,.0f},"
            f" {ours[-1] / bare[-1]:.2f} times",
            flush=True,
        )
    for name, after, before in (
        ("TLS adds to HTTP/1.1", 1, 0),
        ("TLS and HTTP/2 add to HTTP/1.1", 2, 0),
        ("HTTP/2 adds to HTTP/1.1 with TLS", 2, 1),
    ):
        theirs, mine = bare[after] - bare[before], ours[after] - ours[before]
        print(f"{name}: bare nginx {theirs:,.0f}, ours {mine:,.0f}, {mine / theirs:.2f} times")


def _bare_nginx(upstream: int, grind: Callgrind, *, tls: bool) -> AbstractContextManager[Server]:
    return bare_nginx(upstream, around=grind.around, alone=True, tls=tls)


def _gateway(
    upstream: int, options: Mapping[str, Any], grind: Callgrind
) -> AbstractContextManager[Server]:
    return gateway(upstream, alone=True, around=grind.around, **options)


if __name__ == "__main__":
    main()
