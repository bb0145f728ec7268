"""`ostiary up` and the roles of it for several machines, from claim to clean stop."""

import contextlib
import logging
import os
import resource
import shutil
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Self, TextIO

from ostiary import settings as environment
from ostiary.cli.commands import greeting
from ostiary.cli.commands.greeting import Greeting
from ostiary.cli.failure import Failure
from ostiary.cli.serving import certificate
from ostiary.cli.startup import addresses, data_folder, django_setup, provisioning, status
from ostiary.cli.startup.provisioning import Provisioned
from ostiary.cli.supervision import roles, supervisor
from ostiary.cli.supervision.processes import ForkServer
from ostiary.settings import INHERITED_PREFIX, Settings, SettingsError
from ostiary.telemetry import logs

#: Name of the data folder's lock among the files that a restart hands down.
LOCK = "lock"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Reports what happens at a start: each event once, as a line for people or for machines."""

    form: str
    #: Whether people read standard output.
    for_people: bool
    #: Whether secrets of the demo may be printed there.
    with_secrets: bool

    @classmethod
    def of(cls, settings: Settings, *, print_secrets: bool) -> Self:
        """What the terminal and the settings ask for."""
        terminal = sys.stdout.isatty()
        form = settings.log_format or ("text" if sys.stderr.isatty() else "json")
        return cls(
            form=form,
            for_people=form == "text" or (terminal and not settings.log_format),
            with_secrets=print_secrets or terminal,
        )

    def set_up_logs(self) -> None:
        """Log events of this process on standard error, except those reported to people."""
        logs.set_up("supervisor", self.form)
        if self.form == "text":
            supervisor.log.setLevel(logging.CRITICAL)

    def say(self, line: str) -> None:
        """Tell people; for machines the same is an event."""
        if self.for_people:
            print_line(line)

    def relay(self, part: str, line: str) -> None:
        """Pass on what a part printed."""
        if relayed := logs.relayed(part, line, self.form):
            print_error(relayed)

    def greet(self, shown: Greeting) -> None:
        """Tell where the console is, and how to get in."""
        if self.for_people:
            if text := shown.text(with_secrets=self.with_secrets):
                print_line(text)
            return
        log.info("console", extra=shown.fields())
        if self.with_secrets and shown.demo:
            print_line(shown.demo)

    def end(self) -> None:
        """Tell that nothing runs any more."""
        self.say("stopped")
        log.info("stopped")


def run(role: str, settings: Settings, *, demo: bool = False, print_secrets: bool = False) -> None:
    """Run a role's parts in the foreground until SIGINT or SIGTERM; raises Failure.

    On SIGUSR2 the parts are stopped, and this process executes its command line again, with the
    lock and the listening TCP sockets it has: callers wait in the sockets' queues meanwhile.
    """
    # Until the supervisor takes it; it would end us.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    os.umask(0o077)
    _raise_limit()
    output = Output.of(settings, print_secrets=print_secrets)
    settings = environment.adopt(OSTIARY_LOG_FORMAT=output.form)
    output.set_up_logs()
    if shutil.which("setpriv") is None:
        raise Failure("setpriv is missing; install it (on Debian: apt-get install util-linux).")
    try:
        _run_claimed(role, settings, output, demo=demo)
    except KeyboardInterrupt:
        output.end()
        raise
    output.end()


def _run_claimed(role: str, settings: Settings, output: Output, *, demo: bool) -> None:
    try:
        inherited = environment.take_inherited()
    except SettingsError as error:
        raise Failure(str(error)) from error
    with data_folder.claimed(settings, role=role, held=inherited.pop(LOCK, None)) as lock:
        start = status.begin(settings, status.RECIPES_FILE if role == "recipes" else status.FILE)
        with _failure_written(settings, start):
            roll, again = _run_parts(role, settings, start, inherited, output=output, demo=demo)
            if again:
                _start_anew(lock, roll.doors)


def _run_parts(
    role: str,
    settings: Settings,
    start: status.Status,
    inherited: dict[str, int],
    *,
    output: Output,
    demo: bool,
) -> tuple[roles.Roll, bool]:
    number = inherited.pop("demo", None)
    upstream = None
    if demo or provisioning.has_demo(settings):
        upstream = demo_socket(settings, number)
    roll = roles.call(role, settings, demo=upstream, inherited=inherited)
    forks = ForkServer([part.name for part in roll.parts if part.forked], environment.environment())
    if (settings.data / django_setup.KEY_RING).exists():
        # It reads the key ring, and imports while the folder is prepared.
        forks.start()
    port = upstream.getsockname()[1] if demo and upstream is not None else None
    provisioned = _prepared(role, settings, demo_port=port, with_keys=forks.start)
    if role != "recipes":
        # Those of the gateway that runs on the same folder stay.
        addresses.write(roll.settings)
    shown = None
    if provisioned is not None:
        with_console = "control" in roles.ROLES[role]
        shown = greeting.of(roll.settings, provisioned, with_console=with_console)
    # A directory that was in use already did not become a demo.
    wanted = [p for p in roll.parts if p.name != "demo" or provisioning.has_demo(settings)]
    again = supervisor.run(
        wanted,
        folder=settings.run,
        say=output.say,
        write=output.relay,
        greet=lambda: output.greet(shown) if shown else None,
        when_ready=lambda: status.tell_ready(settings, start),
        forks=forks,
    )
    return roll, again


def _prepared(
    role: str, settings: Settings, *, demo_port: int | None, with_keys: Callable[[], None]
) -> Provisioned | None:
    """Prepare; None if the database is away. Raises Failure.

    A gateway that has served before starts without its database, too: what it knows of routes it
    has in its own files, and it refuses what nobody can decide until the database is back.
    """
    gateway = "gateway" in roles.ROLES[role]
    if "control" in roles.ROLES[role]:
        # A wrong file is said before anything has started.
        certificate.of(settings)
    try:
        return provisioning.run(gateway=gateway, demo_port=demo_port, with_keys=with_keys)
    except provisioning.DatabaseAway as failure:
        if not gateway or not (settings.run / "gateway" / "published.jsonl").exists():
            raise
        log.warning("%s The gateway starts from its last state; all else waits for it.", failure)
        return None


@contextlib.contextmanager
def _failure_written(settings: Settings, start: status.Status) -> Iterator[None]:
    try:
        yield
    except Failure as failure:
        # What nobody foresaw is a trace, and stays in our own output.
        sentence = str(failure)
        status.tell_failure(settings, start, sentence if len(sentence.splitlines()) == 1 else "")
        raise


def _raise_limit() -> None:
    """Open as many files as we may: a call through the gateway takes two."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _start_anew(lock: int, doors: Mapping[str, socket.socket]) -> NoReturn:
    """Become the command line that we were started with, as its code is now."""
    numbers = {LOCK: lock} | {name: sock.fileno() for name, sock in doors.items()}
    for number in numbers.values():
        os.set_inheritable(number, True)
    changes = {INHERITED_PREFIX + name.upper(): str(number) for name, number in numbers.items()}
    argv = _command_line()
    try:
        os.execve(argv[0], argv, environment.environment(**changes))  # noqa: S606 - the same program again, without a shell
    except OSError as error:
        raise Failure(f"{argv[0]} cannot be run again: {data_folder.reason(error)}.") from error


def _command_line() -> list[str]:
    """Our command line. If a script was started, use it: it may name another Python now."""
    script = sys.orig_argv[1] if len(sys.orig_argv) > 1 else ""
    if script == sys.argv[0] and Path(script).is_file() and os.access(script, os.X_OK):
        return [str(Path(script).absolute()), *sys.argv[1:]]
    return [sys.executable, *sys.orig_argv[1:]]


def demo_socket(settings: Settings, number: int | None = None) -> socket.socket:
    """The demo upstream's socket, always on the port that the demo's connection was made with.

    `number` is that of a socket that we had open already.
    """
    if number is not None:
        return data_folder.adopted_socket("demo", number)
    port = provisioning.demo_port(settings)
    return data_folder.tcp_socket(
        ("127.0.0.1", port), f"the port in {settings.data}/{provisioning.DEMO}"
    )


def print_line(line: str) -> None:
    _print(sys.stdout, line)


def print_error(line: str) -> None:
    _print(sys.stderr, line)


def _print(stream: TextIO, line: str) -> None:
    try:
        stream.write(f"{line}\n")
        stream.flush()
    except OSError:
        # The reader of our output is gone; the parts go on.
        return
