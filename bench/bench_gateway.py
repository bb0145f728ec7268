"""The gateway under load beside bare servers and peers: processor time, throughput, latency, TLS.

The server that is measured has one core for itself, load and upstream have the other. Each is
measured in turns with bare HAProxy; the figures are medians of pairs. Processor time (user and
system, of all threads) is the comparison to trust on a machine that others use too.

    bench_gateway.py [SECONDS of a run [ROUNDS]]
"""

import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from bench.arrivals import latencies
from bench.lone import gateway
from bench.peers import HOW, PEERS, peer
from bench.stand import (
    LOAD,
    SERVER,
    Server,
    bare_haproxy,
    bare_nginx,
    cpu_seconds,
    h2load,
    quantile,
    upstream,
    wrk,
)

SECONDS = int(sys.argv[1]) if len(sys.argv) > 1 else 2
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 5
CONNECTIONS = 32
HANDSHAKES, STREAMS = 200, 60_000


def saturated(server: Server) -> tuple[float, float]:
    """Microseconds of processor per call, and calls a second, as many as the server can."""
    pids = server.pids()
    before = cpu_seconds(pids)
    load = wrk(server.url, *server.headers, seconds=SECONDS, connections=CONNECTIONS, around=LOAD)
    used = cpu_seconds(pids) - before
    if load["bad"] or not load["total"]:
        raise RuntimeError(f"{server.name} refuses calls")
    return used / load["total"] * 1e6, load["rate"]


def compared(server: Server, bare: Server, *, rounds: int = ROUNDS) -> str:
    """Measure in turns; the medians, and the ratios of pairs."""
    for each in (server, bare):
        wrk(each.url, *each.headers, seconds=1, connections=CONNECTIONS, around=LOAD)
    pairs = [(saturated(bare), saturated(server)) for _ in range(rounds)]
    cpu = statistics.median(ours[0] for _, ours in pairs)
    rate = statistics.median(ours[1] for _, ours in pairs)
    times = statistics.median(ours[0] / theirs[0] for theirs, ours in pairs)
    share = statistics.median(ours[1] / theirs[1] for theirs, ours in pairs)
    return (
        f"{cpu:.1f} µs of processor a call ({times:.2f}), {rate:,.0f} calls a second ({share:.2f})"
    )


@contextmanager
def each_of(server: int) -> Iterator[tuple[Server, Sequence[Server]]]:
    """Bare HAProxy, and what is compared with it before the peers."""
    with ExitStack() as stack:
        bare = stack.enter_context(bare_haproxy(server, around=SERVER))
        nginx = stack.enter_context(bare_nginx(server, around=SERVER))
        ours = stack.enter_context(gateway(server, around=SERVER, beside=LOAD))
        yield bare, (nginx, ours)


def latency(bare: Server, ours: Server, direct: Server, rate: float) -> None:
    """What is added to a call at a third of what the gateway can do, in turns."""
    took: dict[str, list[int]] = {}
    for _ in range(ROUNDS):
        for server in (direct, bare, ours):
            values = latencies(server, rate, SECONDS, around=LOAD)
            took.setdefault(server.name, []).extend(values)
    p50 = {name: quantile(values, 0.5) / 1000 for name, values in took.items()}
    p99 = {name: quantile(values, 0.99) / 1000 for name, values in took.items()}
    for name in took:
        print(f"  {name}: p50 {p50[name]:.2f} ms, p99 {p99[name]:.2f} ms")
    for than in (direct.name, bare.name):
        print(
            f"  added to {than}: p50 {p50[ours.name] - p50[than]:.2f} ms,"
            f" p99 {p99[ours.name] - p99[than]:.2f} ms"
        )


def encrypted(server: Server, *, handshakes: bool) -> float:
    """Microseconds of processor of a call with a TLS handshake, or of one over HTTP/2."""
    pids = server.pids()
    before = cpu_seconds(pids)
    each = HANDSHAKES if handshakes else STREAMS
    rest = f"--h1 -c {each}" if handshakes else "-c 8 -m 8"
    runs = 5 if handshakes else 1
    for _ in range(runs):
        load = h2load(
            "-n", str(each), *rest.split(), server.url, headers=server.headers, around=LOAD
        )  # fmt: skip
        if load.good != each:
            raise RuntimeError(f"{server.name} answered {load.good} of {each}")
    return (cpu_seconds(pids) - before) / (each * runs) * 1e6


def tls(server: int) -> None:
    with (
        bare_nginx(server, around=SERVER, tls=True) as bare,
        gateway(server, around=SERVER, beside=LOAD, tls=True) as ours,
    ):
        # The first call is decided on; 200 first calls at once would be more than one address may have.
        h2load("-n", "1", "--h1", ours.url, headers=ours.headers, around=LOAD)
        for name, handshakes in (
            ("a TLS handshake and a call", True),
            ("a call over HTTP/2", False),
        ):
            pairs = [
                [encrypted(each, handshakes=handshakes) for each in (bare, ours)]
                for _ in range(ROUNDS)
            ]
            print(
                f"{name}: bare nginx {statistics.median(p[0] for p in pairs):.1f} µs,"
                f" ours {statistics.median(p[1] for p in pairs):.1f},"
                f" {statistics.median(p[1] / p[0] for p in pairs):.2f} times",
                flush=True,
            )


def main() -> None:
    with upstream(LOAD) as server:
        print("at saturation (in brackets: times bare HAProxy)")
        with each_of(server) as (bare, others):
            for other in others:
                print(f"  {other.name}: {compared(other, bare)}", flush=True)
            rate = saturated(others[-1])[1] / 3
            cpu, most = saturated(bare)
            print(f"  bare HAProxy: {cpu:.1f} µs, {most:,.0f} calls a second")
            print(f"at a third of it, {rate:,.0f} calls a second")
            direct = Server(name="the upstream itself", port=server, pid=0)
            latency(bare, others[-1], direct, rate)
            print("peers")
            for name in PEERS:
                with peer(name, server, SERVER) as started:
                    if started is None:
                        print(f"  {name}: not installed; {HOW}")
                        continue
                    print(f"  {compared(started, bare, rounds=2)}: {name}", flush=True)
        tls(server)


if __name__ == "__main__":
    main()
