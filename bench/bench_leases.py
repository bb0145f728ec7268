"""Very many leases in the gateway: what one takes, and what a call costs beside so many.

    bench_leases.py [LEASES]

Every lease comes by an upcall, as in the product; a stand-in of the authority answers. Then, in turns
with a gateway that has one lease: processor time and latency of a busy consumer's calls, and of
calls spread over all the leases, which no worker can remember all of.
"""

import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.lone import ISSUE_KEY, Lone, gateway
from bench.stand import (
    LOAD,
    SERVER,
    Server,
    at_rate,
    cpu_seconds,
    folder,
    memory_megabytes,
    quantile,
    upstream,
    wrk,
)
from ostiary.gateway import control
from ostiary.identity.tokens import issue_token

LEASES = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
PROFILES, MEGABYTES, ROUNDS, SECONDS = 1000, 1024, 5, 2

#: Each call has the next token of a file, or one at random.
SCRIPT = """
local tokens = {{}}
for line in io.lines("{tokens}") do tokens[#tokens + 1] = line end
local n, random = 0, {random}
math.randomseed(os.time())
request = function()
  n = random and math.random(#tokens) or n % #tokens + 1
  return wrk.format("GET", "{path}", {{["API-TOKEN"] = tokens[n]}})
end
"""


def dictionary(lone: Lone, name: str) -> tuple[int, int]:
    """Capacity and free bytes of one of the gateway's dictionaries."""
    told = control.state(lone.node.control_socket, seconds=60)["dictionaries"][name]
    return int(told["capacity"]), int(told["free"])


def asked(lone: Lone) -> int:
    return int(control.state(lone.node.control_socket, seconds=60)["upcalls"]["asked"])


def fill(lone: Lone, tokens: Path) -> None:
    """Call once with each token."""
    capacity, before = dictionary(lone, "leases")
    memory, began = memory_megabytes(lone.pids()), time.monotonic()
    script = SCRIPT.format(tokens=tokens, path=lone.path, random="false")
    while (now := asked(lone)) < LEASES:
        wrk(lone.url, seconds=5, connections=64, script=script if now == 0 else _rest(script, now))
    elapsed = time.monotonic() - began
    _, free = dictionary(lone, "leases")
    state = control.state(lone.node.control_socket, seconds=60)
    print(
        f"{asked(lone):,} leases in {elapsed:.0f} s, {asked(lone) / elapsed:,.0f} a second;"
        f" {(before - free) / asked(lone):.0f} bytes each in shared memory of"
        f" {capacity / 1e6:,.0f} MB, {state['evicted_leases']:,} dropped;"
        f" all of nginx grew by {memory_megabytes(lone.pids()) - memory:,.0f} MB",
        flush=True,
    )


def _rest(script: str, done: int) -> str:
    """The same script from where the last run was; some calls were broken off at its end."""
    return script.replace("local n, random = 0", f"local n, random = {max(0, done - 100)}")


def saturated(server: Server, script: str = "") -> float:
    """Microseconds of processor per call."""
    before = cpu_seconds(server.pids())
    load = wrk(
        server.url, *([] if script else server.headers), seconds=SECONDS, connections=32,
        script=script, around=LOAD,
    )  # fmt: skip
    if load["bad"]:
        raise RuntimeError(f"{load['bad']:.0f} calls were refused")
    return (cpu_seconds(server.pids()) - before) / load["total"] * 1e6


def compared(few: Lone, many: Lone, tokens: Path) -> None:
    script = SCRIPT.format(tokens=tokens, path=many.path, random="true")
    for server in (few, many):
        wrk(server.url, *server.headers, seconds=1, around=LOAD)
    pairs = [(saturated(few), saturated(many)) for _ in range(ROUNDS)]
    print(
        f"a busy consumer's call: {statistics.median(p[0] for p in pairs):.1f} µs beside one lease,"
        f" {statistics.median(p[1] for p in pairs):.1f} beside {LEASES:,};"
        f" {statistics.median(p[1] / p[0] for p in pairs):.2f} times",
        flush=True,
    )
    took: dict[int, list[int]] = {0: [], 1: []}
    for _ in range(ROUNDS):
        for which, server in enumerate((few, many)):
            took[which].extend(at_rate(server, 1000, SECONDS, times=True, around=LOAD).took)
    for share in (0.5, 0.99):
        print(
            f"  at 1,000 calls a second, p{share * 100:.0f}:"
            f" {quantile(took[0], share) / 1000:.2f} ms and {quantile(took[1], share) / 1000:.2f} ms"
        )
    spread = statistics.median(saturated(many, script) for _ in range(ROUNDS))
    print(f"a call with any of the {LEASES:,} leases: {spread:.1f} µs", flush=True)


def write_tokens(path: Path) -> None:
    def lines() -> Iterator[str]:
        for _ in range(LEASES):
            yield f"{issue_token(ISSUE_KEY).reveal()}\n"

    with path.open("w") as file:
        file.writelines(lines())


def main() -> None:
    with folder() as made, upstream(LOAD) as server:
        tokens = made / "tokens"
        write_tokens(tokens)
        with (
            gateway(server, around=SERVER, beside=LOAD) as few,
            gateway(
                server,
                around=SERVER,
                beside=LOAD,
                profiles=PROFILES,
                lease_megabytes=MEGABYTES,
            ) as many,
        ):
            fill(many, tokens)
            compared(few, many, tokens)


if __name__ == "__main__":
    main()
