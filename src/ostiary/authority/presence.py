"""A gateway's reports to the directory: that it lives, and which changes it follows."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from django.db import Error, connection

from ostiary.authority.follower import Follower
from ostiary.authority.lookup import conninfo
from ostiary.directory.catalog.recipes import ReportedRecipe, learn
from ostiary.directory.changes.feed import CHANNEL
from ostiary.directory.workspace import nodes
from ostiary.directory.workspace.nodes import Identity
from ostiary.recipes.control import RunnerGone
from ostiary.settings import Database

log = logging.getLogger(__name__)

T = TypeVar("T")

#: Seconds until the next attempt after an error of the database.
RETRY_SECONDS = 1.0
#: Seconds between two looks at the folder of recipes.
RECIPES_SECONDS = 30.0
#: Seconds between two questions to the recipe runner beside this gateway.
RUNNER_SECONDS = 2.0


class Presence:
    """Reports one gateway's progress, each time it gets further and each time it is due."""

    def __init__(
        self,
        identity: Identity,
        follower: Follower,
        *,
        alone: bool,
        at_once: bool,
        recipes: Callable[[], str],
        runner: Callable[[], list[ReportedRecipe]],
    ) -> None:
        """`alone`: no other gateway may run on the database. `at_once`: others wait for each change.

        `runner` asks the recipe runner beside this gateway what it found; it raises RunnerGone.
        """
        self._runner = runner
        self._identity, self._follower = identity, follower
        self._alone, self._at_once, self._recipes = alone, at_once, recipes
        #: Django's connections belong to threads: all reports are one thread's.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="presence")

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            if await self._done(self._enter) is not None:
                break
            await asyncio.sleep(RETRY_SECONDS)
        seconds = await self._done(nodes.report_seconds) or RETRY_SECONDS
        seen = -1
        looking = [asyncio.create_task(self._look_at_recipes())]
        if self._at_once:
            looking.append(asyncio.create_task(self._tell_recipes()))
        for task in looking:
            task.add_done_callback(_log_failure)
        try:
            while True:
                if self._at_once:
                    await self._follower.moved(seen, seconds=seconds)
                else:
                    await asyncio.sleep(seconds)
                seen = self._follower.confirmed
                known = await self._done(self._report, seen, self._follower.affected(nodes.STREAMS))
                if known is None:
                    await asyncio.sleep(RETRY_SECONDS)
                elif not known:
                    await self._done(self._enter)
                    seen = -1
        finally:
            for each in looking:
                each.cancel()

    async def end(self) -> None:
        """Note that the gateway has stopped."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RETRY_SECONDS):
                await self._done(lambda: nodes.leave(self._identity))
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _enter(self) -> bool:
        self._identity = replace(self._identity, recipes=self._recipes())
        if nodes.register(self._identity):
            log.warning(
                "another gateway reports as node %s; set OSTIARY_NODE to another name on one of them",
                self._identity.name,
            )
        if self._alone:
            nodes.only_gateway(self._identity)
        return True

    def _report(self, confirmed: int, streams: list[tuple[int, int]]) -> bool:
        return nodes.report(self._identity, confirmed=confirmed, streams=streams)

    def _report_recipes(self) -> bool:
        return nodes.report(self._identity, recipes=self._identity.recipes)

    async def _look_at_recipes(self) -> None:
        while True:
            await asyncio.sleep(RECIPES_SECONDS)
            digest = await asyncio.to_thread(self._recipes)
            if digest != self._identity.recipes:
                self._identity = replace(self._identity, recipes=digest)
                await self._done(self._report_recipes)

    async def _tell_recipes(self) -> None:
        """Tell the directory what the runner here found: control may run on another machine."""
        told: list[ReportedRecipe] | None = None
        while True:
            with contextlib.suppress(RunnerGone):
                found = await asyncio.to_thread(self._runner)
                if found != told and await self._done(_learn, found):
                    told = found
            await asyncio.sleep(RUNNER_SECONDS)

    async def _done(self, work: Callable[..., T], *values: object) -> T | None:
        """What `work` returns in the reports' thread; nothing if the database fails."""

        def safely() -> T | None:
            try:
                return work(*values)
            except Error:
                log.warning("the node could not be reported to the database")
                connection.close()
                return None

        return await asyncio.get_running_loop().run_in_executor(self._thread, safely)


def _learn(found: list[ReportedRecipe]) -> bool:
    learn(found)
    return True


def _log_failure(task: asyncio.Task[None]) -> None:
    """A gateway goes on without these tasks, but not silently."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("%s has ended", task.get_coro(), exc_info=error)


async def listen(database: Database, wake: Callable[[], None]) -> None:
    """Wake the follower when a change is committed, until cancelled; polling is the net below it."""
    # With SQLite nobody needs it, and it is eight megabytes.
    import psycopg

    while True:
        with contextlib.suppress(psycopg.Error, OSError):
            async with await psycopg.AsyncConnection.connect(
                conninfo(database),
                autocommit=True,
                application_name="ostiary follower",
            ) as session:
                await session.execute(f"LISTEN {CHANNEL}")
                wake()
                async for _ in session.notifies():
                    wake()
        await asyncio.sleep(RETRY_SECONDS)
