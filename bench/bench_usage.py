"""How long the console and the API take to show a year of usage of 10,000 profiles.

    bench_usage.py [PROFILES [DAYS [postgresql]]]

The running control process is asked over loopback, one request at a time, by a signed-in admin and
by a member who may see one project, which has all the clients: workspace, client, profile,
collection and endpoint, of 30 days, 90 days and 12 months; then the API. The time is from sending a
request to the end of its answer; CPU is that of the control process for it. A folder that
`BENCH_USAGE_DATA` names is filled once and kept.
"""

import contextlib
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from django.db import connection
from tests.postgres import cluster
from tests.stage import Stage, running

from bench.bench_console import Member, signed_in
from ostiary import settings

ROUNDS = 20
LIMIT_MS = 300.0
#: Days that are made up one by one; those before repeat them.
MADE_UP_DAYS = 9
DAY = 86_400


def main() -> None:
    profiles = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    days = int(sys.argv[2]) if len(sys.argv) > 2 else 365
    folder = Path(os.environ.get("BENCH_USAGE_DATA") or tempfile.mkdtemp(prefix="ostiary-bench-"))  # noqa: TID251 - the environment of what it starts
    try:
        with _database("postgresql" in sys.argv) as env:
            settings.adopt(**env)
            _open(folder)
            _fill(profiles, days)
            subjects = _subjects()
            with running(folder, env=env) as stage:
                good = _measure(stage, subjects)
            print(f"p95 of every request is {'at most' if good else 'not below'} {LIMIT_MS:.0f} ms")
    finally:
        if "BENCH_USAGE_DATA" not in os.environ:  # noqa: TID251 - the environment of what it starts
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _database(postgresql: bool) -> Iterator[dict[str, str]]:
    """What a process needs to reach it."""
    if not postgresql:
        yield {}
        return
    with cluster() as url:
        yield {"OSTIARY_DATABASE_URL": url}


def _open(folder: Path) -> None:
    from ostiary.identity.sealing import KeyRing

    os.environ["OSTIARY_DATA"] = str(folder)  # noqa: TID251 - the environment of what it starts
    os.environ["DJANGO_SETTINGS_MODULE"] = "ostiary.settings_django"  # noqa: TID251 - the environment of what it starts
    folder.mkdir(parents=True, exist_ok=True)
    KeyRing.load_or_create(folder / "keyring.json")
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


def _fill(profiles: int, days: int) -> None:
    from ostiary.directory.models import AccessProfile
    from ostiary.samples import population, usage
    from ostiary.usage import upkeep
    from ostiary.usage.models import Outcome, Standing, Total

    now = int(time.time())
    if not AccessProfile.objects.exists():
        began = time.perf_counter()
        if connection.vendor == "sqlite":
            with connection.cursor() as cursor:
                cursor.execute("PRAGMA synchronous=OFF")
        population.make(profiles=profiles)
        usage.make(days=MADE_UP_DAYS, now=now)
        _repeat(now, days)
        # They began with the days that are made up one by one.
        Standing.objects.all().delete()
        print(f"made up in {time.perf_counter() - began:.0f} s")
    _this_hour(now)
    began = time.perf_counter()
    standings = -1
    while standings < (standings := Standing.objects.count()):
        upkeep.run(now)
    print(f"kept up in {time.perf_counter() - began:.0f} s")
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
    print(
        f"{AccessProfile.objects.count():,} profiles, {Total.objects.count():,} totals,"
        f" {Outcome.objects.count():,} outcomes, {standings:,} standings", flush=True
    )  # fmt: skip


def _this_hour(now: int) -> None:
    """The minutes of this hour as they were in the one that was made up, unless it is that."""
    from django.db.models import Max

    from ostiary.usage.buckets import BucketSize, start_of
    from ostiary.usage.models import MinuteCount, MinuteLatency

    hour = start_of(BucketSize.HOUR, now)
    made_up = MinuteCount.objects.aggregate(last=Max("time"))["last"]
    first = start_of(BucketSize.HOUR, made_up)
    if first == hour:
        return
    there = (made_up - first) // 60 + 1
    for minute in range(hour, now - 60, 60):
        of = first + (minute - hour) // 60 % there * 60
        for model in (MinuteCount, MinuteLatency):
            names = [f.attname for f in model._meta.fields if f.attname not in {"id", "time"}]
            columns = ", ".join(names)
            with connection.cursor() as cursor:
                cursor.execute(
                    f"INSERT INTO {model._meta.db_table} (time, {columns})"
                    f" SELECT %s, {columns} FROM {model._meta.db_table} WHERE time = %s",
                    [minute, of],
                )


