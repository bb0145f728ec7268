"""The raw statements of an upcall: one read per call, the same text for both databases.

No ORM: it would take longer than everything else together. A test compares what is read here with
what the ORM reads.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ostiary.settings import SERVER_PATIENCE, Database

#: In the order of `Row`; `{t[…]}` reads a time as Unix seconds, `{j[…]}` JSON as text, `{p}` is a
#: parameter: collection, endpoint, collection, endpoint, fingerprint. The sequence is read by the same
#: statement, so it belongs to the same snapshot as the other columns.
STATEMENT = """
SELECT s.seq, c.id, {t[c.revoked_at]}, {t[c.expires_at]}, {t[c.overlap_until]},
       p.id, p.active, p.auth_type, {t[p.expires_at]}, {t[p.policy_since]},
       {j[p.allow_list]}, {j[p.deny_list]}, {j[p.proof]}, p.sealed_secret,
       c.public_id, c.secret_fingerprint, k.id, k.active,
       k.project_id,
       l.id, l.rate_limit, l.rate_interval, {j[l.more_rates]}, l.quota_limit, l.quota_interval,
       p.addresses_watched, l.watched, l.legacy_headers,
       EXISTS (SELECT 1 FROM directory_accessprofile_collections g
               WHERE g.accessprofile_id = p.id AND g.collection_id = {p}) AS granted,
       EXISTS (SELECT 1 FROM directory_endpoint e
               LEFT JOIN directory_recipe r ON r.id = e.recipe_id
               WHERE e.id = {p} AND e.collection_id = {p} AND e.active
               AND (e.recipe_id IS NULL OR (r.started AND r.present))),
       (SELECT e.weight FROM directory_endpoint e WHERE e.id = {p}),
       {j[p.raised_limits]}, {t[p.raised_until]}, {j[p.limit_resets]}, l.name,
       (SELECT {g[n.addresslist_id]} FROM directory_accessprofile_allowed_lists n
        WHERE n.accessprofile_id = p.id),
       (SELECT {g[n.addresslist_id]} FROM directory_accessprofile_denied_lists n
        WHERE n.accessprofile_id = p.id),
       (SELECT {j[f.quotas]} FROM directory_folder f WHERE f.id = k.project_id),
       {t[p.inactive_until]}, {t[k.inactive_until]}
FROM (SELECT COALESCE(MAX(id), 0) AS seq FROM directory_change) s
"""

#: The credential with a fingerprint, or a row without one.
BY_FINGERPRINT = """
LEFT JOIN directory_credential c ON c.fingerprint = {p}
LEFT JOIN directory_accessprofile p ON p.id = c.profile_id
LEFT JOIN directory_client k ON k.id = p.client_id
LEFT JOIN directory_policy l ON l.id = p.policy_id
"""

#: Credentials of the profiles that signed tokens name by a claim and its value: a profile key is not
#: unique. Those that may call the collection come first, so that LIMIT does not drop them.
BY_KEY = """
JOIN directory_credential c ON c.public_id = {p}
JOIN directory_accessprofile p ON p.id = c.profile_id AND p.custom_claim = {p}
     AND p.auth_type IN ('jwt', 'oidc')
