"""Very many leases in the gateway: what one takes, and what a call costs beside so many.

    bench_leases.py [LEASES [times|instructions]]

The leases are written straight into the gateway's shared memory, as upcalls would leave them there, and
then calls with leases at random fill what a worker remembers. Beside that, in turns with a gateway that
has one lease: a busy consumer's calls, by instructions under callgrind and by processor time, and
their latency; and calls spread over all the leases, which no worker can remember all of.
"""

import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack

from bench import stand_in
from bench.lone import Lone, gateway
from bench.stand import (
    LOAD,
    SERVER,
    Callgrind,
    Server,
    at_rate,
    calls,
    cpu_seconds,
    folder,
    memory_megabytes,
    quantile,
    upstream,
    wrk,
)
from ostiary.gateway import control

LEASES = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
WHICH = sys.argv[2:] or ["instructions", "times"]
PROFILES, MEGABYTES, ROUNDS, SECONDS = 1000, 1024, 5, 2
#: Calls of a round under callgrind: enough for Lua's garbage collector to go round.
ROUND = 8000
#: Seconds of calls with any of the leases, to fill what a worker remembers.
SPREAD_SECONDS, SLOW_SPREAD_SECONDS = 20, 120

FILLER = """
  ngx.req.read_body()
  local texts, evicted = {}, 0
  for line in ngx.req.get_body_data():gmatch("[^\\n]+") do texts[#texts + 1] = line end
  for i = 1, tonumber(ngx.var.arg_n) do
    local _, _, forced = ngx.shared.leases:set(
      string.format("ost_%061d/30", i), texts[i % #texts + 1], 7200)
    if forced then evicted = evicted + 1 end
  end
  ngx.print(evicted)
"""

#: Each call has a token at random.
SCRIPT = """
math.randomseed(os.time())
request = function()
  local token = string.format("ost_%061d", math.random({leases}))
  return wrk.format("GET", "{path}", {{["API-TOKEN"] = token}})
end
"""


def dictionary(lone: Lone) -> tuple[int, int]:
    """Capacity and free bytes of the gateway's leases."""
    told = control.state(lone.node.control_socket, seconds=600)["dictionaries"]["leases"]
    return int(told["capacity"]), int(told["free"])


def fill(lone: Lone) -> None:
    """Write the leases, and use some of them."""
    capacity, before = dictionary(lone)
    memory, began = memory_megabytes(lone.pids()), time.monotonic()
    hour = int(time.time()) // 3600
    texts = (stand_in.lease(n, 30, 1, hour).split(b"\n", 1)[1] for n in range(1, PROFILES + 1))
    status, told = control.exchange(
        lone.node.run / "filler.sock", "POST", f"/?n={LEASES}", b"\n".join(texts), seconds=3600
    )
    elapsed = time.monotonic() - began
    if (status, told) != (200, b"0"):
        raise RuntimeError(f"leases were evicted: {status} {told!r}")
    _, free = dictionary(lone)
    print(
        f"{LEASES:,} leases, written in {elapsed:.0f} s: {(before - free) / LEASES:.0f} bytes each in"
        f" shared memory of {capacity / 1e6:,.0f} MB, none dropped;"
        f" nginx grew by {memory_megabytes(lone.pids()) - memory:,.0f} MB",
        flush=True,
    )


def spread(lone: Lone, seconds: int) -> float:
    """Calls with any of the leases; microseconds of processor of each."""
    script = SCRIPT.format(leases=LEASES, path=lone.path)
    return saturated(lone, script, seconds)


def saturated(server: Server, script: str = "", seconds: int = SECONDS) -> float:
    """Microseconds of processor per call."""
    before = cpu_seconds(server.pids())
    load = wrk(
        server.url, *([] if script else server.headers), seconds=seconds, connections=32,
        script=script, around=LOAD,
    )  # fmt: skip
    if load["bad"] or not load["total"]:
        raise RuntimeError(f"{load['bad']:.0f} of {load['total']:.0f} calls were refused")
    return (cpu_seconds(server.pids()) - before) / load["total"] * 1e6


def pair(stack: ExitStack, upstream: int, around: Sequence[str], *, alone: bool) -> Lone:
    """A gateway with room for many leases, under valgrind or on a core of its own."""
    return stack.enter_context(
        gateway(
            upstream, around=around, beside=LOAD, profiles=PROFILES, lease_megabytes=MEGABYTES,
            filler=FILLER, alone=alone, log_rate=1,
        )
    )  # fmt: skip


def instructions(upstream: int, *, many: bool) -> float:
    """Instructions of a busy consumer's call, with the garbage collector's part in it."""
    with folder() as made, ExitStack() as stack:
        grind = Callgrind(made)
        lone = pair(stack, upstream, grind.around, alone=True)
        if many:
            fill(lone)
            spread(lone, SLOW_SPREAD_SECONDS)
        uris = made / "uris"
        base = lone.url.rsplit("/", 1)[0]
        uris.write_text("".join(f"{base}/{n * 7919 % 100_000}\n" for n in range(ROUND)))
        rounds = []
        for _ in range(4):
            grind.zero(lone.pid)
            if calls(ROUND, uris, *lone.headers) != ROUND:
                raise RuntimeError("calls were refused")
            rounds.append(grind.count(lone.pid) / ROUND)
        # The first warms up.
        return statistics.mean(rounds[1:])


def times(upstream: int) -> None:
    with ExitStack() as stack:
        few, many = (pair(stack, upstream, SERVER, alone=False) for _ in range(2))
        fill(many)
        each = spread(many, SPREAD_SECONDS)
        for server in (few, many):
            wrk(server.url, *server.headers, seconds=1, around=LOAD)
        pairs = [(saturated(few), saturated(many)) for _ in range(ROUNDS)]
        print(
            f"a busy consumer's call: {statistics.median(p[0] for p in pairs):.1f} µs beside one"
            f" lease, {statistics.median(p[1] for p in pairs):.1f} beside {LEASES:,};"
            f" {statistics.median(p[1] / p[0] for p in pairs):.3f} times"
            f" (pairs: {', '.join(f'{p[1] / p[0]:.2f}' for p in pairs)})",
            flush=True,
        )
        took: dict[int, list[int]] = {0: [], 1: []}
        for _ in range(ROUNDS):
            for which, server in enumerate((few, many)):
                took[which].extend(at_rate(server, 1000, SECONDS, times=True, around=LOAD).took)
        for share in (0.5, 0.99):
            print(
                f"  at 1,000 calls a second, p{share * 100:.0f}: {quantile(took[0], share) / 1000:.2f}"
                f" ms and {quantile(took[1], share) / 1000:.2f} ms"
            )
        evicted = control.state(many.node.control_socket, seconds=60)["evicted_leases"]
        print(f"a call with any of the {LEASES:,} leases: {each:.1f} µs; {evicted} dropped")
        print(f"nginx takes {memory_megabytes(many.pids()):,.0f} MB")


def main() -> None:
    with upstream(LOAD) as server:
        if "instructions" in WHICH:
            few, many = (instructions(server, many=many) for many in (False, True))
            print(
                f"a busy consumer's call: {few:,.0f} instructions beside one lease, {many:,.0f}"
                f" beside {LEASES:,}; {many / few:.3f} times",
                flush=True,
            )
        if "times" in WHICH:
            times(server)


if __name__ == "__main__":
    main()
