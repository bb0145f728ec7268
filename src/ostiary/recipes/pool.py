"""A pool of worker processes: bounded, replaced when they hang, die, or the sources change.

A library's pool was tried: what ignores SIGTERM held the others up, and what a recipe had started
survived. Here a call that is too long ends with SIGKILL to the worker's whole session at once.
"""

import asyncio
import contextlib
import json
import os
import signal
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ostiary.recipes.worker import message

#: Calls that may wait for a worker; more are refused.
MOST_WAITING = 64
START_SECONDS = 20.0
#: Calls after which a worker is replaced, which frees what recipes leak.
CALLS_PER_WORKER = 10_000


class Overloaded(Exception):
    """Too many calls wait already."""


class TooLong(Exception):
    """A call did not end in its time."""


class Died(Exception):
    """The worker ended in the middle of a call."""


@dataclass(slots=True)
class _Worker:
    process: asyncio.subprocess.Process
    generation: int
    told: dict[str, Any]
    calls: int = 0


class Pool:
    """Runs calls on at most `size` workers, each with the current sources."""

    def __init__(self, size: int) -> None:
        self._idle: list[_Worker] = []
        self._free = asyncio.Semaphore(size)
        self._waiting = 0
        self._files: Mapping[str, str] = {}
        self._generation = 0

    def use(self, files: Mapping[str, str]) -> None:
        """Take other sources for calls from now on; those that run finish with theirs."""
        self._files = dict(files)
        self._generation += 1
        while self._idle:
            _kill(self._idle.pop().process)

    async def warm(self) -> None:
        """Start a worker, so that the first call need not wait for it."""
        async with self._free:
            self._idle.append(await self._worker())

    async def call(self, content: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
        """Run one call; raises Overloaded, TooLong, Died."""
        if self._waiting >= MOST_WAITING:
            raise Overloaded
        self._waiting += 1
        try:
            async with self._free:
                worker = await self._worker()
                answer = await self._ask(worker, content, seconds)
                self._keep(worker)
                return answer
        finally:
            self._waiting -= 1

    async def describe(self, files: Mapping[str, str]) -> dict[str, Any]:
        """Load sources in a worker of their own, and say what is in them; raises Died, TooLong."""
        worker = await self._start(files, generation=-1)
        _kill(worker.process)
        return worker.told

    async def close(self) -> None:
        for worker in self._idle:
            _kill(worker.process)

    async def _worker(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.generation == self._generation and worker.process.returncode is None:
                return worker
            _kill(worker.process)
        return await self._start(self._files, self._generation)

    def _keep(self, worker: _Worker) -> None:
        worker.calls += 1
        if worker.calls < CALLS_PER_WORKER and worker.generation == self._generation:
            self._idle.append(worker)
        else:
            _kill(worker.process)

    async def _start(self, files: Mapping[str, str], generation: int) -> _Worker:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "ostiary.recipes.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # Workers get no folder of their own: files in it would outlive them.
            cwd="/",
            # Not our environment, which may contain the database's password.
            env={"PATH": os.defpath, "LANG": "C.UTF-8", "HOME": "/nonexistent"},
            start_new_session=True,
        )
        worker = _Worker(process=process, generation=generation, told={})
        worker.told = await self._ask(worker, {"op": "load", "files": dict(files)}, START_SECONDS)
        return worker

    async def _ask(
        self, worker: _Worker, content: Mapping[str, Any], seconds: float
    ) -> dict[str, Any]:
        process = worker.process
        assert process.stdin is not None  # noqa: S101 - asked for above
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        try:
            async with asyncio.timeout(seconds):
                process.stdin.write(message(content))
                await process.stdin.drain()
                head = await process.stdout.readexactly(4)
                body = await process.stdout.readexactly(struct.unpack(">I", head)[0])
        except TimeoutError as error:
            _kill(process)
            raise TooLong from error
        except (OSError, asyncio.IncompleteReadError) as error:
            _kill(process)
            raise Died from error
        except asyncio.CancelledError:
            _kill(process)
            raise
        return json.loads(body)  # type: ignore[no-any-return]  # what JSON holds


def _kill(process: asyncio.subprocess.Process) -> None:
    """End a worker with everything that it started, at once."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
