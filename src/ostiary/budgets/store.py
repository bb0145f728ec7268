"""The shared store of windows: Valkey or Redis, by two scripts that each run as one step.

A store's address holds a password: errors of this module never repeat it. Imported where there is a store
alone: the client takes nine megabytes.
"""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Iterable
from importlib.resources import files as resources
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as PatientRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from ostiary.budgets.windows import AnotherLife, Life, NeedsBase, StoreAway, TakenBlock, Taking

#: Seconds that the store may take to answer; then it counts as away.
SECONDS = 0.1
#: Seconds that a window is kept beyond its end, for nodes whose clocks are behind.
AFTERLIFE = 60
#: Connections of one node at the same time.
MOST_CONNECTIONS = 16

_SCRIPTS = resources("ostiary.budgets")
_ERRORS = (redis.RedisError, OSError, TimeoutError, ValueError, TypeError, KeyError)
#: Of the name by which a workspace's keys are known in the store.
PURPOSE = "windows"
_STORE = "store"
_ANOTHER_LIFE, _NEEDS_BASE = -1, -2


def key_of(owner: str, window: str) -> str:
    """The key of a window in the store.

    `owner`: the workspace, since ids are the same in each. All keys of one are of one slot: a script
    reads two of them.
    """
    return f"{{ostiary-{owner}}}:{window}"


class WindowStore:
    """The store as one node asks it, on the event loop."""

    def __init__(self, url: str, *, owner: str, seconds: float = SECONDS) -> None:
        self._seconds, self._owner = seconds, owner
        #: The run of the server that all connections must be to; empty: the next one says it.
        self._run = ""
        # No retries: a grant that is repeated would be granted twice.
        self._client = redis.asyncio.Redis.from_url(
            url,
            socket_connect_timeout=seconds,
            socket_timeout=seconds,
            max_connections=MOST_CONNECTIONS,
            retry=PatientRetry(NoBackoff(), 0),
            redis_connect_func=self._connected,
        )
        self._grant = self._client.register_script((_SCRIPTS / "grant.lua").read_text())
        self._enter = self._client.register_script((_SCRIPTS / "enter.lua").read_text())

    async def _connected(self, connection: Any) -> None:
        """Refuse a connection to a server that was started since the store was entered.

        The client replaces broken connections itself, so nothing else would tell.
        """
        await connection.on_connect()
        await connection.send_command("INFO", "server")
        text = await connection.read_response()
        lines = (text.decode() if isinstance(text, bytes) else str(text)).splitlines()
        run = dict(line.partition(":")[::2] for line in lines)["run_id"]
        if self._run and run != self._run:
            raise redis.ConnectionError("the server was started again")
        self._run = run

    async def enter(self, node: str, *, live: int, claimed: str = "", anew: bool = False) -> Life:
        """Say that a node is there, and in which life it has claimed; raises StoreAway.

        `anew`: the server may be another one than before.
        """
        if anew:
            self._run = ""
            await self._client.connection_pool.disconnect(inuse_connections=False)
        if not self._run:
            await self._timed(self._client.ping())
        arguments = (node, live, uuid.uuid4().hex, self._run, int(time.time()), claimed)
        answer = await self._timed(self._enter(keys=[key_of(self._owner, _STORE)], args=arguments))
        try:
            born, at, whole = answer
            return Life(born=born.decode(), at=int(at), whole=whole == b"1")
        except _ERRORS as error:
            raise StoreAway(type(error).__name__) from None

    async def take(self, taking: Taking, born: str, base: int | None = None) -> TakenBlock:
        """Take a block. Raises NeedsBase, AnotherLife or StoreAway."""
        arguments = (
            born, taking.node, taking.limit, taking.need, taking.least, taking.block,
            taking.claimed, taking.returned, taking.seconds + AFTERLIFE, -1 if base is None else base,
        )  # fmt: skip
        keys = [key_of(self._owner, taking.window), key_of(self._owner, _STORE)]
        answer = await self._timed(self._grant(keys=keys, args=arguments))
        try:
            granted, counted = map(int, answer)
        except _ERRORS as error:
            raise StoreAway(type(error).__name__) from None
        if granted == _ANOTHER_LIFE:
            raise AnotherLife("its data is not what it was")
        if granted == _NEEDS_BASE:
            raise NeedsBase
        return TakenBlock(granted=granted, counted=counted)

    async def _timed(self, asking: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(self._seconds):
                return await asking
        except _ERRORS as error:
            raise StoreAway(type(error).__name__) from None

    async def close(self) -> None:
        await self._client.aclose()


def counted(url: str, windows: Iterable[str], *, owner: str, seconds: float) -> dict[str, int]:
    """Window → what is counted over all nodes, of those that the store knows; raises StoreAway."""
    names = list(windows)
    try:
        client = redis.Redis.from_url(
            url,
            socket_connect_timeout=seconds,
            socket_timeout=seconds,
            retry=Retry(NoBackoff(), 0),
        )
        with client, client.pipeline(transaction=False) as pipeline:
            for name in names:
                pipeline.hmget(key_of(owner, name), "total", "known", "base")
            rows = pipeline.execute()
        return {
            name: int(total) + max(0, int(base) - int(known))
            for name, (total, known, base) in zip(names, rows, strict=True)
            if base is not None
        }
    except _ERRORS as error:
        raise StoreAway(type(error).__name__) from None
