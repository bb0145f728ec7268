"""The database itself: its errors as sentences, and the order of writers on PostgreSQL.

Knows no table.
"""

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    ProgrammingError,
    connection,
    connections,
)
from django.db.backends.signals import connection_created

#: PostgreSQL advisory lock that writers queue for, and that makes ids of the change feed become
#: visible in their order: an id is drawn and committed while no other writer draws one, so that
#: `id > last` never skips a late commit.
FEED_LOCK = 0x6F737469

#: PostgreSQL advisory lock of whoever puts an API behind the gateway in one step: two who do it at once
#: would both find nothing there.
PROTECT_LOCK = 0x6F737470

#: Milliseconds on PostgreSQL that one statement of console or API may take, that it may wait for a
#: lock, and that a transaction may be open with nothing to do.
STATEMENT_MS, LOCK_MS, IDLE_MS = 30_000, 10_000, 30_000

Execute = Callable[[str, Any, bool, dict[str, Any]], Any]

#: What SQLite and PostgreSQL say → what it means. The first that fits.
_TROUBLES = (
    (
        ("malformed", "not a database", "invalid page"),
        "The database is damaged; stop Ostiary, keep a copy of the file, and restore a backup.",
    ),
    (
        ("disk is full", "No space left", "disk I/O error"),
        "The disk of the database is full or fails; make room and try again.",
    ),
    (("readonly", "read-only"), "The database cannot be written; check who owns its file."),
    (
        ("locked", "lock timeout", "deadlock", "could not serialize"),
        "The database is busy with another change; try again.",
    ),
    (
        ("too many clients", "connection slots", "get a connection"),
        "The database has no connection free; try again.",
    ),
    (("statement timeout",), "The database took too long for this; try again."),
)
OTHERWISE = "The database does not answer; try again."

_damaged: list[str] = []


def is_trouble(error: BaseException | None) -> bool:
    """Whether an error is the database's own: not a fault in what it was asked."""
    faults = DataError | IntegrityError | NotSupportedError | ProgrammingError
    return isinstance(error, DatabaseError | InterfaceError) and not isinstance(error, faults)


def trouble(error: BaseException) -> str:
    """What a database's error means to the caller. Never its text, which may hold a value."""
    if isinstance(error, InterfaceError):
        return OTHERWISE
    said = str(error)
    sentence = next((text for words, text in _TROUBLES if any(w in said for w in words)), OTHERWISE)
    if sentence is _TROUBLES[0][1]:
        _note_damage()
    return sentence


def _note_damage() -> None:
    if not _damaged:
        _damaged.append(_TROUBLES[0][1])


def look(path: Path) -> None:
    """Read a whole SQLite file for damage, beside whoever uses it; `damage` says what was found.

    Takes as long as reading the file does. A file that cannot be looked at now is left for later.
    """
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
        ) as connection:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError:
        return
    except sqlite3.DatabaseError:
        _note_damage()
        return
    if found != ("ok",):
        _note_damage()


def damage() -> str:
    """The sentence about a damaged database, once this process has come upon one; else empty."""
    return _damaged[0] if _damaged else ""


def queue_writers() -> None:
    """On PostgreSQL, let transactions of this process queue before their first statement.

    As on SQLite, one writes at a time: who holds rows never waits for who holds the feed. Whatever
    waits too long ends with an error, and nothing of it is saved.
    """
    if connection.vendor != "postgresql":
        return
    options = connections.settings["default"].setdefault("OPTIONS", {})
    options["options"] = (
        f"-c statement_timeout={STATEMENT_MS} -c lock_timeout={LOCK_MS}"
        f" -c idle_in_transaction_session_timeout={IDLE_MS}"
    )
    connection_created.connect(_watch, dispatch_uid="queue_writers")


def _watch(*, connection: Any, **_: object) -> None:
    if _in_turn not in connection.execute_wrappers:
        connection.execute_wrappers.append(_in_turn)


def _in_turn(
    execute: Execute, sql: str, params: Any, many: bool, context: dict[str, Any]
) -> Any:  # fmt: skip
    wrapper = context["connection"]
    if wrapper.in_atomic_block:
        from psycopg.pq import TransactionStatus

        session = wrapper.connection
        if session.info.transaction_status == TransactionStatus.IDLE:
            with wrapper.wrap_database_errors:
                session.execute("SELECT pg_advisory_xact_lock(%s)", [FEED_LOCK])
    return execute(sql, params, many, context)
