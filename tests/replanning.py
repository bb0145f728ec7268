"""Many published objects, and all of them changed again and again, past the management API.

As a restored backup, a script or a thousand editors would; what is written is what the API writes.
"""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self

from tests.stage import Stage


@contextmanager
def database(data: Path) -> Iterator[sqlite3.Connection]:
    """A transaction in the directory's database."""
    with closing(sqlite3.connect(data / "ostiary.sqlite3", timeout=60)) as connection:
        with connection:
            yield connection


def _copied(connection: sqlite3.Connection, table: str, row: int, **changes: Any) -> int:
    """Insert a copy of a row; its id."""
    names = [
        name
        for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")
        if name not in {"id", *changes}
    ]
    columns = ", ".join([*names, *changes])
    values = ", ".join([*names, *("?" for _ in changes)])
    done = connection.execute(
        f"INSERT INTO {table} ({columns}) SELECT {values} FROM {table} WHERE id = ?",
        (*changes.values(), row),
    )
    return int(done.lastrowid or 0)


def multiply(data: Path, collection: int, endpoint: int, *, times: int, each: int) -> list[int]:
    """Copies of a collection, each with so many copies of one of its endpoints; their ids."""
    made = []
    with database(data) as connection:
        for number in range(times):
            copy = _copied(
                connection, "directory_collection", collection,
                name=f"Copy {number}", handle=f"copy-{number}",
            )  # fmt: skip
            more_endpoints(connection, copy, endpoint, each)
            made.append(copy)
    return made


def more_endpoints(
    connection: sqlite3.Connection, collection: int, endpoint: int, number: int
) -> None:
    """Copies of an endpoint in a collection."""
    for at in range(number):
        path = f"/copies/{at}"
        _copied(
            connection, "directory_endpoint", endpoint,
            collection_id=collection, path=path, shape=path, target_path="", name=path,
        )  # fmt: skip


def more_silent_connections(data: Path, connection_id: int, number: int) -> None:
    """Copies of a connection whose names no server answers, each of a copy of its own."""
    with database(data) as connection:
        for at in range(number):
            copy = _copied(
                connection, "directory_connection", connection_id,
                name=f"Silent {at}", base_urls=f'["http://silent-{at}.example"]',
            )  # fmt: skip
            connection.execute(
                "INSERT INTO directory_change (kind, object_id, at)"
                " VALUES ('connection', ?, datetime('now'))",
                (copy,),
            )


class Replanning:
    """Changes everything that is published of these collections, one after another, until its end."""

    def __init__(self, stage: Stage, collections: list[int], *, pause: float = 0.0) -> None:
        self._data, self._collections, self._pause = stage.data, collections, pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.changes = 0

    def _run(self) -> None:
        turn = 0
        while not self._stop.is_set():
            turn += 1
            for collection in self._collections:
                if self._stop.is_set():
                    return
                with database(self._data) as connection:
                    connection.execute(
                        "UPDATE directory_endpoint SET timeout_seconds = ? WHERE collection_id = ?",
                        (30 + turn % 2, collection),
                    )
                    connection.execute(
                        "INSERT INTO directory_change (kind, object_id, at)"
                        " VALUES ('collection', ?, datetime('now'))",
                        (collection,),
                    )
                self.changes += 1
                # Else we, not the product, hold the one lock of SQLite all the time.
                self._stop.wait(self._pause or 0.002)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)


class Caller:
    """Calls with one token, one after another; when each was begun, and its status."""

    def __init__(self, stage: Stage, target: str, token: str) -> None:
        self._stage, self._target, self._token = stage, target, token
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.calls: list[tuple[float, int]] = []

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            self.calls.append((began, self._stage.call(self._target, self._token).status))
            # Each has a connection of its own, and their ports are taken for a minute.
            self._stop.wait(0.005)

    def passed_after(self, moment: float) -> int:
        """Calls that were begun after a moment (monotonic) and admitted."""
        return sum(began > moment and status == 200 for began, status in self.calls)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
