"""Whether this machine can do its work now: checks each part, within seconds."""

import contextlib
import http.client
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from django.db import DatabaseError, InterfaceError, close_old_connections, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from prometheus_client import Metric

from ostiary import settings
from ostiary.directory import database
from ostiary.directory.changes import feed
from ostiary.directory.models import Collection, Recipe
from ostiary.gateway import publisher_client, statistics
from ostiary.gateway.node import control_socket, refused_file
from ostiary.gateway.publisher_client import PublisherClient, PublisherSilent
from ostiary.operations.damage import Looks
from ostiary.operations.deadlines import Patient
from ostiary.recipes import control as recipe_runner
from ostiary.telemetry import exposition
from ostiary.telemetry.unix_http import UnixConnection

#: Seconds within which a part must answer, and within which a check must end.
SECONDS, LONGEST = 1.5, 3.0
#: Seconds for which an answer is reused, since anybody may ask as often as they like.
KEPT_SECONDS = 1.0
#: Free bytes below which the database may fail to write.
LEAST_FREE = 100 * 1024 * 1024
#: Seconds. The collector stores counts each second; if it has not for longer, it is stuck.
OLDEST_COUNTS = 15.0
#: Seconds. An nginx worker reports each second that it is alive; if it has not for longer, it hangs.
OLDEST_TICK = 5.0
#: Dictionaries of the gateway that must not fill up, and the share of each that must be free. The
#: others evict entries: a full dictionary of leases only costs upcalls.
WATCHED_DICTIONARIES = ("epochs", "limits_short", "limits_long", "usage", "objects", "imported")
LEAST_SHARE_FREE = 0.1
#: The most objects that a sentence names.
MOST_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadinessResult:
    """The result of a check: one sentence, without a secret."""

    ok: bool
    said: str


Check = Callable[[], ReadinessResult]


class NotReady(Exception):
    """A check failed; the text is one sentence that says why."""


def check() -> Mapping[str, ReadinessResult]:
    """The state of all parts of this machine, at most a second old."""
    return _keeper.states()


