"""Running parts: started in order, kept running, stopped together.

Knows processes and their readiness; nothing of what a part does.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ostiary import exposition
from ostiary.cli import measures
from ostiary.cli.failure import Failure

Say = Callable[[str], None]
#: Passes on a line that a part printed: name of the part, line.
Write = Callable[[str, str], None]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One process. It tells `READY=1` on the datagram socket in NOTIFY_SOCKET (sd_notify(3))."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    #: Sockets that it inherits under the same numbers.
    sockets: Sequence[socket.socket] = ()
    #: Sent before any part is stopped, so that others can take what it leaves.
    farewell: signal.Signals | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How patient the supervisor is, in seconds."""

    first_delay: float = 0.2
    longest_delay: float = 5.0
    #: A part that stayed up for so long starts again with the first delay.
    healthy: float = 30.0
    start: float = 60.0
    stop: float = 10.0
    #: Times that a part that was never ready is tried.
    tries: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    process: asyncio.subprocess.Process
    ready: asyncio.Event
    output: asyncio.Task[None]


@dataclass(slots=True, kw_only=True)
class _Keeper:
    """Keeps one part running until cancelled."""

    part: Part
    run: Path
    say: Say
    write: Write
    pace: Pace
    once_ready: asyncio.Event = field(default_factory=asyncio.Event)
    _process: asyncio.subprocess.Process | None = None

    def bid_farewell(self) -> None:
        """Tell the part that all will be stopped, if it wants to know."""
        if self.part.farewell is not None and self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(self.part.farewell)

    async def keep(self) -> None:
        """Run and run again; raises Failure for a part that never becomes ready."""
        delay, tries = self.pace.first_delay, 0
        measures.READY.labels(self.part.name).set(0)
        measures.RESTARTS.labels(self.part.name)
        while True:
            healthy_since = asyncio.get_running_loop().time() + self.pace.healthy
            async with self._running() as running:
                how = await self._watch(running)
            tries += 1
            if not self.once_ready.is_set() and tries >= self.pace.tries:
                raise self._failed(how)
            if asyncio.get_running_loop().time() > healthy_since:
                delay = self.pace.first_delay
            measures.READY.labels(self.part.name).set(0)
            measures.RESTARTS.labels(self.part.name).inc()
            self.say(f"{self.part.name} died ({how}), restarting")
            log.info("part died", extra={"name_of_part": self.part.name, "how": how})
            await asyncio.sleep(delay)
            delay = min(2 * delay, self.pace.longest_delay)

    def _failed(self, how: str) -> Failure:
        return Failure(f"{self.part.name} could not be started ({how}); see what it said above.")

    async def _watch(self, running: _Running) -> str:
        """Wait for the end of the process; says how it ended."""
        exited = asyncio.ensure_future(running.process.wait())
        if not await _either(running.ready.wait(), exited, within=self.pace.start):
            how = f"not ready after {self.pace.start:g} seconds"
            if not self.once_ready.is_set():
                raise self._failed(how)
            return how
        if running.ready.is_set():
            measures.READY.labels(self.part.name).set(1)
            self.say(f"{self.part.name} ready")
            log.info("part ready", extra={"name_of_part": self.part.name})
            self.once_ready.set()
        return _ending(await exited)

    @contextlib.asynccontextmanager
    async def _running(self) -> AsyncIterator[_Running]:
        path = notify_path(self.run, self.part.name)
        with _notices(path) as ready:
            process = self._process = await self._spawn(path)
            assert process.stdout is not None  # noqa: S101 - asked for two lines above
            output = asyncio.create_task(self._relay(process.stdout))
            try:
                yield _Running(process=process, ready=ready, output=output)
            finally:
                await self._end(process)
                # A grandchild that left the group may hold the pipe open.
                await asyncio.wait({output}, timeout=1)
                output.cancel()

    async def _spawn(self, notify: Path) -> asyncio.subprocess.Process:
        # The kernel sends SIGTERM should we vanish; a session of its own keeps the terminal's
        # Ctrl-C to us, who stop in order.
        return await asyncio.create_subprocess_exec(
            "setpriv", "--pdeathsig", "TERM", "--", *self.part.argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**self.part.env, "NOTIFY_SOCKET": str(notify)},
            pass_fds=tuple(sock.fileno() for sock in self.part.sockets),
            start_new_session=True,
        )  # fmt: skip

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), timeout=self.pace.stop)
        # Whoever is left in its group, the process itself or a child of its.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()

    async def _relay(self, stream: asyncio.StreamReader) -> None:
        """Pass the part's output on, line by line, under its name."""
        rest = b""
        while chunk := await stream.read(65536):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._write_line(line)
            if len(rest) > 65536:
                self._write_line(rest)
                rest = b""
        if rest:
            self._write_line(rest)

    def _write_line(self, line: bytes) -> None:
        self.write(self.part.name, line.decode(errors="replace"))