JOIN directory_client k ON k.id = p.client_id
LEFT JOIN directory_policy l ON l.id = p.policy_id
ORDER BY granted DESC, c.id
LIMIT {most}
"""

#: The most profiles with the same key that a signed token is compared with.
MOST_NAMED = 32

QUOTA = """
SELECT calls FROM usage_quotacount
WHERE profile_id = {p} AND "interval" = {p} AND period_start = {p}
"""


#: The version of an address list, and its content.
LIST_VERSION = "SELECT epoch FROM directory_addresslist WHERE id = {p}"
LIST = "SELECT epoch, name, packed FROM directory_addresslist WHERE id = {p}"

#: The name of every custom claim, with one index look-up for each.
CLAIMS = """
WITH RECURSIVE named(claim) AS (
    SELECT MIN(custom_claim) FROM directory_accessprofile WHERE custom_claim > ''
    UNION ALL
    SELECT (SELECT MIN(custom_claim) FROM directory_accessprofile WHERE custom_claim > named.claim)
    FROM named WHERE named.claim IS NOT NULL
)
SELECT claim FROM named WHERE claim IS NOT NULL
"""

SIGNING_KEYS = """
SELECT kid, {j[public]}, sealed, {t[retired_at]} FROM directory_signingkey ORDER BY id DESC
"""

REVOKED = "SELECT 1 FROM directory_revokedtoken WHERE fingerprint = {p}"

CHANGES = """
SELECT id, kind, object_id FROM directory_change WHERE id > {p} ORDER BY id LIMIT {p}
"""

LATEST = "SELECT COALESCE(MAX(id), 0) FROM directory_change"


@dataclass(frozen=True, slots=True)
class FeedEntry:
    """A row of the change feed: what kind of object changed, and which."""

    sequence: int
    kind: str
    object_id: int


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A signing key as it is stored: `public` is a JSON text, `retired_at` Unix seconds."""

    kid: str
    public: str
    sealed: str
    retired_at: int | None


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
    proof: str
    #: The HMAC secret, sealed.
    sealed_secret: str
    public_id: str
    secret_fingerprint: bytes
    client: int
    client_active: bool
    #: The client's project.
    project: int
    policy: int | None
    rate_limit: int | None
    rate_interval: str | None
    #: JSON text: the rate limits beside that one, as `access.limits.rate_limits` reads them.
    more_rates: str | None
    quota_limit: int | None
    quota_interval: str | None
    addresses_watched: bool
    limits_watched: bool | None
    #: Also send the older `X-RateLimit-*` headers on every answer.
    legacy_headers: bool | None
    #: The profile includes the collection.
    granted: bool
    #: The endpoint is one of the collection, is active, and so is its recipe. False for endpoint 0.
    callable: bool
    #: What a call of the endpoint counts in limits.
    weight: int | None = 1
    #: JSON texts, by the names of limits (`access.limits.WINDOWS`): limits that are raised for this
    #: profile until `raised_until`, and when each was reset.
    raised_limits: str | None = None
    raised_until: int | None = None
    limit_resets: str | None = None
    policy_name: str | None = None
    #: Ids of address lists that profiles share, separated by commas.
    allowed_lists: str | None = None
    denied_lists: str | None = None
    #: JSON text: the project's quotas, with the names of `directory.workspace.project_quotas`.
    project_quotas: str | None = None
    #: Until when they are off, Unix seconds.
    profile_inactive_until: int | None = None
    client_inactive_until: int | None = None


class Lookup(Protocol):
    """Queries of one database, for many upcalls at the same time."""

    async def find(self, fingerprint: bytes, collection: int, endpoint: int = 0) -> Row:
        """The profile of a credential, and whether it may call this collection and endpoint."""

    async def named(self, claim: str, key: str, collection: int, endpoint: int) -> list[Row]:
        """The profiles whose key is `key` in the claim `claim`; empty: the token's subject."""

    async def quota_used(self, profile: int, interval: str, start: int) -> int: ...
    async def list_version(self, list_id: int) -> int | None:
        """The epoch of an address list; None: the list does not exist."""

    async def address_list(self, list_id: int) -> tuple[int, str, str] | None:
        """Epoch, name and packed networks of an address list; None: the list does not exist."""

    async def custom_claims(self) -> list[str]: ...
    async def signing_keys(self) -> list[StoredKey]: ...
    async def token_revoked(self, fingerprint: bytes) -> bool: ...
    async def changes(self, since: int, most: int) -> list[FeedEntry]: ...
    async def latest(self) -> int: ...
    async def close(self) -> None: ...


class _Columns:
    """Replaces `{t[column]}` or `{j[column]}` by the expression of one database."""

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
        times = _Columns("CAST(strftime('%s', {}) AS INTEGER)")
        ids = _Columns("group_concat({})")
        columns = {"t": times, "j": _Columns("{}"), "g": ids, "p": "?", "most": MOST_NAMED}
        self._statement = (STATEMENT + BY_FINGERPRINT).format_map(columns)
        self._named = (STATEMENT + BY_KEY).format_map(columns)
        self._quota = QUOTA.format(p="?")
        self._keys = SIGNING_KEYS.format(t=times, j=_Columns("{}"))

    async def find(self, fingerprint: bytes, collection: int, endpoint: int = 0) -> Row:
        values = (collection, endpoint, collection, endpoint, fingerprint)
        return Row(*self._connection.execute(self._statement, values).fetchone())

    async def named(self, claim: str, key: str, collection: int, endpoint: int) -> list[Row]:
        values = (collection, endpoint, collection, endpoint, key, claim)
        return [Row(*row) for row in self._connection.execute(self._named, values)]

    async def quota_used(self, profile: int, interval: str, start: int) -> int:
        row = self._connection.execute(self._quota, (profile, interval, start)).fetchone()
        return int(row[0]) if row else 0

    async def list_version(self, list_id: int) -> int | None:
        row = self._connection.execute(LIST_VERSION.format(p="?"), (list_id,)).fetchone()
        return int(row[0]) if row else None

    async def address_list(self, list_id: int) -> tuple[int, str, str] | None:
        row = self._connection.execute(LIST.format(p="?"), (list_id,)).fetchone()
        return (int(row[0]), row[1], row[2]) if row else None

    async def custom_claims(self) -> list[str]:
        return [row[0] for row in self._connection.execute(CLAIMS)]

    async def signing_keys(self) -> list[StoredKey]:
        return [StoredKey(*row) for row in self._connection.execute(self._keys)]

    async def token_revoked(self, fingerprint: bytes) -> bool:
        row = self._connection.execute(REVOKED.format(p="?"), (fingerprint,)).fetchone()
        return row is not None

    async def changes(self, since: int, most: int) -> list[FeedEntry]:
        rows = self._connection.execute(CHANGES.format(p="?"), (since, most))
        return [FeedEntry(*row) for row in rows]

    async def latest(self) -> int:
        return int(self._connection.execute(LATEST).fetchone()[0])

    async def close(self) -> None:
        self._connection.close()


