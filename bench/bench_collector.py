"""What the collector makes of a flood: every call counted, lines kept, and the processor it takes."""

import contextlib
import sqlite3
import time

from tests.stage import Stage, wait_for

from bench.stand import a_guarded_api, cpu_seconds, product, upstream, wrk

SECONDS = 8


def one(stage: Stage, statement: str) -> int:
    path = stage.data / "ostiary.sqlite3"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as base:
        return int(base.execute(statement).fetchone()[0] or 0)


def main() -> None:
    with upstream() as server, product() as stage:
        _, profile = a_guarded_api(stage, server)
        url = f"http://127.0.0.1:{stage.gateway}/bench-v1/orders/5"
        token = f"API-TOKEN: {profile['secret']}"
        wrk(url, token, seconds=1)
        time.sleep(12)
        counted = "SELECT SUM(calls) FROM usage_minutecount"
        before, logged = one(stage, counted), "SELECT {} FROM usage_loggedcall WHERE id > {}"
        last = one(stage, logged.format("MAX(id)", 0))
        timed = "SELECT SUM(calls) FROM usage_minutelatency"
        read = one(stage, timed)
        pids = stage.pids("collector")
        used = cpu_seconds(pids)
        load = wrk(url, token, seconds=SECONDS)
        wait_for(lambda: one(stage, counted) - before >= load["total"], what="the counts")
        # Latencies are stored every ten seconds.
        time.sleep(12)
        used = cpu_seconds(pids) - used
        total = one(stage, counted) - before
        # wrk does not count the calls that it breaks off at its end.
        print(f"calls: {load['total']:,.0f} answered, {load['rate']:,.0f} a second")
        print(
            f"counted: {total:,}, of these unanswered or broken off: {total - load['total']:,.0f}"
        )
        lines = one(stage, timed) - read
        print(f"log lines read: {lines:,}, {100 * lines / total:.2f} %")
        kept = one(stage, logged.format("COUNT(*)", last))
        stood = one(stage, logged.format("SUM(stands_for)", last))
        print(f"lines kept: {kept:,}, standing for {stood:,}")
        print(f"collector: {used:.2f} s of processor, {total / used:,.0f} calls per second of it")


if __name__ == "__main__":
    main()
