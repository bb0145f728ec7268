"""Prepares the data folder before anything starts: keys, tables, the demo.

A process of its own, so that the supervisor need not keep Django in memory. It prints what a greeting
needs.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path

from ostiary import settings as environment
from ostiary.cli.failure import Failure
from ostiary.cli.startup import addresses, data_folder, django_setup, gateway_lock
from ostiary.settings import Settings
from ostiary.telemetry import logs

#: PostgreSQL advisory lock: of several machines that start at once, one migrates.
MIGRATION_LOCK = 0x6F73746D

#: Exit status of a preparation whose database does not answer.
AWAY = 3
#: What a preparation prints first: that there is a key ring.
KEYS = "keys\n"

#: Tells that the data folder was set up with the demo, and on which port its upstream is.
DEMO = "demo.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisioned:
    """What preparation reports to a start."""

    #: Whether there is somebody who can sign in.
    anybody: bool = True
    #: What to print about a demo that was just made, with its secrets; else empty.
    demo: str = ""
    #: The address of the demo's admin, if there is one.
    admin: str = ""


class DatabaseAway(Failure):
    """The database does not answer, so nothing could be prepared."""


def has_demo(settings: Settings) -> bool:
    return (settings.data / DEMO).exists()


def demo_port(settings: Settings) -> int:
    """The demo upstream's port; 0, for any, before there is a demo."""
    try:
        return int(json.loads((settings.data / DEMO).read_text())["port"])
    except FileNotFoundError:
        return 0


def run(*, gateway: bool, demo_port: int | None, with_keys: Callable[[], None]) -> Provisioned:
    """Prepare in a child process.

    `with_keys` is called as soon as there is a key ring. Raises Failure, DatabaseAway.
    """
    arguments = [f"gateway={int(gateway)}", f"demo={demo_port or 0}"]
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [sys.executable, "-P", "-m", "ostiary.cli.startup.provisioning", *arguments],
            env=environment.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None  # noqa: S101 - asked for above
        if process.stdout.readline() == KEYS:
            with_keys()
        shown = process.stdout.read()
        status = process.wait()
        errors.seek(0)
        said = errors.read()
    if status == AWAY:
        raise DatabaseAway(said.strip())
    if status != 0:
        # One sentence if it was foreseen; else the trace, for us.
        raise Failure(said.strip() or "The data folder could not be prepared.")
    sys.stderr.write(said)
    return Provisioned(**json.loads(shown))


def prepare(settings: Settings, *, gateway: bool, demo_port: int | None) -> Provisioned:
    """Check, migrate and fill; raises Failure, DatabaseAway."""
    if settings.database.engine == "sqlite":
        data_folder.check_database(Path(settings.database.name))
    django_setup.set_up_django()
    with django_setup.sentences():
        if gateway:
            _check_nginx()
            gateway_lock.check(gateway_lock.Locks.of(settings))
        _check_answers()
        _check_keys(settings)
        sys.stdout.write(KEYS)
        sys.stdout.flush()
        _check_release()
        _migrate()
        _ensure()
        if _anybody():
            _forget_demo(settings)
            return Provisioned(admin=_demo_admin())
        if not demo_port:
            return Provisioned(anybody=False)
        demo = _make_demo(settings, demo_port)
        return Provisioned(demo=demo, admin=_demo_admin())


def _check_nginx() -> None:
    from ostiary.gateway import launch

    try:
        launch.check()
    except launch.LaunchError as error:
        raise Failure(str(error)) from error


def _check_answers() -> None:
    from django.db import OperationalError, connection

    try:
        connection.ensure_connection()
    except OperationalError as error:
        if connection.vendor != "postgresql":
            raise
        said = str(error).strip().partition("\n")[0].rstrip(".")
        raise DatabaseAway(f"The database cannot be used: {said}.") from error