class PostgresqlLookup:
    """A pool of connections with prepared statements."""

    def __init__(self, database: Database) -> None:
        # Imported here: it takes six megabytes, which a product on SQLite does not need.
        import psycopg_pool

        self._pool = psycopg_pool.AsyncConnectionPool(
            conninfo(database),
            min_size=1,
            max_size=8,
            open=False,
            kwargs={"autocommit": True, "prepare_threshold": 1},
        )
        times = _Columns("CAST(FLOOR(EXTRACT(EPOCH FROM {})) AS BIGINT)")
        texts = _Columns("{}::text")
        ids = _Columns("string_agg({}::text, ',')")
        columns = {"t": times, "j": texts, "g": ids, "p": "%s", "most": MOST_NAMED}
        self._statement = (STATEMENT + BY_FINGERPRINT).format_map(columns).encode()
        self._named = (STATEMENT + BY_KEY).format_map(columns).encode()
        self._quota = QUOTA.format(p="%s").encode()
        self._keys = SIGNING_KEYS.format(t=times, j=texts).encode()

    async def open(self) -> None:
        await self._pool.open()

    async def find(self, fingerprint: bytes, collection: int, endpoint: int = 0) -> Row:
        values = (collection, endpoint, collection, endpoint, fingerprint)
        return Row(*await self._one(self._statement, values) or ())

    async def named(self, claim: str, key: str, collection: int, endpoint: int) -> list[Row]:
        values = (collection, endpoint, collection, endpoint, key, claim)
        return [Row(*row) for row in await self._all(self._named, values)]

    async def quota_used(self, profile: int, interval: str, start: int) -> int:
        row = await self._one(self._quota, (profile, interval, start))
        return int(row[0]) if row else 0

    async def list_version(self, list_id: int) -> int | None:
        row = await self._one(LIST_VERSION.format(p="%s").encode(), (list_id,))
        return int(row[0]) if row else None

    async def address_list(self, list_id: int) -> tuple[int, str, str] | None:
        row = await self._one(LIST.format(p="%s").encode(), (list_id,))
        return (int(row[0]), row[1], row[2]) if row else None

    async def custom_claims(self) -> list[str]:
        return [row[0] for row in await self._all(CLAIMS.encode())]

    async def signing_keys(self) -> list[StoredKey]:
        return [StoredKey(*row) for row in await self._all(self._keys)]

    async def token_revoked(self, fingerprint: bytes) -> bool:
        return await self._one(REVOKED.format(p="%s").encode(), (fingerprint,)) is not None

    async def changes(self, since: int, most: int) -> list[FeedEntry]:
        rows = await self._all(CHANGES.format(p="%s").encode(), (since, most))
        return [FeedEntry(*row) for row in rows]

    async def latest(self) -> int:
        row = await self._one(LATEST.encode(), ())
        return int(row[0]) if row else 0

    async def _all(self, statement: bytes, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        async with self._pool.connection() as connection:
            return await (await connection.execute(statement, values)).fetchall()

    async def _one(self, statement: bytes, values: Sequence[object]) -> tuple[Any, ...] | None:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(statement, values)
            return await cursor.fetchone()

    async def close(self) -> None:
        await self._pool.close()


def conninfo(database: Database) -> str:
    """A libpq connection string. It contains the password: pass it to libpq only."""
    import psycopg

    return psycopg.conninfo.make_conninfo(
        dbname=database.name,
        user=database.user or None,
        password=database.password or None,
        host=database.host or None,
        port=database.port or None,
        **SERVER_PATIENCE,
    )
