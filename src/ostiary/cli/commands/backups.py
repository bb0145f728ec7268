"""`ostiary backup` and `ostiary restore`: one file with database, key ring and recipes.

The file is a compressed tar archive. Its first member says what made it and the SHA-256 of every other,
so that a damaged one is noticed before anything is restored.
"""

import contextlib
import hashlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from ostiary import __version__
from ostiary import settings as environment
from ostiary.authority.lookup import conninfo
from ostiary.cli.failure import Failure
from ostiary.cli.startup import data_folder, django_setup
from ostiary.settings import Database, Settings

MANIFEST = "manifest.json"
#: The form of the archive; another number: another release must read it.
FORM = 1
SQLITE, DUMP = "ostiary.sqlite3", "ostiary.dump"
#: Folders of recipes → the folder in the archive.
RECIPES, KEPT = "recipes", "recipes-kept"
#: The largest manifest that is read, in bytes.
LARGEST_MANIFEST = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What an archive says of itself."""

    form: int
    release: str
    made_at: str
    engine: str
    #: Names of the migrations that the database has had.
    migrations: list[str]
    #: Path in the archive → SHA-256 of the content.
    files: dict[str, str]


def back_up(settings: Settings, path: Path, *, with_keys: bool) -> None:
    """Write a backup of what runs, or of what is stopped; raises Failure."""
    if path.exists():
        raise Failure(f"{path} exists already; name a new file.")
    with django_setup.opened(settings), _scratch(path.parent) as scratch:
        _dump(settings.database, scratch)
        migrations = _applied()
        if with_keys:
            shutil.copyfile(settings.data / django_setup.KEY_RING, scratch / django_setup.KEY_RING)
        for name, folder in ((RECIPES, settings.recipes), (KEPT, settings.data / KEPT)):
            _copy_recipes(folder, scratch / name)
        files = sorted(each for each in scratch.rglob("*") if each.is_file())
        manifest = Manifest(
            form=FORM,
            release=__version__,
            made_at=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            engine=settings.database.engine,
            migrations=migrations,
            files={each.relative_to(scratch).as_posix(): _digest(each) for each in files},
        )
        _write(path, scratch, manifest)


def restore(settings: Settings, path: Path, *, keys: Path | None) -> None:
    """Make a data folder, and fill an empty PostgreSQL database, from a backup; raises Failure."""
    data = settings.data
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise Failure(f"{data} is not empty; name a new folder with --data. Nothing was changed.")
    with _scratch(data.parent) as scratch:
        manifest = _read(path, scratch)
        if manifest.engine != settings.database.engine:
            raise Failure(_other_engine(manifest.engine))
        if keys is not None:
            shutil.copyfile(keys, scratch / django_setup.KEY_RING)
        if not (scratch / django_setup.KEY_RING).exists():
            raise Failure(f"{path} has no key ring; name its file with --keys.")
        elsewhere = settings.recipes != data / RECIPES and (scratch / RECIPES).exists()
        if elsewhere and settings.recipes.exists() and any(settings.recipes.iterdir()):
            # Before anything is filled.
            raise Failure(
                f"{settings.recipes} is not empty; move its files away. Nothing was changed."
            )
        _check_release(scratch, manifest)
        if manifest.engine == "sqlite":
            data_folder.check_database(scratch / SQLITE)
            if settings.database.name != str(data / SQLITE):
                _place_database(scratch / SQLITE, Path(settings.database.name))
        else:
            _load(settings.database, scratch / DUMP)
            (scratch / DUMP).unlink()
        if elsewhere:
            _place_recipes(scratch / RECIPES, settings.recipes)
        # Nothing or an empty folder: whatever appeared meanwhile is not replaced.
        try:
            scratch.replace(data)
        except OSError as error:
            raise Failure(
                f"{data} cannot be made: {data_folder.reason(error)}; choose another with --data."
            ) from error


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A folder for us alone, beside where its content goes; gone at the end, unless it was moved."""
    os.umask(0o077)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".ostiary-", dir=folder))
    except OSError as error:
        raise Failure(f"{folder} cannot be written: {data_folder.reason(error)}.") from error
    try:
        yield scratch
    except (OSError, sqlite3.Error) as error:
        said = data_folder.reason(error) if isinstance(error, OSError) else str(error)
        raise Failure(f"It did not work: {said}.") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


