"""Upcalls a second, what a first call costs, revocation under load, and a flood of strangers."""

import asyncio
import http.client
import statistics
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from tests.stage import OSTIARY, Stage

from bench.stand import a_guarded_api, cpu_seconds, product, quantile, upstream, wrk
from ostiary.gateway.contract import ANSWERS, QUESTION

PROFILES = 100_000

#: Ceilings protect an installation from one project; here one project has all the consumers.
CEILINGS = {
    "OSTIARY_UPCALLS_PER_SECOND": "10000000",
    "OSTIARY_UPCALLS_PER_PROJECT": "10000000",
    "OSTIARY_UPCALLS_PER_ADDRESS": "10000",
}
CONNECTIONS, UPCALLS, ROUNDS = 16, 20_000, 3

STRANGERS = """
local n = 0
request = function()
  n = n + 1
  return wrk.format("GET", "/bench-v1/orders/1", {{["API-TOKEN"] = "{form}" .. n}})
end
"""


async def ask(path: Path, endpoint: Any, tokens: range) -> None:
    """Ask about calls with these made-up tokens, on as many connections as a gateway may keep."""
    numbers = iter(tokens)

    async def one() -> None:
        reader, writer = await asyncio.open_unix_connection(path)
        for number in numbers:
            values = {
                "form": "t",
                "usage": 0,
                "endpoint": endpoint["id"],
                "collection": endpoint["api_collection_id"],
                "address": "127.0.0.1",
                "trace": "",
                "credential": f"made-up-{number}",
            }
            text = "\n".join(str(values[name]) for name in QUESTION).encode()
            writer.write(b"%d\n%s" % (len(text), text))
            answer = await reader.readexactly(int(await reader.readline()))
            if answer[:1].decode() != ANSWERS["lease"]:
                raise RuntimeError(f"no lease: {answer!r}")
        writer.close()

    await asyncio.gather(*(one() for _ in range(CONNECTIONS)))


def upcalls(stage: Stage) -> None:
    """Decisions a second of processor time of the authority, asked on its own socket."""
    [collection] = [c for c in stage.done("GET", "api_collections") if c["handle"] == "made-up-v1"]
    [endpoint, *_] = stage.done("GET", f"api_endpoints?api_collection_id={collection['id']}")
    pids = stage.pids("authority")
    for number in range(ROUNDS):
        before, clock = cpu_seconds(pids), time.perf_counter()
        tokens = range(number * UPCALLS + 1, (number + 1) * UPCALLS + 1)
        asyncio.run(ask(stage.data / "run" / "upcall.sock", endpoint, tokens))
        used, elapsed = cpu_seconds(pids) - before, time.perf_counter() - clock
        print(
            f"upcalls: {UPCALLS / used:,.0f} per second of the authority's processor time"
            f" ({used / UPCALLS * 1e6:.0f} µs each), {UPCALLS / elapsed:,.0f} a second with who asks"
            " on the same cores",
            flush=True,
        )


def timed(connection: http.client.HTTPConnection, path: str, token: str) -> tuple[float, int]:
    began = time.perf_counter()
    connection.request("GET", path, headers={"API-TOKEN": token})
    answer = connection.getresponse()
    answer.read()
    return (time.perf_counter() - began) * 1000, answer.status


def first_calls(stage: Stage) -> None:
    """What a call without a lease takes longer than the next with it, at the median."""
    connection = http.client.HTTPConnection("127.0.0.1", stage.gateway)
    new: list[float] = []
    again: list[float] = []
    for number in range(99_000, 99_500):
        token = f"made-up-{number}"
        for taken in (new, again):
            ms, status = timed(connection, "/made-up-v1/items/1", token)
            taken.append(ms)
            # The made-up upstream is not there: what counts is that the call was let through.
            assert status == 502, status
    added = statistics.median(new) - statistics.median(again)
    print(
        f"a first call takes {statistics.median(new):.2f} ms at the median, which is {added:.2f}"
        " more than the next one"
    )


def revocation(stage: Stage, profile: dict[str, object]) -> None:
    """Switch a profile off and on under load; what passes after the answer must be nothing."""
    path = "/bench-v1/orders/1"
    stop = threading.Event()
    sent = [0]

    def load() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", stage.gateway)
        while not stop.is_set():
            began = time.perf_counter()
            timed(connection, path, str(profile["secret"]))
            sent[0] += 1
            time.sleep(max(0.0, 0.004 - (time.perf_counter() - began)))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    began = time.perf_counter()
    took, late = [], 0
    check = http.client.HTTPConnection("127.0.0.1", stage.gateway)
    for _ in range(200):
        stage.done("PUT", f"api_access_profiles/{profile['id']}/enable")
        clock = time.perf_counter()
        stage.done("PUT", f"api_access_profiles/{profile['id']}/disable")
        took.append((time.perf_counter() - clock) * 1000)
        late += sum(timed(check, path, str(profile["secret"]))[1] != 401 for _ in range(5))
    rate = sent[0] / (time.perf_counter() - began)
    stop.set()
    for thread in threads:
        thread.join()
    stage.done("PUT", f"api_access_profiles/{profile['id']}/enable")
    print(
        f"revocation under {rate:,.0f} calls a second: {late} of 1,000 calls passed afterwards;"
        f" the call takes {quantile(took, 0.5):.1f} ms at p50, {quantile(took, 0.99):.1f} at p99"
    )


def _flood(url: str, script: str, results: list[dict[str, float]]) -> None:
    results.append(wrk(url, seconds=5, connections=32, script=script))


def flood(stage: Stage, profile: dict[str, object]) -> None:
    """Unknown tokens from the same address, and what a valid call feels of it."""
    url = f"http://127.0.0.1:{stage.gateway}/"
    pids = stage.pids("authority")
    connection = http.client.HTTPConnection("127.0.0.1", stage.gateway)
    path, token = "/bench-v1/orders/1", str(profile["secret"])
    quiet = statistics.median(timed(connection, path, token)[0] for _ in range(300))
    for form, what in (("stranger-", "foreign"), ("ost_" + "A" * 50, "forged")):
        before = cpu_seconds(pids)
        results: list[dict[str, float]] = []
        script = STRANGERS.format(form=form)
        thread = threading.Thread(target=_flood, args=(url, script, results))
        thread.start()
        time.sleep(0.5)
        taken, statuses = [], []
        while thread.is_alive():
            ms, status = timed(connection, path, token)
            taken.append(ms)
            statuses.append(status)
        thread.join()
        wrong = sum(status not in {200, 429} for status in statuses)
        print(
            f"flood of {what} tokens, {results[0]['rate']:,.0f}/s: the authority used"
            f" {cpu_seconds(pids) - before:.2f} s of processor in 5 s; a valid call takes"
            f" {statistics.median(taken):.2f} ms at the median (quiet: {quiet:.2f});"
            f" {wrong} valid calls refused of {len(statuses)}"
        )


def main() -> None:
    with product(env=CEILINGS) as stage, upstream() as server:
        print(f"seeding {PROFILES:,} profiles", flush=True)
        seed(stage)
        upcalls(stage)
        first_calls(stage)
        _, profile = a_guarded_api(stage, server, rate=(1_000_000_000, "minute"))
        revocation(stage, profile)
        flood(stage, profile)


def seed(stage: Stage) -> None:
    subprocess.run(
        [*OSTIARY, "seed", "--data", str(stage.data), "--profiles", str(PROFILES)],
        env=stage.env,
        check=True,
    )
    # What was made beside a running product is in force with the next start.
    stage.stop()
    stage.start()


if __name__ == "__main__":
    main()
