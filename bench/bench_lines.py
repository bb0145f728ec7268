"""Processor time of the collector for each log line and each counter, without the gateway.

    bench_lines.py [LINES]

On the database that OSTIARY_DATABASE_URL names, which must be empty, or on a SQLite file.
"""

import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

LINES = 100_000
#: Profiles and addresses that the lines are of: each index has as many places where it grows.
MIXES = ((1, 1), (20, 20), (300, 250))
#: Counters, and of one push.
COUNTERS, PUSH = 100_000, 2_000


def used(work: Callable[[], None], number: int) -> str:
    """Microseconds of processor for each of a number of things."""
    before = time.process_time()
    work()
    return f"{(time.process_time() - before) / number * 1e6:.1f} µs"


def write_lines(path: Path, lines: int, profiles: int, addresses: int) -> None:
    chance = random.Random(1)
    start = int(time.time() * 1000) - lines
    with path.open("w") as file:
        for number in range(lines):
            at, profile = start + number, chance.randrange(profiles) + 1
            subject = f"5/4/{profile}/{profile // 3 + 1}/{profile}/0/0/1/-"
            address = f"198.51.100.{chance.randrange(addresses)}"
            took = f"0.{chance.randrange(20):03d}"
            file.write(
                f"{at // 1000}.{at % 1000:03d}\tab12-{number // 100}-{number % 100}\t200\t"
                f"{subject}\t{address}\t{took}\t100\t200\t-\n"
            )


def bench_lines(folder: Path, lines: int) -> None:
    from ostiary.collector.service import Lines
    from ostiary.collector.storage import Store
    from ostiary.gateway.node import Node

    for profiles, addresses in MIXES:
        run = folder / f"run-{profiles}"
        (run / "lines").mkdir(parents=True)
        write_lines(run / "lines" / "calls.log", lines, profiles, addresses)
        # A rate that none of them is above: the dearest case.
        stored = Lines(Node(run=run, host="127.0.0.1", port=1), Store(log_rate=10**9))

        def store(stored: Lines = stored) -> None:
            while stored.some():
                pass
            stored.tidy(last=True)

        text = used(store, lines)
        print(f"a line, of {profiles} profiles and {addresses} addresses: {text}")
        stored.close()


def bench_counters() -> None:
    from ostiary.collector.storage import Store
    from ostiary.gateway.contract import Pushed

    store, hour = Store(), int(time.time()) // 3600
    keys = [f"{hour}/{n % 2000 + 1}/3/4/{n // 2000 + 1}/0/0/2/0" for n in range(COUNTERS)]

    def push(calls: int) -> None:
        for at in range(0, COUNTERS, PUSH):
            totals = dict.fromkeys(keys[at : at + PUSH], (calls, calls * 90, calls * 900))
            pushed = Pushed(birth="1", counts=totals, limits={}, lines=())
            store.pushes([pushed], moment=time.time())

    for name, calls in (("new", 1), ("that grew", 5), ("that did not grow", 5)):
        print(f"a counter {name}, of {COUNTERS:,}: {used(partial(push, calls), COUNTERS)}")


def main() -> None:
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else LINES
    folder = Path(tempfile.mkdtemp(prefix="ostiary-bench-"))
    os.environ |= {  # noqa: TID251 - read once, by the settings that are loaded below
        "OSTIARY_DATA": str(folder),
        "DJANGO_SETTINGS_MODULE": "ostiary.settings_django",
    }
    try:
        import django
        from django.core.management import call_command

        django.setup()
        call_command("migrate", verbosity=0)
        bench_lines(folder, lines)
        bench_counters()
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