def _check_keys(settings: Settings) -> None:
    """Make the key ring at the first start; never a second one beside an old database."""
    from django.db import connection

    from ostiary.identity.sealing import KeyRing

    ring = settings.data / django_setup.KEY_RING
    if not ring.exists() and "django_migrations" in connection.introspection.table_names():
        raise Failure(
            f"The key ring {ring} is missing, and the database holds what only it can open; restore"
            " it from backup, or copy it from another machine of this workspace."
        )
    KeyRing.load_or_create(ring)


def _check_release() -> None:
    """Raise Failure if a newer release has used the database: our writes could break its data."""
    from django.apps import apps
    from django.db import connection
    from django.db.migrations.loader import MigrationLoader

    loader = MigrationLoader(connection)
    known = set(loader.disk_migrations)
    for migration in loader.disk_migrations.values():
        known.update(migration.replaces)
    ours = {each.label for each in apps.get_app_configs() if each.name.startswith("ostiary.")}
    applied = loader.applied_migrations or {}
    unknown = sorted(
        f"{app}.{name}" for app, name in applied if app in ours and (app, name) not in known
    )
    if unknown:
        raise Failure(
            f"A newer Ostiary has used this database (it has {unknown[-1]}, which this release does"
            " not know); start that release or a newer one, or restore the backup from before."
        )


def missing_migrations() -> int:
    """How many migrations of this release the database lacks; raises Failure if it is a newer one's."""
    from django.db import connection
    from django.db.migrations.loader import MigrationLoader

    _check_release()
    loader = MigrationLoader(connection)
    return len(set(loader.disk_migrations) - set(loader.applied_migrations or {}))


def _migrate() -> None:
    from django.core.management import call_command
    from django.db import connection

    locked = connection.vendor == "postgresql"
    if locked:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
    call_command("migrate", verbosity=0, interactive=False)
    if locked:
        # The session holds the lock beyond its transactions; a failed process frees it by ending.
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [MIGRATION_LOCK])
    connection.close()


def _ensure() -> None:
    from ostiary.directory.workspace import setup

    setup.ensure()


def _make_demo(settings: Settings, port: int) -> str:
    # Before the demo: its connection leads to this port for good.
    (settings.data / DEMO).write_text(json.dumps({"port": port}))
    at = addresses.of(settings)
    demo = import_module("ostiary.samples.demo")
    from django.db import transaction

    # All of it or nothing: half a demo would be in the way of the next start.
    with transaction.atomic():
        shown: str = demo.create(
            upstream=f"http://127.0.0.1:{port}",
            recipes=settings.recipes,
            console=at.public_console or at.console,
            gateway=at.gateway,
            now=int(time.time()),
        )
    return shown


def _anybody() -> bool:
    from ostiary.directory.models import Member

    return Member.objects.exists()


def _forget_demo(settings: Settings) -> None:
    """Stop the sample service for good once no connection leads to it: the demo was removed."""
    from ostiary.directory.models import Connection

    if not has_demo(settings):
        return
    address = f"http://127.0.0.1:{demo_port(settings)}"
    if not any(address in urls for urls in Connection.objects.values_list("base_urls", flat=True)):
        (settings.data / DEMO).unlink()


def _demo_admin() -> str:
    """The address of the demo's admin, who stays when the demo is removed."""
    from ostiary.directory.models import Member

    email: str = import_module("ostiary.samples.demo_admin").ADMIN
    return email if Member.objects.filter(email=email).exists() else ""


def main(argv: list[str]) -> int:
    os.umask(0o077)
    logs.set_up("preparation", environment.current().log_format)
    options = dict(argument.split("=") for argument in argv[1:])
    try:
        provisioned = prepare(
            environment.current(),
            gateway=options["gateway"] == "1",
            demo_port=int(options["demo"]) or None,
        )
    except Failure as failure:
        sys.stderr.write(f"{failure}\n")
        return AWAY if isinstance(failure, DatabaseAway) else 1
    json.dump(asdict(provisioned), sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
