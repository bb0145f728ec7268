"""A PostgreSQL cluster of our own, in a temporary folder, reached by a Unix socket alone."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote


def _programs() -> Path:
    return max(Path("/usr/lib/postgresql").glob("*/bin"))


def _words(*words: str) -> list[str]:
    """`initdb` and the server refuse root."""
    return ["runuser", "-u", "postgres", "--", *words] if os.geteuid() == 0 else list(words)


def _run(*words: str) -> None:
    subprocess.run(_words(*words), check=True, capture_output=True)


def program(name: str, *words: str) -> None:
    """Run one of PostgreSQL's programs."""
    _run(str(_programs() / name), *words)


@contextmanager
def cluster() -> Iterator[str]:
    """A running cluster with an empty database; its URL for `OSTIARY_DATABASE_URL`."""
    folder = Path(tempfile.mkdtemp(prefix="ostiary-pg-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")
    programs = _programs()
    data = folder / "data"
    options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
    try:
        _run(
            str(programs / "initdb"), "-D", str(data), "-U", "ostiary", "-A", "trust", "-E", "UTF8"
        )
        control = [str(programs / "pg_ctl"), "-D", str(data), "-w"]
        _run(*control, "-o", options, "-l", str(folder / "log"), "start")
        try:
            _run(
                str(programs / "createdb"), "-h", str(folder), "-U", "ostiary", "-T", "template0",
                "ostiary",
            )  # fmt: skip
            yield f"postgres://ostiary@/ostiary?host={quote(str(folder), safe='/')}"
        finally:
            _run(*control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
