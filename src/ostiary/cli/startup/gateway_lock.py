"""One gateway on one PostgreSQL database, unless they count limits together; else one of each name.

Two that count for themselves would each admit what a limit allows. Session-level advisory locks, held by
the authority's process for its life. An SQLite file has the lock of its data folder.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, LiteralString

from ostiary.cli.failure import Failure
from ostiary.settings import Database, Settings

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


@dataclass(frozen=True, slots=True)
class Locks:
    """What a gateway locks: the database alone, or with others that count with it; then its name."""

    database: Database
    #: The node's name where several count limits together; empty: it is to be the only gateway.
    node: str = ""

    @classmethod
    def of(cls, settings: Settings) -> "Locks":
        return cls(settings.database, settings.node if settings.redis_url else "")

    def taken(self, session: "psycopg.Connection[tuple[object, ...]]") -> str:
        """Take them in a session; the sentence for the operator if they are held by another."""
        if not self.node:
            if _try(session, "SELECT pg_try_advisory_lock(%s)", LOCK):
                return ""
            return (
                "Another gateway is running on this database; stop it, use another database, or set"
                " OSTIARY_REDIS_URL for each of them, so that they count limits together (`ostiary control`"
                " may run on several machines)."
            )
        if not _try(session, "SELECT pg_try_advisory_lock_shared(%s)", LOCK):
            return (
                "A gateway without OSTIARY_REDIS_URL is running on this database; stop it, and start it"
                " with that setting."
            )
        if not _try(session, "SELECT pg_try_advisory_lock(%s, hashtext(%s))", LOCK, self.node):
            session.execute("SELECT pg_advisory_unlock_shared(%s)", [LOCK])
            return (
                f"A gateway with the name {self.node} is running on this database; set OSTIARY_NODE to"
                " another name."
            )
        return ""


def check(locks: Locks) -> None:
    """Raise Failure if a gateway with these locks may not start now; no lock is kept."""
    if locks.database.engine != "postgresql":
        return
    import psycopg

    try:
        with _connected(locks.database) as connection:
            _take(connection, locks)
    except psycopg.Error:
        # The next query reports what is wrong with the database.
        return


@contextlib.contextmanager
def held(locks: Locks) -> Iterator[None]:
    """Hold the lock, as far as the database can be reached; raises Failure if another has it.

    A gateway that loses its connection goes on, and takes the lock again when it can.
    """
    if locks.database.engine != "postgresql":
        yield
        return
    holder = _Holder(locks)
    holder.take_first()
    holder.start()
    try:
        yield
    finally:
        holder.end()


class _Holder(threading.Thread):
    """Keeps the session with the lock."""

    def __init__(self, locks: Locks) -> None:
        super().__init__(name="gateway-lock", daemon=True)
        self._locks = locks
        self._ended = threading.Event()
        self._session: psycopg.Connection[tuple[object, ...]] | None = None
        self._refused = False

    def take_first(self) -> None:
        """Take the lock before anything is served; raises Failure if another gateway has it."""
        import psycopg

        with contextlib.suppress(psycopg.Error):
            session = _connected(self._locks.database)
            try:
                _take(session, self._locks)
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
                self._session = _connected(self._locks.database)
                self._taken_again(self._session)
            else:
                self._session.execute("SELECT 1")
        except psycopg.Error:
            self._close()

    def _taken_again(self, session: "psycopg.Connection[tuple[object, ...]]") -> None:
        problem = self._locks.taken(session)
        if problem:
            self._close()
            if not self._refused:
                log.error("the lock of this gateway is held by another: %s", problem)
        self._refused = bool(problem)

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


def _take(connection: "psycopg.Connection[tuple[object, ...]]", locks: Locks) -> None:
    give_up = time.monotonic() + PATIENCE
    while problem := locks.taken(connection):
        if time.monotonic() > give_up:
            raise Failure(problem)
        time.sleep(0.1)


def _try(
    connection: "psycopg.Connection[tuple[object, ...]]", statement: LiteralString, *values: object
) -> bool:
    row = connection.execute(statement, values).fetchone()
    return row is not None and row[0] is True