# Making one.


def _dump(database: Database, folder: Path) -> None:
    """The database as it is at one moment."""
    if database.engine == "sqlite":
        with contextlib.closing(sqlite3.connect(database.name, timeout=30)) as connection:
            connection.execute("VACUUM INTO ?", [str(folder / SQLITE)])
        return
    _postgresql("pg_dump", database, "--format=custom", f"--file={folder / DUMP}")


def _postgresql(program: str, database: Database, *words: str) -> None:
    """Run one of PostgreSQL's programs; the password is in its environment, which others cannot see."""
    if shutil.which(program) is None:
        raise Failure(f"{program} is missing; install it (on Debian: postgresql-client).")
    target = {
        "PGHOST": database.host, "PGPORT": database.port, "PGUSER": database.user,
        "PGPASSWORD": database.password, "PGDATABASE": database.name,
    }  # fmt: skip
    env = environment.environment(**{name: value for name, value in target.items() if value})
    done = subprocess.run(  # noqa: PLW1510 - looked at below
        [program, "--no-password", *words], env=env, capture_output=True, text=True
    )
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or ["it failed"])[0].rstrip(".")
        raise Failure(f"{said}.")


def _applied() -> list[str]:
    """Ostiary's migrations that the database has had."""
    from django.apps import apps
    from django.db import connection
    from django.db.migrations.recorder import MigrationRecorder

    ours = {each.label for each in apps.get_app_configs() if each.name.startswith("ostiary.")}
    applied = MigrationRecorder(connection).applied_migrations()
    return sorted(f"{app}.{name}" for app, name in applied if app in ours)


def _copy_recipes(folder: Path, to: Path) -> None:
    """Copy regular files; a link could lead anywhere when it is restored."""
    if not folder.is_dir():
        return
    for each in folder.rglob("*"):
        inner = each.relative_to(folder)
        if each.is_symlink() or not each.is_file() or "__pycache__" in inner.parts:
            continue
        (to / inner).parent.mkdir(parents=True, exist_ok=True)
        # One that is being replaced at this moment is not there.
        with contextlib.suppress(FileNotFoundError):
            shutil.copyfile(each, to / inner)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write(path: Path, folder: Path, manifest: Manifest) -> None:
    unfinished = folder / "archive"
    with tarfile.open(unfinished, "w:gz", compresslevel=1) as archive:
        content = json.dumps(asdict(manifest), indent=1).encode()
        member = tarfile.TarInfo(MANIFEST)
        member.size, member.mode = len(content), 0o600
        archive.addfile(member, io.BytesIO(content))
        for name in manifest.files:
            member = tarfile.TarInfo(name)
            member.size, member.mode = (folder / name).stat().st_size, 0o600
            with (folder / name).open("rb") as file:
                archive.addfile(member, file)
    with unfinished.open("rb") as file:
        os.fsync(file.fileno())
    try:
        # Unlike a rename it replaces nothing.
        path.hardlink_to(unfinished)
    except FileExistsError as error:
        raise Failure(f"{path} exists already; name a new file.") from error


# Reading one.


def _read(path: Path, folder: Path) -> Manifest:
    """Unpack a backup whose every file is as it was; raises Failure."""
    damaged = Failure(f"{path} is damaged or is not a backup of Ostiary. Nothing was changed.")
    if not path.is_file():
        raise Failure(f"There is no file {path}.")
    try:
        with tarfile.open(path, "r:gz") as archive:
            manifest = _manifest(archive, damaged)
            found: dict[str, str] = {}
            for member in archive:
                if member.name == MANIFEST:
                    continue
                if not member.isreg() or not _is_known(member.name) or member.name in found:
                    raise damaged
                found[member.name] = _unpack(archive, member, folder / member.name)
    except (tarfile.TarError, EOFError, OSError, ValueError, TypeError, KeyError) as error:
        raise damaged from error
    if found != manifest.files:
        raise damaged
    return manifest


