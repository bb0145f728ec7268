"""Statements that write many rows at once, for SQLite and PostgreSQL.

Django's `bulk_create` takes ten times as long for each row, which is too long for log lines.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, starmap

from django.db import connection

from ostiary.usage.models import (
    CounterBaseline,
    LoggedCall,
    LogPosition,
    MinuteCount,
    MinuteLatency,
    QuotaCount,
)

#: A value of a row, in the order of its table's columns.
Row = Sequence[int | str]

#: How an upsert changes a column of an existing row.
_KEEP_LARGEST, _ADD = "largest", "add"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Insert:
    """An upsert: inserts rows, or changes rows with equal `unique` columns."""

    table: str
    #: Column → its type in PostgreSQL.
    columns: Mapping[str, str]
    unique: tuple[str, ...] = ()
    #: Column → how an upsert changes it.
    conflicts: Mapping[str, str] = field(default_factory=dict)

    def write(self, rows: Sequence[Row]) -> None:
        """Write them in one statement; no two may be equal in `unique`. Raises DatabaseError."""
        if not rows:
            return
        if connection.vendor != "postgresql":
            self._write_to_sqlite(rows)
        elif self.unique or not self._copy(rows):
            columns = list(map(list, zip(*rows, strict=True)))
            with connection.cursor() as cursor:
                cursor.execute(_for_postgresql(self), columns)

    def _copy(self, rows: Sequence[Row]) -> bool:
        """Write by COPY, which takes a tenth of the time; false for what needs more escaping."""
        text = "\n".join(["\t".join(map(str, row)) for row in rows]) + "\n"
        if text.count("\t") != len(rows) * (len(self.columns) - 1) or text.count("\n") != len(rows):
            return False
        text = text.replace("\\", "\\\\").replace("\r", "\\r")
        with connection.wrap_database_errors, connection.cursor() as cursor:
            names = _names(self.columns)
            with cursor.copy(f'COPY "{self.table}" ({names}) FROM STDIN') as copying:
                copying.write(text)
        return True

    def _write_to_sqlite(self, rows: Sequence[Row]) -> None:
        """Many rows by one statement: half the time. Of few sizes, since SQLite remembers them."""
        connection.ensure_connection()
        base: sqlite3.Connection = connection.connection
        done = 0
        with connection.wrap_database_errors:
            for size in _SIZES:
                while len(rows) - done >= size:
                    part = rows[done : done + size]
                    base.execute(_for_sqlite(self, size), list(chain.from_iterable(part)))
                    done += size


#: Rows of one statement; SQLite takes 32,766 values, and a row has 18 at most.
_SIZES = (500, 50, 10, 1)


@cache
def _for_sqlite(insert: Insert, rows: int) -> str:
    row = f"({', '.join('?' * len(insert.columns))})"
    return f"{_head(insert)} VALUES {', '.join([row] * rows)}{_on_conflict(insert, 'max')}"


@cache
def _for_postgresql(insert: Insert) -> str:
    # One array for each column: a row takes a fraction of the time of a list of values.
    arrays = ", ".join(f"%s::{kind}[]" for kind in insert.columns.values())
    return f"{_head(insert)} SELECT * FROM unnest({arrays}){_on_conflict(insert, 'greatest')}"  # noqa: S608 - names of ours


def _head(insert: Insert) -> str:
    return f'INSERT INTO "{insert.table}" ({_names(insert.columns)})'


def _on_conflict(insert: Insert, largest: str) -> str:
    if not insert.unique:
        return ""

    def change(column: str, what: str) -> str:
        old, new = f'"{insert.table}"."{column}"', f'excluded."{column}"'
        by = {_KEEP_LARGEST: f"{largest}({old}, {new})", _ADD: f"{old} + {new}"}
        return f'"{column}" = {by[what]}'

    changes = ", ".join(starmap(change, insert.conflicts.items()))
    return f" ON CONFLICT ({_names(insert.unique)}) DO UPDATE SET {changes}"


def _names(columns: Mapping[str, str] | Sequence[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


_WHAT = {
    "time": "bigint",
    "node": "text",
    "profile_id": "integer",
    "client_id": "integer",
    "collection_id": "integer",
    "endpoint_id": "integer",
}
_OUTCOME = {"status": "smallint", "reason": "smallint", "would": "smallint"}
_TOTALS = {"calls": "bigint", "bytes_in": "bigint", "bytes_out": "bigint"}

MINUTE_COUNTS = Insert(
    table=MinuteCount._meta.db_table,
    columns=_WHAT | _OUTCOME | _TOTALS,
    unique=(*_WHAT, *_OUTCOME),
    conflicts=dict.fromkeys(_TOTALS, _ADD),
)
MINUTE_LATENCIES = Insert(
    table=MinuteLatency._meta.db_table,
    columns=_WHAT | {"bucket": "smallint", "calls": "bigint"},
    unique=(*_WHAT, "bucket"),
    conflicts={"calls": _ADD},
)
BASELINES = Insert(
    table=CounterBaseline._meta.db_table,
    columns={"node": "text", "identity": "text", "hour": "integer"} | _TOTALS,
    unique=("node", "identity"),
    conflicts=dict.fromkeys(_TOTALS, _KEEP_LARGEST),
)
POSITIONS = Insert(
    table=LogPosition._meta.db_table,
    columns={
        "node": "text",
        "identity": "text",
        "offset": "bigint",
        "timed": "bigint",
        "at": "bigint",
    },
    unique=("node", "identity"),
    conflicts={"offset": _KEEP_LARGEST, "timed": _KEEP_LARGEST, "at": _KEEP_LARGEST},
)
CALLS = Insert(
    table=LoggedCall._meta.db_table,
    columns={
        "at_ms": "bigint",
        "request_id": "text",
        "node": "text",
        "status": "smallint",
        "reason": "smallint",
        "would": "smallint",
        "method": "text",
        "collection_id": "integer",
        "endpoint_id": "integer",
        "client_id": "integer",
        "profile_id": "integer",
        "credential_id": "integer",
        "address": "text",
        "latency_ms": "integer",
        "bytes_in": "bigint",
        "bytes_out": "bigint",
        "stands_for": "integer",
        "details": "jsonb",
    },
)
QUOTA_COUNTS = Insert(
    table=QuotaCount._meta.db_table,
    columns={
        "profile_id": "integer",
        "interval": "text",
        "period_start": "bigint",
        "calls": "bigint",
    },
    unique=("profile_id", "interval", "period_start"),
    conflicts={"calls": _KEEP_LARGEST},
)