class _SharedChecks:
    """Runs the checks at the same time, once for all requests within a second."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._checks: dict[str, Patient[ReadinessResult]] = {}
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="readiness")
        self._states: Mapping[str, ReadinessResult] = {}
        self._until = float("-inf")

    def states(self) -> Mapping[str, ReadinessResult]:
        with self._lock:
            if time.monotonic() > self._until:
                self._states = self._run()
                self._until = time.monotonic() + KEPT_SECONDS
            return self._states

    def _run(self) -> Mapping[str, ReadinessResult]:
        for name, each in _checks().items():
            if name not in self._checks:
                self._checks[name] = Patient(partial(_safely, each), f"ready-{name}")
        asked = {name: self._pool.submit(_asked, each) for name, each in self._checks.items()}
        return {name: future.result() for name, future in asked.items()}


def _asked(check: Patient[ReadinessResult]) -> ReadinessResult:
    try:
        return check.ask(LONGEST)
    except TimeoutError:
        return ReadinessResult(ok=False, said="It does not answer in time.")


_keeper = _SharedChecks()


def _safely(each: Check) -> ReadinessResult:
    close_old_connections()
    try:
        return each()
    except NotReady as error:
        return ReadinessResult(ok=False, said=str(error))
    except (DatabaseError, InterfaceError) as error:
        return ReadinessResult(ok=False, said=database.trouble(error))


def _checks() -> Mapping[str, Check]:
    """The checks of the parts that this machine has: each makes a socket when it first starts."""
    run = settings.current().run
    checks: dict[str, Check] = {"database": _database, "disk": _disk}
    if (run / "authority.sock").exists():
        checks["authority"] = _authority
        checks["gateway"] = _gateway
        if settings.current().redis_url:
            checks["limits"] = _limits
    if (run / "publisher.sock").exists():
        checks["publisher"] = check_publisher
        checks["upstreams"] = check_upstreams
    if (run / "recipes-control.sock").exists():
        checks["recipes"] = _recipes
        checks["recipe_files"] = _recipe_files
    if (run / "log.sock").exists():
        checks["collector"] = _collector
    return checks


def _database() -> ReadinessResult:
    if damage := database.damage():
        raise NotReady(damage)
    if looks := _looks():
        looks.look()
    wanted = _on_disk()
    missing = wanted - set(MigrationRecorder(connection).applied_migrations())
    if missing:
        raise NotReady(f"It lacks {len(missing)} migrations; start this version once.")
    return ReadinessResult(ok=True, said="It answers, and its tables are this version's.")


@cache
def _looks() -> Looks | None:
    now = settings.current()
    if now.database.engine != "sqlite":
        return None
    return Looks(Path(now.database.name), seconds=now.database_check_seconds)


_migrations: set[tuple[str, str]] = set()


def _on_disk() -> set[tuple[str, str]]:
    """The migrations of this version; they do not change while it runs."""
    if not _migrations:
        _migrations.update(MigrationLoader(None).disk_migrations)
    return _migrations


def _disk() -> ReadinessResult:
    data = settings.current().data
    try:
        free = shutil.disk_usage(data).free
    except OSError as error:
        raise NotReady("The data folder cannot be read.") from error
    if free < LEAST_FREE:
        raise NotReady(f"The data folder has {free // 2**20} MB left; make room.")
    return ReadinessResult(ok=True, said=f"The data folder has {free // 2**20} MB left.")


def _authority() -> ReadinessResult:
    """Follows the change feed: all changes saved by now are in force when this ends."""
    latest = feed.latest()
    path = settings.current().run / "authority.sock"
    asked = UnixConnection(path, seconds=SECONDS)
    try:
        asked.request("POST", f"/confirm?sequence={latest}")
        confirmed = asked.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, TimeoutError) and _shows("authority"):
            raise NotReady(f"The gateway does not follow change {latest}.") from error
        raise NotReady("It does not answer.") from error
    finally:
        asked.close()
    if not confirmed or _gateway_state().applied < latest:
        raise NotReady(f"The gateway does not follow change {latest}.")
    return ReadinessResult(ok=True, said=f"Change {latest}, the last one, is in force.")


def _limits() -> ReadinessResult:
    """The store of limits that gateways share; without it they go on, if OSTIARY_STORE_DOWN allows it."""
    try:
        shown = exposition.read(settings.current().run, "authority", seconds=SECONDS)
    except exposition.PartSilent as error:
        raise NotReady("The authority does not say whether the store answers.") from error
    if _value(shown, "ostiary_limit_store_up"):
        return ReadinessResult(ok=True, said="The store of shared limits answers.")
    if settings.current().store_down == "refuse":
        raise NotReady("The store of shared limits does not answer; limited calls are refused.")
    return ReadinessResult(
        ok=True,
        said="The store of shared limits does not answer; this gateway admits its share of each limit.",
    )


def _shows(part: str) -> bool:
    with contextlib.suppress(exposition.PartSilent):
        return bool(exposition.read(settings.current().run, part, seconds=SECONDS))
    return False


def _gateway_state() -> statistics.GatewayState:
    path = control_socket(_run())
    try:
        return statistics.state(path, seconds=SECONDS)
    except statistics.GatewaySilent as error:
        raise NotReady("nginx does not answer.") from error


def _gateway() -> ReadinessResult:
    check_gateway(_gateway_state(), at=time.time())
    refused = refused_file(_run())
    if refused.exists():
        raise NotReady(f"It runs with the files of an earlier start: {refused.read_text()[:300]}.")
    port = settings.current().gateway_bind[1]
    return ReadinessResult(ok=True, said=f"It takes calls on port {port}.")


def check_gateway(now: statistics.GatewayState, *, at: float) -> None:
    """Whether the gateway, as it says it is at a time, can do its work; raises NotReady."""
    if not now.workers:
        raise NotReady("nginx has no worker that takes calls.")
    oldest = at - min(now.workers.values())
    if oldest > OLDEST_TICK:
        raise NotReady(f"A worker of nginx has not moved for {oldest:.0f} s.")
    for name in WATCHED_DICTIONARIES:
        dictionary = now.dictionaries.get(name)
        if dictionary is None:
            raise NotReady(f"nginx has no memory for {name}.")
        if dictionary.share_free < LEAST_SHARE_FREE:
            raise NotReady(
                f"The gateway's memory for {name} is nearly full "
                f"({dictionary.share_free:.0%} of {dictionary.capacity // 2**20} MB is free)."
            )


def _run() -> Path:
    return settings.current().run


def _publisher_client() -> PublisherClient:
    return PublisherClient(_run() / "publisher.sock")


def _publisher_state() -> publisher_client.PublisherState:
    try:
        return _publisher_client().state(seconds=SECONDS)
    except PublisherSilent as error:
        raise NotReady("It does not answer.") from error


def check_publisher() -> ReadinessResult:
    """The gateway holds all changes saved by now, and no object was set aside."""
    now = _publisher_state()
    latest = feed.latest()
    if now.published < latest and not _publisher_client().confirm(latest, SECONDS):
        trouble = f" {now.troubles[0]}" if now.troubles else ""
        raise NotReady(f"The gateway does not have the objects of change {latest}.{trouble}")
    if now.set_aside:
        shown = ", ".join(f"{each.kind} {each.id}" for each in now.set_aside[:MOST_NAMED])
        raise NotReady(f"The gateway does not get {_counted(shown, len(now.set_aside))}.")
    return ReadinessResult(
        ok=True, said=f"The gateway has {now.objects} objects, and none was set aside."
    )


def check_upstreams() -> ReadinessResult:
    """Servers of connections that a collection uses."""
    now = _publisher_state()
    bad = [each for each in now.servers if each.state in {"down", "unresolved"}]
    used = set(
        Collection.objects.filter(connection_id__in={each.connection for each in bad}).values_list(
            "connection_id", flat=True
        )
    )
    bad = [each for each in bad if each.connection in used]
    if bad:
        shown = ", ".join(
            f"{each.host}:{each.port} of connection {each.connection} is {each.state}"
            for each in bad[:MOST_NAMED]
        )
        raise NotReady(f"{_counted(shown, len(bad))}.")
    stale = sorted({each.host for each in now.servers if each.state == "stale"})
    if stale:
        shown = _counted(", ".join(stale[:MOST_NAMED]), len(stale))
        return ReadinessResult(
            ok=True, said=f"Names that do not answer, called at their last addresses: {shown}."
        )
    return ReadinessResult(ok=True, said=f"None of {len(now.servers)} servers is known to be down.")


def _counted(shown: str, number: int) -> str:
    return f"{shown} and {number - MOST_NAMED} more" if number > MOST_NAMED else shown


def _recipes() -> ReadinessResult:
    if not _shows("recipes"):
        raise NotReady("It does not answer.")
    if not settings.current().recipes.is_dir():
        raise NotReady("Its folder is gone.")
    return ReadinessResult(ok=True, said="It answers, and its folder is there.")


def _recipe_files() -> ReadinessResult:
    """The folder has every recipe that an active endpoint runs."""
    try:
        found = recipe_runner.recipes(_run() / "recipes-control.sock", seconds=SECONDS)
    except recipe_runner.RunnerGone as error:
        raise NotReady("The recipe runner does not answer.") from error
    wanted = Recipe.objects.filter(started=True, endpoints__active=True)
    gone = sorted(set(wanted.values_list("name", flat=True)) - {each.name for each in found})
    if gone:
        shown = _counted(", ".join(gone[:MOST_NAMED]), len(gone))
        raise NotReady(f"Active endpoints run recipes that the folder does not have: {shown}.")
    return ReadinessResult(
        ok=True, said=f"The folder has {len(found)} recipes, and every one that is run."
    )


def _collector() -> ReadinessResult:
    try:
        shown = exposition.read(settings.current().run, "collector", seconds=SECONDS)
    except exposition.PartSilent as error:
        raise NotReady("It does not answer.") from error
    stored = _value(shown, "ostiary_collector_last_harvest_timestamp_seconds")
    age = time.time() - stored
    if age > OLDEST_COUNTS:
        raise NotReady("It has not written what the gateway counted for a while.")
    return ReadinessResult(ok=True, said="What the gateway counted is written.")


def _value(shown: list[Metric], name: str) -> float:
    """The value of a metric without labels; 0 if it is missing."""
    return next((s.value for m in shown for s in m.samples if s.name == name), 0.0)