def _manifest(archive: tarfile.TarFile, damaged: Failure) -> Manifest:
    member = archive.next()
    if member is None or member.name != MANIFEST or member.size > LARGEST_MANIFEST:
        raise damaged
    file = archive.extractfile(member)
    said: dict[str, Any] = json.loads(b"" if file is None else file.read())
    if isinstance(said["form"], int) and said["form"] > FORM:
        raise Failure(
            f"A newer Ostiary ({said.get('release', 'unknown')}) made this backup, and this release"
            f" ({__version__}) cannot read it; restore it with that release."
        )
    return Manifest(**said)


def _is_known(name: str) -> bool:
    """Whether a path is one that a backup has: nothing is written elsewhere."""
    parts = PurePosixPath(name).parts
    if ".." in parts or name.startswith("/"):
        return False
    return name in {SQLITE, DUMP, django_setup.KEY_RING} or (
        len(parts) > 1 and parts[0] in {RECIPES, KEPT}
    )


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> str:
    file, digest = archive.extractfile(member), hashlib.sha256()
    assert file is not None  # noqa: S101 - a regular file has content
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("xb") as to:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            to.write(chunk)
    return digest.hexdigest()


def _other_engine(engine: str) -> str:
    if engine == "sqlite":
        return "This is a backup of an SQLite database; unset OSTIARY_DATABASE_URL to restore it."
    return (
        "This is a backup of a PostgreSQL database; set OSTIARY_DATABASE_URL to an empty one to"
        " restore it."
    )


def _check_release(folder: Path, manifest: Manifest) -> None:
    """Raise Failure if a newer release made the backup, or if the key ring cannot be read."""
    environment.adopt(OSTIARY_DATA=str(folder))
    django_setup.set_up_django()
    from django.db.migrations.loader import MigrationLoader

    known: set[tuple[str, str]] = set()
    for name, migration in MigrationLoader(None).disk_migrations.items():
        known.update([name, *migration.replaces])
    unknown = sorted(set(manifest.migrations) - {".".join(name) for name in known})
    if unknown:
        raise Failure(
            f"A newer Ostiary ({manifest.release}) made this backup: its database has {unknown[-1]},"
            f" which this release ({__version__}) does not know; restore it with that release."
        )


def _place_database(path: Path, target: Path) -> None:
    """With `OSTIARY_DATABASE_URL=sqlite:///…` the file belongs elsewhere."""
    if target.exists():
        raise Failure(f"{target} exists already; move it away. Nothing was changed.")
    shutil.move(path, target)


def _place_recipes(folder: Path, target: Path) -> None:
    """Move recipes to the folder that `OSTIARY_RECIPES` names, which is empty."""
    if target.exists():
        target.rmdir()
    shutil.move(folder, target)


def _load(database: Database, dump: Path) -> None:
    import psycopg

    try:
        with psycopg.connect(conninfo(database), connect_timeout=10) as connection:
            statement = (
                "SELECT count(*) FROM pg_catalog.pg_tables"
                " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            )
            row = connection.execute(statement).fetchone()
    except psycopg.Error as error:
        said = str(error).strip().partition("\n")[0].rstrip(".")
        raise Failure(f"The database cannot be used: {said}.") from error
    if row is None or row[0]:
        raise Failure(
            f"The database {database.name} is not empty; name an empty one in OSTIARY_DATABASE_URL."
            " Nothing was changed."
        )
    _postgresql(
        "pg_restore", database, "--no-owner", "--single-transaction", "--exit-on-error",
        f"--dbname={database.name}", str(dump),
    )  # fmt: skip
