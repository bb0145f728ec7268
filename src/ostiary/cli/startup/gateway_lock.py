"""One gateway on one PostgreSQL database: two would each count for themselves alone.

A session-level advisory lock, held by the authority's process for its life. An SQLite file has the
lock of its data folder.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ostiary.cli.failure import Failure
from ostiary.settings import Database

if TYPE_CHECKING:
    import psycopg

log = logging.getLogger(__name__)

#: The lock's number; no other lock of Ostiary in the database has it.
LOCK = 0x6F737467
#: Seconds until the session of a process that was just killed is gone.
PATIENCE = 5.0
#: Seconds between two looks at whether the session still holds.
INTERVAL = 5.0
#: A host that vanishes without a word is forgotten by the server after half a minute.
KEEPALIVES = (
    "SET tcp_keepalives_idle = 10; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 4"
)


def check(database: Database) -> None:
    """Raise Failure if another gateway runs on the database; the lock is not kept."""
    if database.engine != "postgresql":
        return
    import psycopg

    try:
        with _connected(database) as connection:
            _take(connection)
    except psycopg.Error:
        # The next query reports what is wrong with the database.
        return


@contextlib.contextmanager
def held(database: Database) -> Iterator[None]:
    """Hold the lock, as far as the database can be reached; raises Failure if another has it.

    A gateway that loses its connection goes on, and takes the lock again when it can.
    """
    if database.engine != "postgresql":
        yield
        return
    holder = _Holder(database)
    holder.take_first()
    holder.start()
    try:
        yield
    finally:
        holder.end()


class _Holder(threading.Thread):
    """Keeps the session with the lock."""

    def __init__(self, database: Database) -> None:
        super().__init__(name="gateway-lock", daemon=True)
        self._database = database
        self._ended = threading.Event()
        self._session: psycopg.Connection[tuple[object, ...]] | None = None
        self._refused = False

    def take_first(self) -> None:
        """Take the lock before anything is served; raises Failure if another gateway has it."""
        import psycopg

        with contextlib.suppress(psycopg.Error):
            session = _connected(self._database)
            try:
                _take(session)
            except BaseException:
                session.close()
                raise
            self._session = session

    def run(self) -> None:
        while not self._ended.wait(INTERVAL):
            self._look()
        self._close()

    def end(self) -> None:
        self._ended.set()
        # It may wait for a database that does not answer; the process ends all the same.
        self.join(timeout=1.0)

    def _look(self) -> None:
        import psycopg

        try:
            if self._session is None:
                self._session = _connected(self._database)
                self._taken_again(self._session)
            else:
                self._session.execute("SELECT 1")
        except psycopg.Error:
            self._close()

    def _taken_again(self, session: "psycopg.Connection[tuple[object, ...]]") -> None:
        taken = _try(session)
        if not taken:
            self._close()
            if not self._refused:
                log.error(
                    "another gateway runs on this database: calls are counted by each alone; stop"
                    " one of them"
                )
        self._refused = not taken

    def _close(self) -> None:
        if self._session is not None:
            self._session.close()
        self._session = None


def _connected(database: Database) -> "psycopg.Connection[tuple[object, ...]]":
    import psycopg

    connection = psycopg.connect(
        dbname=database.name,
        user=database.user or None,
        password=database.password or None,
        host=database.host or None,
        port=database.port or None,
        autocommit=True,
        connect_timeout=5,
        # Ours, too: a server that vanishes must not be waited for.
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=4,
        application_name="ostiary gateway",
    )
    connection.execute(KEEPALIVES)
    return connection


def _take(connection: "psycopg.Connection[tuple[object, ...]]") -> None:
    give_up = time.monotonic() + PATIENCE
    while not _try(connection):
        if time.monotonic() > give_up:
            raise Failure(
                "Another gateway is running on this database; stop it, or use another database"
                " (`ostiary control` and `ostiary recipes` may run on several machines)."
            )
        time.sleep(0.1)


def _try(connection: "psycopg.Connection[tuple[object, ...]]") -> bool:
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK]).fetchone()
    return row is not None and row[0] is True
