"""Running parts: started side by side, kept running, stopped one after another.

Knows processes, their readiness and whether they answer; nothing of what a part does.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ostiary.cli.failure import Failure
from ostiary.cli.supervision import measures, prctl, processes
from ostiary.cli.supervision.probes import Probe, Silent
from ostiary.cli.supervision.processes import ForkServer, NotStarted, Process
from ostiary.telemetry import exposition

Say = Callable[[str], None]
#: Passes on a line that a part printed: name of the part, line.
Write = Callable[[str, str], None]

log = logging.getLogger(__name__)

#: Seconds after which ended orphans are reaped: by then, our own children have been reaped.
REAP_SECONDS = 1.0
#: How a part ended that did not answer and was killed.
HANGS = "hangs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One process. It tells `READY=1` on the datagram socket in NOTIFY_SOCKET (sd_notify(3)).

    Or it does not know how to, and is ready with the first answer to its probe.
    """

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    #: Sockets that it inherits under the same numbers.
    sockets: Sequence[socket.socket] = ()
    #: What asks it to end what it has begun, and then itself.
    stop_signal: signal.Signals = signal.SIGTERM
    #: How it is asked whether it lives; without one, only its death is noticed.
    probe: Probe | None = None
    ready_by_probe: bool = False
    #: The fork server makes its process, instead of the command line.
    forked: bool = False
    #: Names of the parts that are ready before it starts for the first time.
    after: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SupervisorPace:
    """How patient the supervisor is, in seconds."""

    first_delay: float = 0.1
    longest_delay: float = 5.0
    #: A part that stayed up for so long starts again with the first delay.
    healthy: float = 30.0
    start: float = 60.0
    stop: float = 10.0
    #: For a part that ends on another signal than SIGTERM: to end on that after all.
    terminate: float = 2.0
    #: Times that a part that was never ready is tried.
    tries: int = 5
    #: A part hangs if it answers nothing in so many turns of the supervisor, of `probe` seconds
    #: each. Turns are counted, not time: what makes the supervisor late gives the parts more time.
    #: Four of them, a fork and a start are below five seconds.
    probe: float = 0.75
    misses: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    process: Process
    ready: asyncio.Event
    output: asyncio.Task[None]