def notify_path(run: Path, name: str) -> Path:
    """Where the part `name` tells that it is ready."""
    return run / f"{name}.notify"


@contextlib.contextmanager
def _notices(path: Path) -> Iterator[asyncio.Event]:
    """Listen for a part's notices; the event is set by `READY=1`."""
    loop, ready = asyncio.get_running_loop(), asyncio.Event()
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.bind(str(path))

        # Read to the end of the part's life: a sender waits when the queue is full.
        def drain() -> None:
            with contextlib.suppress(BlockingIOError):
                if b"READY=1" in sock.recv(4096).splitlines():
                    ready.set()

        loop.add_reader(sock, drain)
        try:
            yield ready
        finally:
            loop.remove_reader(sock)
            path.unlink(missing_ok=True)


async def _either(
    *waits: Coroutine[Any, Any, Any] | asyncio.Future[Any], within: float | None = None
) -> bool:
    """Wait until one of them is done, or the time is up; says which. Ends coroutines it started."""
    tasks = {asyncio.ensure_future(wait) for wait in waits}
    try:
        done, _ = await asyncio.wait(tasks, timeout=within, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks.difference(wait for wait in waits if isinstance(wait, asyncio.Future)):
            task.cancel()
    return bool(done)


def _ending(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"exit status {status}"


async def supervise(
    parts: Sequence[Part],
    *,
    run: Path,
    say: Say,
    write: Write,
    stop: asyncio.Event,
    greeting: str = "",
    pace: Pace | None = None,
) -> None:
    """Start `parts` in order, say `ready` and the greeting, and keep them until `stop`.

    They are ended in reverse order.

    `run` is a folder of mode 0700 for the notices. Raises Failure if a part cannot be started.
    """
    tasks: list[asyncio.Task[None]] = []
    keepers: list[_Keeper] = []
    try:
        for part in parts:
            keeper = _Keeper(part=part, run=run, say=say, write=write, pace=pace or Pace())
            keepers.append(keeper)
            tasks.append(asyncio.create_task(keeper.keep()))
            await _either(keeper.once_ready.wait(), stop.wait(), *tasks)
            _raise_failure(tasks)
            if stop.is_set():
                return
        say("ready")
        if greeting:
            say(greeting)
        await _either(stop.wait(), *tasks)
        _raise_failure(tasks)
    finally:
        for keeper in keepers:
            keeper.bid_farewell()
        for task in reversed(tasks):
            task.cancel()
            await asyncio.wait({task})


def _raise_failure(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        if task.done():
            task.result()


def run(parts: Sequence[Part], *, folder: Path, say: Say, write: Write, greeting: str = "") -> None:
    """Supervise until SIGINT or SIGTERM; SIGHUP, a closed terminal, changes nothing.

    `say` is told what becomes of the parts, `write` every line that they print.
    """
    asyncio.run(_until_signalled(parts, folder=folder, say=say, write=write, greeting=greeting))


async def _until_signalled(
    parts: Sequence[Part], *, folder: Path, say: Say, write: Write, greeting: str
) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, _ignore)
    exposition.forget(folder)
    shown = await exposition.show(folder, "supervisor")
    try:
        await supervise(parts, run=folder, say=say, write=write, stop=stop, greeting=greeting)
    finally:
        shown.close()


def _ignore() -> None:
    # Not SIG_IGN, which the parts would inherit.
    return
