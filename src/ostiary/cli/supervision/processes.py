"""Processes of parts, as the supervisor has them: started from a command line, or forked.

All are our children: their ends are noticed by file descriptors, without a thread for each. Knows
nothing of what a part is for.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from ostiary.cli.supervision import fork_requests
from ostiary.cli.supervision.fork_requests import Request

#: Seconds that a fork may take, which takes some milliseconds.
FORK_SECONDS = 3.0
#: Seconds that the fork server may take to import.
IMPORT_SECONDS = 60.0


class NotStarted(Exception):
    """A process could not be started; the text says why, in a few words."""


class Process:
    """One child process; `returncode` is negative for a signal, and None while it runs."""

    #: Of all that were started here: who adopts orphans reaps only others.
    ours: ClassVar[set[int]] = set()

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self._file = os.pidfd_open(pid)
        self._loop.add_reader(self._file, self._end)
        Process.ours.add(pid)

    async def wait(self) -> int:
        """Wait for its end; the return code."""
        return await asyncio.shield(self._ended)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it has not ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._file, number)

    def _end(self) -> None:
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            # Somebody else has reaped it.
            pid, status = self.pid, 0
        if pid == 0:
            return
        self._loop.remove_reader(self._file)
        os.close(self._file)
        Process.ours.discard(self.pid)
        self.returncode = os.waitstatus_to_exitcode(status)
        self._ended.set_result(self.returncode)


def execute(
    argv: Sequence[str], *, env: Mapping[str, str], output: int, sockets: Sequence[int] = ()
) -> Process:
    """Start a program in a session of its own; raises NotStarted."""
    try:
        return Process(
            _started(argv, env=env, stdin=subprocess.DEVNULL, output=output, sockets=sockets)
        )
    except OSError as error:
        raise NotStarted(_words(error)) from error


def _started(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    stdin: int,
    output: int | None = None,
    sockets: Sequence[int] = (),
) -> int:
    """The process id of a new child; raises OSError. Without `output` it prints where we do."""
    started = subprocess.Popen(
        # The kernel sends SIGTERM should we vanish; a session of its own keeps the terminal's
        # Ctrl-C to us, who stop in order.
        ["setpriv", "--pdeathsig", "TERM", "--", *argv],
        stdin=stdin,
        stdout=output,
        stderr=output,
        env=dict(env),
        pass_fds=tuple(sockets),
        start_new_session=True,
    )
    # Ours to reap: else the module would, too.
    started.returncode = 0
    return started.pid


@dataclass(frozen=True, slots=True)
class _ServerProcess:
    pid: int
    #: A file descriptor of it: its number may be another's, once it has been reaped.
    file: int
    asking: socket.socket


class ForkServer:
    """The process that parts are forked from; started again if it is gone.

    It may be started before there is an event loop: to import takes it a second.
    """

    def __init__(self, parts: Sequence[str], env: Mapping[str, str]) -> None:
        self._parts = parts
        #: Few threads are busy at a time, and every arena of malloc's keeps pages for itself. Without
        #: columns of tracebacks all code takes a twentieth less.
        self._env = {"MALLOC_ARENA_MAX": "2", "PYTHONNODEBUGRANGES": "1", **env}
        self._server: _ServerProcess | None = None
        self._turn = asyncio.Lock()

    def start(self) -> None:
        """Start it, if it is not there; raises OSError."""
        if self._server is not None or not self._parts:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        named = fork_requests.argument(self._parts)
        argv = (sys.executable, "-P", "-m", "ostiary.cli.supervision.fork_server", named)
        with theirs:
            try:
                pid = _started(argv, env=self._env, stdin=theirs.fileno())
            except OSError:
                ours.close()
                raise
        self._server = _ServerProcess(pid, os.pidfd_open(pid), ours)

    async def fork(
        self, name: str, *, env: Mapping[str, str], output: int, sockets: Sequence[int]
    ) -> Process:
        """Fork the part `name`; raises NotStarted."""
        request = Request(
            name=name,
            supervisor=os.getpid(),
            env={key: value for key, value in env.items() if self._env.get(key) != value},
            numbers=(1, 2, *sockets),
        )
        files = (output, output, *sockets)
        async with self._turn:
            try:
                return Process(await self._asked(request, files))
            except OSError:
                # It may have ended since the last part was forked.
                self.close()
            try:
                return Process(await self._asked(request, files))
            except OSError as error:
                self.close()
                raise NotStarted(f"fork server: {_words(error)}") from error

    def close(self) -> None:
        """End it; parts that it forked go on."""
        if self._server is not None:
            self._server.asking.close()
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                signal.pidfd_send_signal(self._server.file, signal.SIGKILL)
                os.waitpid(self._server.pid, 0)
            os.close(self._server.file)
        self._server = None

    async def _asked(self, request: Request, files: Sequence[int]) -> int:
        """The process id of the new part; raises OSError."""
        self.start()
        assert self._server is not None  # noqa: S101 - it was just started
        asking = self._server.asking
        async with asyncio.timeout(IMPORT_SECONDS):
            await _readable(asking)
        # Not awaited: a fork is a matter of milliseconds, and nobody may cancel half of it.
        asking.settimeout(FORK_SECONDS)
        if asking.recv(len(fork_requests.IDLE)) != fork_requests.IDLE:
            raise ConnectionResetError("it ended")
        socket.send_fds(asking, [request.encoded()], files)
        answer = asking.recv(200)
        if not answer.isdigit():
            raise OSError(answer.decode() or "it ended")
        return int(answer)


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    heard = asyncio.Event()
    loop.add_reader(sock, heard.set)
    try:
        await heard.wait()
    finally:
        loop.remove_reader(sock)


def reap_orphans() -> None:
    """Let go of descendants that were left to us and have ended."""
    while (ended := _ended()) is not None and ended not in Process.ours:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(ended, os.WNOHANG)


def _ended() -> int | None:
    """A child that waits to be reaped."""
    with contextlib.suppress(ChildProcessError):
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return found.si_pid if found is not None else None
    return None


def _words(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