@dataclass(slots=True, kw_only=True)
class _PartKeeper:
    """Keeps one part running until cancelled."""

    part: Part
    run: Path
    say: Say
    write: Write
    pace: SupervisorPace
    forks: ForkServer | None = None
    once_ready: asyncio.Event = field(default_factory=asyncio.Event)

    async def keep(self) -> None:
        """Run and run again; raises Failure for a part that never becomes ready."""
        delay, tries = self.pace.first_delay, 0
        measures.READY.labels(self.part.name).set(0)
        measures.RESTARTS.labels(self.part.name)
        measures.HANGS.labels(self.part.name)
        while True:
            healthy_since = asyncio.get_running_loop().time() + self.pace.healthy
            try:
                async with self._running() as running:
                    how = await self._watch(running)
            except NotStarted as error:
                how = str(error)
            tries += 1
            if not self.once_ready.is_set() and tries >= self.pace.tries:
                raise self._failed(how)
            if asyncio.get_running_loop().time() > healthy_since:
                delay = self.pace.first_delay
            measures.READY.labels(self.part.name).set(0)
            measures.RESTARTS.labels(self.part.name).inc()
            if how == HANGS:
                measures.HANGS.labels(self.part.name).inc()
                self.say(f"{self.part.name} hangs, restarting")
                log.warning("part hangs", extra={"name_of_part": self.part.name})
            else:
                self.say(f"{self.part.name} died ({how}), restarting")
                log.info("part died", extra={"name_of_part": self.part.name, "how": how})
            await asyncio.sleep(delay)
            delay = min(2 * delay, self.pace.longest_delay)

    def _failed(self, how: str) -> Failure:
        return Failure(f"{self.part.name} could not be started ({how}); see what it said above.")

    async def _watch(self, running: _Running) -> str:
        """Wait for the end of the process; says how it ended."""
        exited = asyncio.ensure_future(running.process.wait())
        if not await _either(self._ready(running), exited, within=self.pace.start):
            how = f"not ready after {self.pace.start:g} seconds"
            if not self.once_ready.is_set():
                raise self._failed(how)
            return how
        if running.ready.is_set():
            measures.READY.labels(self.part.name).set(1)
            self.say(f"{self.part.name} ready")
            log.info("part ready", extra={"name_of_part": self.part.name})
            self.once_ready.set()
            await _either(exited, self._silence(running.process))
        if not exited.done():
            # A process that hangs may not react to SIGTERM, nor may its children: kill all.
            _kill_group(running.process.pid)
            await exited
            return HANGS
        return _ending(exited.result())

    async def _ready(self, running: _Running) -> None:
        if not self.part.ready_by_probe:
            await running.ready.wait()
            return
        while await self._ask() is None:  # noqa: ASYNC110 - another process has no event for it
            await asyncio.sleep(0.05)
        running.ready.set()

    async def _ask(self) -> bytes | None:
        """What the part answers; nothing if it does not."""
        assert self.part.probe is not None  # noqa: S101 - asked for by the callers
        with contextlib.suppress(Silent, TimeoutError):
            async with asyncio.timeout(self.pace.probe * self.pace.misses):
                return await self.part.probe.ask()
        return None

    async def _silence(self, process: Process) -> None:
        """Wait until the part hangs. What hangs of its workers is killed at once."""
        if self.part.probe is None:
            await asyncio.Event().wait()
            return
        #: Oldest first. Two at a time: one may be in the hands of a worker that hangs. Not more: a
        #: part that is only slow must not be left with ever more of them.
        asked: list[asyncio.Task[bytes | None]] = []
        killed: set[int] = set()
        loop, missed = asyncio.get_running_loop(), 0
        try:
            while missed < self.pace.misses:
                missed += 1
                # All parts are asked at the same moment: that wakes us, and them, once.
                until = (round(loop.time() / self.pace.probe) + 1) * self.pace.probe
                if len(asked) < 2:
                    asked.append(loop.create_task(self._ask()))
                await asyncio.wait(
                    asked, timeout=self.pace.probe, return_when=asyncio.FIRST_COMPLETED
                )
                answers = [text for a in asked if a.done() and (text := a.result()) is not None]
                asked = [a for a in asked if not a.done()]
                if answers and not _is_stopped(process.pid):
                    missed = 0
                    found = self.part.probe.hung(answers[-1])
                    hung = {pid for pid in found if _group(pid) == process.pid}
                    if killed & hung:
                        # Nobody saw that it ended: who should have done that hangs, too.
                        return
                    killed = hung
                    for pid in hung:
                        self._kill_worker(pid)
                await asyncio.sleep(until - loop.time())
        finally:
            for each in asked:
                each.cancel()

    def _kill_worker(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        measures.HANGS.labels(self.part.name).inc()
        self.say(f"{self.part.name} has a worker that hangs, replacing it")
        log.warning("worker hangs", extra={"name_of_part": self.part.name, "pid": pid})

    @contextlib.asynccontextmanager
    async def _running(self) -> AsyncIterator[_Running]:
        path = notify_path(self.run, self.part.name)
        # Our own pipe: asyncio's `wait` would also wait for its end, which children of a part that
        # died may hold open.
        reading, writing = os.pipe()
        with _notices(path) as ready, open(reading, "rb", buffering=0) as pipe:  # noqa: ASYNC230 - a pipe, which is ready
            try:
                process = await self._spawn(path, writing)
            finally:
                os.close(writing)
            stream = asyncio.StreamReader()
            transport, _ = await asyncio.get_running_loop().connect_read_pipe(
                lambda: asyncio.StreamReaderProtocol(stream), pipe
            )
            output = asyncio.create_task(self._relay(stream))
            try:
                yield _Running(process=process, ready=ready, output=output)
            finally:
                await self._end(process)
                # A grandchild that left the group may hold the pipe open.
                await asyncio.wait({output}, timeout=1)
                output.cancel()
                transport.close()

    async def _spawn(self, notify: Path, output: int) -> Process:
        part = self.part
        env = {**part.env, "NOTIFY_SOCKET": str(notify)}
        sockets = [sock.fileno() for sock in part.sockets]
        if part.forked and self.forks is not None:
            return await self.forks.fork(part.name, env=env, output=output, sockets=sockets)
        return processes.execute(part.argv, env=env, output=output, sockets=sockets)

    async def _end(self, process: Process) -> None:
        await _asked_to_end(process, self.part.stop_signal, within=self.pace.stop)
        if self.part.stop_signal != signal.SIGTERM:
            await _asked_to_end(process, signal.SIGTERM, within=self.pace.terminate)
        # All that is left in its group: the process itself, or its children.
        _kill_group(process.pid)
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


async def _asked_to_end(process: Process, number: signal.Signals, *, within: float) -> None:
    if process.returncode is None:
        process.send(number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), timeout=within)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _group(pid: int) -> int | None:
    """The group of a process, also of one that waits to be reaped; nothing if there is none."""
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def _is_stopped(pid: int) -> bool:
    """Whether SIGSTOP holds the process, whose children may go on and answer for it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("T")
    except OSError:
        return False


def notify_path(run: Path, name: str) -> Path:
    """The socket on which the part `name` reports that it is ready."""
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


async def _kept(keeper: _PartKeeper, keepers: Mapping[str, _PartKeeper]) -> None:
    """Keep a part, once those are ready that it starts after."""
    await _all_ready(keepers[name] for name in keeper.part.after if name in keepers)
    await keeper.keep()


async def _all_ready(keepers: Iterable[_PartKeeper]) -> None:
    for keeper in keepers:
        await keeper.once_ready.wait()


async def supervise(
    parts: Sequence[Part],
    *,
    run: Path,
    say: Say,
    write: Write,
    stop: asyncio.Event,
    greet: Callable[[], None] | None = None,
    when_ready: Callable[[], None] | None = None,
    pace: SupervisorPace | None = None,
    forks: ForkServer | None = None,
) -> None:
    """Start `parts` side by side, say `ready`, and keep them until `stop`.

    They are ended in reverse order. `when_ready` is called before `ready` is said, `greet` after.

    `run` is a folder of mode 0700 for the notices. Raises Failure if a part cannot be started.
    """
    keepers = {
        part.name: _PartKeeper(
            part=part, run=run, say=say, write=write, pace=pace or SupervisorPace(), forks=forks
        )
        for part in parts
    }
    tasks = [asyncio.create_task(_kept(keeper, keepers)) for keeper in keepers.values()]
    try:
        await _either(_all_ready(keepers.values()), stop.wait(), *tasks)
        _raise_failure(tasks)
        if stop.is_set():
            return
        if when_ready is not None:
            when_ready()
        say("ready")
        log.info("ready")
        if greet is not None:
            greet()
        await _either(stop.wait(), *tasks)
        _raise_failure(tasks)
    finally:
        for task in reversed(tasks):
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled():
                # Looked at: where several parts could not be started, one is named.
                task.exception()


def _raise_failure(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        if task.done():
            task.result()


def run(
    parts: Sequence[Part],
    *,
    folder: Path,
    say: Say,
    write: Write,
    greet: Callable[[], None] | None = None,
    when_ready: Callable[[], None] | None = None,
    forks: ForkServer | None = None,
) -> bool:
    """Supervise until SIGINT or SIGTERM; SIGHUP, a closed terminal, changes nothing.

    `say` is told what becomes of the parts, `write` every line that they print. Whether it was
    SIGUSR2 that ended them: then everything is to start again.
    """
    return asyncio.run(
        _until_signalled(
            parts,
            folder=folder,
            say=say,
            write=write,
            greet=greet,
            when_ready=when_ready,
            forks=forks,
        )
    )


async def _until_signalled(
    parts: Sequence[Part],
    *,
    folder: Path,
    say: Say,
    write: Write,
    greet: Callable[[], None] | None,
    when_ready: Callable[[], None] | None,
    forks: ForkServer | None,
) -> bool:
    loop, stop, again = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def end() -> None:
        again.clear()
        stop.set()

    def start_anew() -> None:
        # Not if it is ending already; and a request to end that comes later wins.
        if not stop.is_set():
            again.set()
            stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGHUP, _ignore)
    loop.add_signal_handler(signal.SIGUSR2, start_anew)
    loop.add_signal_handler(signal.SIGCHLD, loop.call_later, REAP_SECONDS, processes.reap_orphans)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
    names = [part.name for part in parts]
    alone = names == ["recipes"]
    shown_as = exposition.RECIPES_SUPERVISOR if alone else exposition.SUPERVISOR
    exposition.forget(folder, [*names, shown_as])
    # Parts that are forked become our children by it.
    prctl.adopt_orphans()
    shown = await exposition.show(folder, shown_as)
    try:
        await supervise(
            parts,
            run=folder,
            say=say,
            write=write,
            stop=stop,
            greet=greet,
            when_ready=when_ready,
            forks=forks,
        )
    finally:
        # What starts again is new code.
        if forks is not None:
            forks.close()
        # Until the new code can take it.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        shown.close()
    return again.is_set()


def _ignore() -> None:
    # Not SIG_IGN, which the parts would inherit.
    return
