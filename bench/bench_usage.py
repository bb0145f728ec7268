"""How long the dashboard's questions take on a year of usage of 10,000 profiles.

    bench_usage.py [PROFILES [DAYS]]

Each question in turn, many times over: once for the workspace, else for profiles, clients,
collections and endpoints drawn by chance, and for the busiest.
"""

import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from django.db import connection

ROUNDS = 20
#: Days that are made up one by one; those before repeat them.
MADE_UP_DAYS = 9
DAY = 86_400


def main() -> None:
    profiles = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    days = int(sys.argv[2]) if len(sys.argv) > 2 else 365
    folder = Path(os.environ.get("BENCH_USAGE_DATA") or tempfile.mkdtemp(prefix="ostiary-bench-"))  # noqa: TID251
    try:
        _open(folder)
        _fill(profiles, days)
        _measure()
    finally:
        if "BENCH_USAGE_DATA" not in os.environ:  # noqa: TID251
            shutil.rmtree(folder, ignore_errors=True)


def _open(folder: Path) -> None:
    from ostiary.identity.sealing import KeyRing

    os.environ["OSTIARY_DATA"] = str(folder)  # noqa: TID251
    os.environ["DJANGO_SETTINGS_MODULE"] = "ostiary.settings_django"  # noqa: TID251
    folder.mkdir(parents=True, exist_ok=True)
    KeyRing.load_or_create(folder / "keyring.json")
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def _fill(profiles: int, days: int) -> None:
    from ostiary.directory import population
    from ostiary.directory.models import AccessProfile
    from ostiary.usage import made_up
    from ostiary.usage.models import Outcome, Total

    if not AccessProfile.objects.exists():
        began = time.perf_counter()
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous=OFF")
        population.make(profiles=profiles)
        now = int(time.time())
        made_up.make(days=MADE_UP_DAYS, now=now)
        _repeat(now, days)
        print(f"made up in {time.perf_counter() - began:.0f} s")
    print(
        f"{AccessProfile.objects.count():,} profiles, {Total.objects.count():,} totals,"
        f" {Outcome.objects.count():,} outcomes"
    )


def _repeat(now: int, days: int) -> None:
    """Older days are those of a week again; weeks and months are rolled up once, and repeated."""
    from ostiary.usage import rollups
    from ostiary.usage.belonging import projects
    from ostiary.usage.models import Progress
    from ostiary.usage.spans import Span, following, start_of

    today = start_of(Span.DAY, now)
    for ago in range(MADE_UP_DAYS, days):
        day = today - ago * DAY
        _copy(Span.DAY, day + (ago - MADE_UP_DAYS) // 7 * 7 * DAY + 7 * DAY, day)
    first = start_of(Span.DAY, today - (days - 1) * DAY)
    belongs, _ = projects()
    for span in (Span.WEEK, Span.MONTH):
        last = start_of(span, start_of(span, today) - DAY)
        rollups.roll_up(span, last, belongs)
        start = start_of(span, last - DAY)
        while start >= first:
            _copy(span, last, start)
            start = start_of(span, start - DAY)
        Progress.objects.filter(name=span.name).update(until=following(span, last))


def _copy(span: int, of: int, to: int) -> None:
    from ostiary.usage.models import Outcome, Total
    from ostiary.usage.spans import Level, Span, slot

    for model in (Total, Outcome):
        names = [f.column for f in model._meta.fields if f.column not in {"id", "slot"}]  # noqa: SLF001
        columns = ", ".join(names)
        with connection.cursor() as cursor:
            for level in Level:
                cursor.execute(
                    f"INSERT INTO {model._meta.db_table} (slot, {columns})"  # noqa: SLF001
                    f" SELECT %s, {columns} FROM {model._meta.db_table} WHERE slot = %s",  # noqa: SLF001
                    [slot(level, Span(span), to), slot(level, Span(span), of)],
                )


def _measure() -> None:
    from django.db.models import Sum

    from ostiary.directory.actor import SYSTEM, Actor, Role
    from ostiary.directory.models import AccessProfile, Collection, Endpoint
    from ostiary.directory.setup import home
    from ostiary.usage.models import Total
    from ostiary.usage.overview import Choice, overview
    from ostiary.usage.queries import calls_of_clients
    from ostiary.usage.spans import Level, Span, slot, start_of

    now = int(time.time())
    chance = random.Random(3)
    clients = dict(AccessProfile.objects.values_list("pk", "client_id"))
    day = slot(Level.CONSUMER, Span.DAY, start_of(Span.DAY, now) - 5 * DAY)
    busiest = (
        Total.objects.filter(slot=day)
        .values_list("client_id")
        .annotate(calls=Sum("calls"))
        .order_by("-calls")[0][0]
    )
    collections = list(Collection.objects.exclude(name="Made up").values_list("pk", flat=True))
    endpoints = list(
        Endpoint.objects.filter(collection_id__in=collections).values_list("pk", flat=True)
    )
    member = Actor(kind="member", id=1, name="M", roles={home().pk: Role.VIEWER})
    for days in (30, 90, 365):
        start = start_of(Span.DAY, now) - (days - 1) * DAY

        def ask(by: Actor = SYSTEM, start: int = start, **chosen: int | None) -> None:
            overview(by, Choice(start=start, end=now + 60, **chosen), now)

        print(f"-- {days} days")
        _timed("the workspace", ask)
        _timed("the workspace, as a member of its project", lambda ask=ask: ask(member))
        _timed(
            "a client by chance", lambda ask=ask: ask(client=chance.choice(list(clients.values())))
        )
        _timed("the busiest client", lambda ask=ask: ask(client=busiest))
        _timed("a profile by chance", lambda ask=ask: ask(profile=chance.choice(list(clients))))
        _timed("a collection", lambda ask=ask: ask(collection=chance.choice(collections)))
        _timed("an endpoint", lambda ask=ask: ask(endpoint=chance.choice(endpoints)))
        _timed(
            "a client in a collection",
            lambda ask=ask: ask(client=busiest, collection=chance.choice(collections)),
        )
    print("-- lists")
    _timed(
        "calls in 30 days of the 25 clients of a page",
        lambda: calls_of_clients(chance.sample(sorted(set(clients.values())), 25), 30, now),
    )


def _timed(name: str, ask: Callable[[], None]) -> None:
    ask()
    took: list[float] = []
    spent: list[float] = []
    for _ in range(ROUNDS):
        began, busy = time.perf_counter(), time.process_time()
        ask()
        took.append((time.perf_counter() - began) * 1000)
        spent.append((time.process_time() - busy) * 1000)
    cuts = [statistics.quantiles(times, n=20)[-1] for times in (took, spent)]
    print(
        f"{name:46} p50 {statistics.median(took):5.0f} ms  p95 {cuts[0]:5.0f} ms"
        f"   processor: p50 {statistics.median(spent):5.0f} ms  p95 {cuts[1]:5.0f} ms"
    )


if __name__ == "__main__":
    main()
