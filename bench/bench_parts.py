"""Processor time and memory of all parts of the product: at rest, and per call at ordinary rates.

The product runs as its users run it, with two workers of nginx; what it uses at rest is taken off.
Bare HAProxy has the same load beside it, with two threads.

    bench_parts.py [SECONDS of a run [RATE ...]]
"""

import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.stage import Stage, wait_for

from bench.stand import (
    Server,
    a_guarded_api,
    at_rate,
    bare_haproxy,
    cpu_seconds,
    memory_megabytes,
    product,
    upstream,
)
from ostiary.gateway.contract import ONE_OF

SECONDS = int(sys.argv[1]) if len(sys.argv) > 1 else 12
RATES = [int(word) for word in sys.argv[2:]] or [500, 2_000, 10_000]
REST_SECONDS = 20
LINE_RATE, LINE_ROUNDS = 2_000, 5
PARTS = (
    "gateway",
    "authority",
    "collector",
    "publisher",
    "control",
    "recipes",
    "ostiary",
    "fork server",
)


def pids(stage: Stage, part: str) -> list[int]:
    if part == "ostiary":
        return [stage.pid]
    found = stage.pids("ostiary.cli.supervision.fork_server" if part == "fork server" else part)
    return found + stage.pids("ostiary.recipes.worker") if part == "recipes" else found


def used(stage: Stage) -> Mapping[str, float]:
    """Seconds of processor of each part so far."""
    return {part: cpu_seconds(pids(stage, part)) for part in PARTS}


def memory(stage: Stage) -> None:
    sizes = {part: memory_megabytes(pids(stage, part)) for part in PARTS}
    parts = ", ".join(f"{part} {size:.0f}" for part, size in sizes.items())
    print(f"memory at rest: {sum(sizes.values()):.0f} MB ({parts})")


def rest(stage: Stage) -> Mapping[str, float]:
    """Seconds of processor of each part in a second without a call."""
    before = used(stage)
    time.sleep(REST_SECONDS)
    after = used(stage)
    per_second = {part: (after[part] - before[part]) / REST_SECONDS for part in PARTS}
    parts = ", ".join(f"{part} {value * 1000:.1f}" for part, value in per_second.items())
    total = sum(per_second.values()) * 1000
    print(f"processor at rest, ms a second: {total:.1f} ({parts})")
    return per_second


def at(stage: Stage, ours: Server, bare: Server, idle: Mapping[str, float], rate: int) -> None:
    """Microseconds of processor per call at one rate, of every part and of bare HAProxy."""
    at_rate(ours, rate, 2)
    before, began = used(stage), time.monotonic()
    load = at_rate(ours, rate, SECONDS)
    # Until what was counted and logged is stored.
    time.sleep(3)
    after, elapsed = used(stage), time.monotonic() - began
    if load.bad > 16:
        raise RuntimeError(f"{load.bad} calls were not answered with 2xx")
    each = {
        part: (after[part] - before[part] - idle[part] * elapsed) / load.good * 1e6
        for part in PARTS
    }
    theirs = statistics.median(_bare(bare, rate) for _ in range(3))
    total = sum(each.values())
    parts = ", ".join(f"{part} {value:.1f}" for part, value in each.items() if value >= 0.05)
    print(
        f"{load.rate:,.0f} calls a second: {total:.1f} µs of processor a call ({parts});"
        f" bare HAProxy {theirs:.1f}; {total / theirs:.2f} times",
        flush=True,
    )


def _bare(bare: Server, rate: int) -> float:
    before = cpu_seconds(bare.pids())
    load = at_rate(bare, rate, max(2, SECONDS // 3))
    return (cpu_seconds(bare.pids()) - before) / load.good * 1e6


def stored(stage: Stage) -> bool:
    """Whether what was made so far is in the file that the gateway starts from."""
    path: Path = stage.data / "run" / "gateway" / "published.jsonl"
    return path.exists() and "bench-v1" in path.read_text()


def guarded(stage: Stage, upstream: int) -> Server:
    """The product's gateway, with an API behind it that has limits."""
    rate, quota = (100_000_000, "minute"), (900_000_000, "month")
    _, profile = a_guarded_api(stage, upstream, rate=rate, quota=quota)
    wait_for(lambda: stored(stage), what="the last good state")
    # A connection has a block of its own in nginx.conf from the next start on.
    stage.stop()
    stage.start()
    ours = Server(
        name="Ostiary", port=stage.gateway, pid=stage.pid, path="/bench-v1/orders/5",
        headers=(f"API-TOKEN: {profile['secret']}",),
    )  # fmt: skip
    at_rate(ours, 500, 3)
    return ours


def spent(stage: Stage, ours: Server, rate: int, seconds: int) -> float:
    """Microseconds of processor of all parts per call, with what they use at rest."""
    before = used(stage)
    load = at_rate(ours, rate, seconds)
    time.sleep(1.5)
    after = used(stage)
    return sum(after[part] - before[part] for part in PARTS) / load.good * 1e6


def lines(upstream: int) -> None:
    """What a log line costs all parts together: each call has one, or one of 16, in turns."""
    with (
        product(env={"OSTIARY_LOG_RATE": "1000000"}) as each,
        product(env={"OSTIARY_LOG_RATE": "1"}) as few,
    ):
        servers = guarded(each, upstream), guarded(few, upstream)
        time.sleep(5)
        rounds = []
        for _ in range(LINE_ROUNDS):
            logged, sampled = (
                spent(stage, server, LINE_RATE, 4)
                for stage, server in zip((each, few), servers, strict=True)
            )
            rounds.append((logged - sampled) * ONE_OF / (ONE_OF - 1))
        print(
            f"a log line, all parts together, at {LINE_RATE:,} calls a second:"
            f" {statistics.median(rounds):.1f} µs of processor"
            f" (rounds: {', '.join(f'{each:.1f}' for each in sorted(rounds))})",
            flush=True,
        )


def main() -> None:
    with product() as stage:
        time.sleep(5)
        memory(stage)
    with upstream() as server:
        with product() as stage, bare_haproxy(server, threads=2) as bare:
            ours = guarded(stage, server)
            time.sleep(12)
            idle = rest(stage)
            for each in RATES:
                at(stage, ours, bare, idle, each)
        lines(server)


if __name__ == "__main__":
    main()
