"""The raw statements of an upcall: one read per call, the same text for both databases.

No ORM: it would take longer than everything else together. A test compares what is read here with
what the ORM reads.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg
import psycopg_pool

from ostiary.settings import Database

#: In the order of `Row`; `{t[…]}` reads a time as Unix seconds, `{p}` is a parameter. The sequence
#: comes from the same statement, so that it is that of the very snapshot of the other columns.
STATEMENT = """
SELECT s.seq, c.id, {t[c.revoked_at]}, {t[c.expires_at]}, {t[c.overlap_until]},
       p.id, p.active, p.auth_type, {t[p.expires_at]}, {t[p.policy_since]},
       p.allow_list, p.deny_list, k.id, k.active,
       l.id, l.rate_limit, l.rate_interval, l.quota_limit, l.quota_interval,
       EXISTS (SELECT 1 FROM directory_accessprofile_collections g
               WHERE g.accessprofile_id = p.id AND g.collection_id = {p})
FROM (SELECT COALESCE(MAX(id), 0) AS seq FROM directory_change) s
LEFT JOIN directory_credential c ON c.fingerprint = {p}
LEFT JOIN directory_accessprofile p ON p.id = c.profile_id
LEFT JOIN directory_client k ON k.id = p.client_id
LEFT JOIN directory_policy l ON l.id = p.policy_id
"""

QUOTA = """
SELECT calls FROM usage_quotacount
WHERE profile_id = {p} AND "interval" = {p} AND period_start = {p}
"""


@dataclass(frozen=True, slots=True)
class Row:
    sequence: int
    credential: int | None
    revoked_at: int | None
    expires_at: int | None
    overlap_until: int | None
    profile: int
    profile_active: bool
    auth_type: str
    profile_expires_at: int | None
    policy_since: int | None
    #: JSON texts.
    allow_list: str
    deny_list: str
    client: int
    client_active: bool
    policy: int | None
    rate_limit: int | None
    rate_interval: str | None
    quota_limit: int | None
    quota_interval: str | None
    granted: bool


class Lookup(Protocol):
    """One database, asked by many upcalls."""

    async def find(self, fingerprint: bytes, collection: int) -> Row: ...
    async def quota_used(self, profile: int, interval: str, start: int) -> int: ...
    async def close(self) -> None: ...


class _Times:
    """Fills `{t[column]}` in for one database."""

    def __init__(self, template: str) -> None:
        self.template = template

    def __getitem__(self, column: str) -> str:
        return self.template.format(column)


class SqliteLookup:
    """A read-only connection; a look-up takes microseconds, so it runs on the event loop."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(
            f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False
        )
        self._connection.execute("PRAGMA query_only = 1")
        self._connection.execute("PRAGMA mmap_size = 268435456")
        times = _Times("CAST(strftime('%s', {}) AS INTEGER)")
        self._statement = STATEMENT.format(t=times, p="?")
        self._quota = QUOTA.format(p="?")

    async def find(self, fingerprint: bytes, collection: int) -> Row:
        row = self._connection.execute(self._statement, (collection, fingerprint)).fetchone()
        return Row(*row)

    async def quota_used(self, profile: int, interval: str, start: int) -> int:
        row = self._connection.execute(self._quota, (profile, interval, start)).fetchone()
        return int(row[0]) if row else 0

    async def close(self) -> None:
        self._connection.close()


class PostgresqlLookup:
    """A pool of connections with prepared statements."""

    def __init__(self, database: Database) -> None:
        self._pool = psycopg_pool.AsyncConnectionPool(
            conninfo(database),
            min_size=1,
            max_size=8,
            open=False,
            kwargs={"autocommit": True, "prepare_threshold": 1},
        )
        times = _Times("CAST(FLOOR(EXTRACT(EPOCH FROM {})) AS BIGINT)")
        lists = "p.allow_list::text, p.deny_list::text"
        text = STATEMENT.format(t=times, p="%s").replace("p.allow_list, p.deny_list", lists)
        self._statement = text.encode()
        self._quota = QUOTA.format(p="%s").encode()

    async def open(self) -> None:
        await self._pool.open()

    async def find(self, fingerprint: bytes, collection: int) -> Row:
        return Row(*await self._one(self._statement, (collection, fingerprint)) or ())

    async def quota_used(self, profile: int, interval: str, start: int) -> int:
        row = await self._one(self._quota, (profile, interval, start))
        return int(row[0]) if row else 0

    async def _one(self, statement: bytes, values: Sequence[object]) -> tuple[Any, ...] | None:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(statement, values)
            return await cursor.fetchone()

    async def close(self) -> None:
        await self._pool.close()


def conninfo(database: Database) -> str:
    """A libpq connection string; it holds the password, and goes nowhere but to libpq."""
    return psycopg.conninfo.make_conninfo(
        dbname=database.name,
        user=database.user or None,
        password=database.password or None,
        host=database.host or None,
        port=database.port or None,
    )