def _repeat(now: int, days: int) -> None:
    """Older days are those of a week again; weeks and months are rolled up once, and repeated."""
    from ostiary.usage import rollups
    from ostiary.usage.buckets import BucketSize, following, start_of
    from ostiary.usage.models import Progress, RolledUp
    from ostiary.usage.project_history import projects

    today = start_of(BucketSize.DAY, now)
    for ago in range(MADE_UP_DAYS, days):
        day = today - ago * DAY
        _copy(BucketSize.DAY, day + (ago - MADE_UP_DAYS) // 7 * 7 * DAY + 7 * DAY, day)
        RolledUp.objects.create(span=BucketSize.DAY, time=day)
    first = start_of(BucketSize.DAY, today - (days - 1) * DAY)
    belongs, _ = projects()
    for span in (BucketSize.WEEK, BucketSize.MONTH):
        last = start_of(span, start_of(span, today) - DAY)
        rollups.roll_up(span, last, belongs)
        start = start_of(span, last - DAY)
        while start >= first:
            _copy(span, last, start)
            start = start_of(span, start - DAY)
        Progress.objects.filter(name=span.name).update(until=following(span, last))


def _copy(span: int, of: int, to: int) -> None:
    from ostiary.usage.buckets import BucketSize, Level, slot
    from ostiary.usage.models import Outcome, Total

    for model in (Total, Outcome):
        names = [f.attname for f in model._meta.fields if f.attname not in {"id", "slot"}]
        columns = ", ".join(names)
        with connection.cursor() as cursor:
            for level in Level:
                cursor.execute(
                    f"INSERT INTO {model._meta.db_table} (slot, {columns})"
                    f" SELECT %s, {columns} FROM {model._meta.db_table} WHERE slot = %s",
                    [slot(level, BucketSize(span), to), slot(level, BucketSize(span), of)],
                )


def _subjects() -> dict[str, str]:
    """What is looked at, and how an address names it: the busiest, and some by chance."""
    from django.db.models import Sum

    from ostiary.directory.models import AccessProfile, Collection, Endpoint
    from ostiary.usage.buckets import BucketSize, Level, slot, start_of
    from ostiary.usage.models import Total

    chance = random.Random(3)
    profile, client = chance.choice(list(AccessProfile.objects.values_list("pk", "client_id")))
    day = start_of(BucketSize.DAY, int(time.time())) - 5 * DAY
    of_day = Total.objects.filter(slot=slot(Level.CONSUMER, BucketSize.DAY, day)).values_list(
        "client_id"
    )
    busiest = of_day.annotate(calls=Sum("calls")).order_by("-calls")[0][0]
    collection = Collection.objects.exclude(name="Made up").values_list("pk", flat=True)[0]
    endpoint = Endpoint.objects.filter(collection_id=collection).values_list("pk", flat=True)[0]
    connection.close()
    return {
        "the workspace": "",
        "a client": f"&client={client}",
        "the busiest client": f"&client={busiest}",
        "an access profile": f"&profile={profile}",
        "a collection": f"&collection={collection}",
        "an endpoint": f"&endpoint={endpoint}",
        "the busiest client in a collection": f"&client={busiest}&collection={collection}",
    }


def _measure(stage: Stage, subjects: dict[str, str]) -> bool:
    from ostiary.directory.workspace.setup import home

    project = home().pk
    connection.close()
    admin, member = signed_in(stage), signed_in(stage, project=project)
    token = stage.done(
        "POST", "v2/tokens", {"name": "Bench", "role": "viewer", "project_ids": [project]}
    )
    good = True
    print(f"{'':42} {'p50 ms':>8} {'p95 ms':>8} {'CPU p50':>8} {'CPU p95':>8} {'KB':>6}")
    for days in (30, 90, 365):
        print(f"-- the dashboard, {days} days")
        for name, subject in subjects.items():
            for who, asker in (("admin", admin), ("member", member)):
                good &= _timed(
                    stage, f"{name}, {who}", _page(asker, f"/usage?days={days}{subject}")
                )
    good &= _timed(
        stage,
        "the part of a client's page",
        _page(admin, f"/usage/part?days=30{subjects['a client']}"),
    )
    good &= _timed(stage, "clients, with their calls", _page(admin, "/clients"))
    for days in (30, 90, 365):
        print(f"-- the API, {days} days")
        since = time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(time.time() - (days - 1) * DAY))
        for name, query in API.items():
            for who, secret in (("admin", stage.token), ("of a project", token["data"]["secret"])):
                ask = _call(stage, secret, f"v2/usage?from={since}&{query}")
                good &= _timed(stage, f"{name}, {who}", ask)
    return good


API = {
    "by day": "bucket=day",
    "by day and endpoint": "bucket=day&group_by=api_endpoint",
    "by reason": "bucket=all&group_by=reason",
    "by client": "bucket=all&group_by=client",
    "by access profile": "bucket=all&group_by=access_profile",
}


def _page(member: Member, path: str) -> Callable[[], int]:
    # The other's turn was perhaps longer than a connection is kept.
    member.connection.close()

    def ask() -> int:
        status, page, _ = member.ask("GET", path)
        assert status == 200, (path, status)
        return len(page)

    return ask


def _call(stage: Stage, token: str, path: str) -> Callable[[], int]:
    def ask() -> int:
        answer = stage.api("GET", path, token=token)
        assert answer.status == 200, answer
        return len(answer.body)

    return ask


def _timed(stage: Stage, name: str, ask: Callable[[], int]) -> bool:
    """Ask again and again, print what it took; whether that is quick enough."""
    size, took, spent = ask(), list[float](), list[float]()
    pids = stage.pids("control")
    for _ in range(ROUNDS):
        began, busy = time.perf_counter(), _busy(pids)
        ask()
        took.append((time.perf_counter() - began) * 1000)
        spent.append((_busy(pids) - busy) * 1000)
    figures = [statistics.median(took), _p95(took), statistics.median(spent), _p95(spent)]
    good = figures[1] <= LIMIT_MS
    row = " ".join(f"{figure:8.0f}" for figure in figures)
    print(f"{name:42} {row} {size / 1024:6.0f}  {'' if good else 'over'}", flush=True)
    return good


def _busy(pids: list[int]) -> float:
    """Seconds for which the processes ran, to the nanosecond: clock ticks would be too coarse."""
    # The clock of another process, as clock_getcpuclockid(3) names it.
    return sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)


def _p95(times: list[float]) -> float:
    return statistics.quantiles(times, n=20)[-1]


if __name__ == "__main__":
    main()
