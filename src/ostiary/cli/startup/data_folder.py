"""The data folder and what is claimed before anything starts: lock, sockets, ports.

Knows files and sockets; nothing of what the parts do with them.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import socket
import sqlite3
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from ostiary.cli.failure import Failure
from ostiary.settings import Bind, Settings

#: A check of every page takes about a second per 100 MB.
LARGEST_CHECKED_DATABASE = 256 * 1024 * 1024
#: Within this time a previous process that is ending frees its ports.
PORT_PATIENCE_SECONDS = 1.5
#: Connections that may wait at a port before they are accepted; the system's bound may be lower.
BACKLOG = 4096
LOCK = "lock"
#: The lock of `ostiary recipes`, which runs beside a gateway on the same folder.
RECIPES_LOCK = "recipes.lock"
#: Role → what it locks, if it is not LOCK alone.
LOCKS: Mapping[str, tuple[str, ...]] = {"up": (LOCK, RECIPES_LOCK), "recipes": (RECIPES_LOCK,)}


@contextlib.contextmanager
def claimed(settings: Settings, *, role: str = "", held: int | None = None) -> Iterator[int]:
    """Make the data folder and hold the locks of a role; gives the file descriptor of the first.

    `held` is the descriptor of a lock that this process already held before it restarted itself.
    The file holds the process id. Raises Failure, which says what is in the way.
    """
    make(settings)
    names = LOCKS.get(role, (LOCK,))
    locks = [_lock(settings, names[0], held)]
    try:
        locks += [_lock(settings, name, None) for name in names[1:]]
        yield locks[0]
    finally:
        # Also one that we could not take.
        others = [name for name in (LOCK, RECIPES_LOCK) if name not in names[: len(locks)]]
        shared = any(holder(settings, name) is not None for name in others)
        if settings.run.parent != settings.data and not shared:
            # A folder for temporary files is not where sockets and the gateway's files stay.
            shutil.rmtree(settings.run, ignore_errors=True)
        for lock in locks:
            os.close(lock)


def _lock(settings: Settings, name: str, held: int | None) -> int:
    path = settings.data / name
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if held is not None:
        if _same_file(held, lock):
            os.close(lock)
            lock = held
            os.set_inheritable(lock, False)
        else:
            os.close(held)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise Failure(
            f"Another Ostiary is running with the data folder {settings.data}; stop it, or name"
            " another folder with --data."
        ) from error
    with contextlib.suppress(OSError):
        # Only `ostiary restart` needs it, so a full disk must not prevent the start.
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    return lock


def _same_file(one: int, other: int) -> bool:
    try:
        return os.path.samestat(os.fstat(one), os.fstat(other))
    except OSError:
        return False


def holder(settings: Settings, name: str = LOCK) -> int | None:
    """The id of the process that holds a lock of the data folder; None if no process does.

    Asked without taking the lock, which another process may want at this moment.
    """
    path = settings.data / name
    try:
        pid = int(path.read_text())
        ours = path.stat()
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except (OSError, ValueError):
        return None
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            if os.path.samestat(descriptor.stat(), ours):
                return pid
    return None


def make(settings: Settings) -> None:
    """Make the data folder and the folder of sockets, for us alone."""
    data = settings.data
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_run(settings.run)
    except OSError as error:
        raise Failure(
            f"The data folder {data} cannot be made: {reason(error)}; choose another with --data."
        ) from error
    if not os.access(data, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        raise Failure(
            f"The data folder {data} cannot be written by this user; correct its owner, or choose"
            " another with --data."
        )


def make_run(run: Path) -> None:
    """Make the folder of sockets; refuse one that another user made, who could read the traffic."""
    run.mkdir(mode=0o700, exist_ok=True)
    found = run.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise Failure(f"{run} belongs to somebody else; remove it.")
    run.chmod(0o700)


def check_database(path: Path) -> None:
    """Raise Failure if the SQLite file at `path` is damaged; nothing there is fine."""
    if not path.exists():
        return
    damaged = Failure(f"The database {path} is damaged; restore it from backup.")
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=20)) as database:
            whole = path.stat().st_size <= LARGEST_CHECKED_DATABASE
            row = database.execute(
                "PRAGMA quick_check(1)" if whole else "SELECT 'ok' FROM sqlite_schema LIMIT 1"
            ).fetchone()
    except sqlite3.OperationalError as error:
        raise Failure(f"The database {path} cannot be opened: {error}.") from error
    except sqlite3.DatabaseError as error:
        raise damaged from error
    if row is not None and row[0] != "ok":
        raise damaged


def unix_socket(path: Path, kind: socket.SocketKind = socket.SOCK_STREAM) -> socket.socket:
    """A Unix socket at `path`; replaces a socket that an earlier process left there.

    Non-blocking: nginx leaves an inherited socket as it is, and two workers that are woken for one
    call must not wait for another.
    """
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, kind)
    sock.setblocking(False)
    sock.bind(str(path))
    path.chmod(0o600)
    if kind == socket.SOCK_STREAM:
        sock.listen(1024)
    return sock


def adopted_socket(name: str, number: int) -> socket.socket:
    """A listening TCP socket that was handed down; raises Failure if it is something else."""
    refused = Failure(
        f"The socket {name} from the service manager isn't a listening TCP socket; use ListenStream= with"
        " an address and a port."
    )
    try:
        sock = socket.socket(fileno=number)
    except OSError as error:
        raise refused from error
    if (
        sock.family not in {socket.AF_INET, socket.AF_INET6}
        or sock.type != socket.SOCK_STREAM
        or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    ):
        sock.close()
        raise refused
    sock.set_inheritable(False)
    sock.setblocking(False)
    sock.listen(BACKLOG)
    return sock


def tcp_socket(bind: Bind, option: str) -> socket.socket:
    """A listening TCP socket, non-blocking; raises Failure that names the option to change."""
    host, port = bind
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise Failure(f"{host} isn't an address of this machine; correct {option}.") from error
    sock = socket.socket(family, kind)
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    give_up = time.monotonic() + PORT_PATIENCE_SECONDS
    while True:
        try:
            sock.bind(address)
            sock.listen(BACKLOG)
            return sock
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() > give_up:
                sock.close()
                raise _unbindable(bind, option, error) from error
        time.sleep(0.05)


def addresses_of(host: str) -> frozenset[str]:
    """The addresses of a host name of this machine; none if the name is unknown."""
    try:
        return frozenset(str(found[4][0]) for found in socket.getaddrinfo(host, None))
    except OSError:
        return frozenset()


def _unbindable(bind: Bind, option: str, error: OSError) -> Failure:
    host, port = bind
    if error.errno == errno.EADDRINUSE:
        return Failure(f"Port {port} on {host} is in use; choose another with {option}.")
    if error.errno == errno.EACCES:
        return Failure(f"This user may not use port {port}; choose one above 1023 with {option}.")
    return Failure(f"{host}:{port} cannot be used: {reason(error)}; correct {option}.")


def reason(error: OSError) -> str:
    """The system's own message for an error."""
    return (error.strerror or type(error).__name__).lower()
