"""The process that parts are forked from: it imports their common modules and does nothing else.

Pages that nobody writes to are in memory once, however many parts have them; and a part that is
forked starts in a tenth of the time. It has one thread, and opens no database and no socket. The
supervisor asks on standard input (a socket of messages) and gets a process id; the part becomes the
supervisor's own child, so that it outlives this process.

    python -P -m ostiary.cli.supervision.fork_server parts=authority,collector,publisher
"""

import contextlib
import errno
import fcntl
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from ostiary.cli.supervision.fork_requests import IDLE, LARGEST, MOST_FILES, Request, parts_of

#: Part → what it imports. All parts have all of it, in pages that they share.
MODULES: Mapping[str, Sequence[str]] = {
    "authority": ("ostiary.authority.service",),
    "collector": ("ostiary.collector.service",),
    "publisher": ("ostiary.publishing.service",),
    "control": (
        "ostiary.authority.client",
        "ostiary.cli.serving.server",
        "ostiary.console.asgi",
        "ostiary.console.urls",
        "ostiary.gateway.publisher_client",
        "ostiary.webhooks.service",
    ),
    "recipes": ("ostiary.recipes.runner",),
}
#: Part → modules that define its metrics, which no other part shows.
METRICS: Mapping[str, Sequence[str]] = {
    "authority": ("ostiary.authority.measures",),
    "collector": ("ostiary.collector.measures",),
    "publisher": ("ostiary.publishing.measures",),
    "control": (
        "ostiary.cli.serving.bounded_http",
        "ostiary.middleware.requests",
        "ostiary.webhooks.measures",
    ),
    "recipes": ("ostiary.recipes.measures",),
}


def serve(asking: socket.socket) -> Request | None:
    """Fork parts until the supervisor closes its end.

    Returns a second time in each part that was forked: with the request for it.
    """
    while True:
        gc.freeze()
        try:
            asking.send(IDLE)
            text, files, _, _ = socket.recv_fds(asking, LARGEST, MOST_FILES)
        except (BrokenPipeError, ConnectionResetError):
            # The supervisor ended before it read that we are here.
            return None
        if not text:
            return None
        request = Request.decoded(text)
        try:
            pid = _forked()
        except OSError as error:
            asking.send(f"{error.strerror}".encode())
        else:
            if pid == 0:
                _become(request, files)
                return request
            asking.send(b"%d" % pid)
        for number in files:
            os.close(number)


def _work_out_models() -> None:
    """Make Django fill now the caches that each part's first query would fill in its own pages."""
    from django.apps import apps
    from django.db import connection
    from django.db.models import QuerySet

    for model in apps.get_models():
        model._meta.get_fields()
        QuerySet(model).query.get_compiler(connection=connection).as_sql()


def _forked() -> int:
    """Fork a process that isn't our child: its id, or 0 in itself; raises OSError."""
    reading, writing = os.pipe()
    between = os.fork()
    if between == 0:
        between = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            os._exit(1)
        if pid == 0:
            os.close(reading)
            os.close(writing)
            while os.getppid() == between:
                # It is about to end, and leaves us to the supervisor.
                time.sleep(0.0005)
            return 0
        os.write(writing, b"%d" % pid)
        os._exit(0)
    os.close(writing)
    with open(reading, "rb", buffering=0) as pipe:
        text = pipe.read(20)
    os.waitpid(between, 0)
    if not text:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return int(text)


def _become(request: Request, files: Sequence[int]) -> None:
    """Make the new process what the supervisor would have started by itself."""
    from ostiary import settings as environment
    from ostiary.cli.supervision import prctl

    prctl.end_with(request.supervisor)
    os.setsid()
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    _place(files, request.numbers)
    environment.adopt(**request.env)
    _retitle([sys.executable, "-P", "-m", "ostiary.cli.supervision.part", request.name])
    _unregister_metrics(but=request.name)
    gc.enable()


def _unregister_metrics(*, but: str) -> None:
    from prometheus_client import REGISTRY

    others = [name for part, names in METRICS.items() if part != but for name in names]
    for name in sys.modules.keys() & set(others):
        for value in vars(sys.modules[name]).values():
            if hasattr(value, "collect") and not isinstance(value, type):
                # Not the registry itself.
                with contextlib.suppress(KeyError):
                    REGISTRY.unregister(value)


def _place(files: Sequence[int], numbers: Sequence[int]) -> None:
    """Give received files their numbers; standard input is nothing."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    above = max(*files, *numbers) + 1
    moved = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, above) for number in files]
    for number in files:
        os.close(number)
    for number, wanted in zip(moved, numbers, strict=True):
        os.dup2(number, wanted, inheritable=wanted < 3)
        os.close(number)


def _retitle(words: Sequence[str]) -> None:
    """Write another command line over ours, shown in lists of processes."""
    text = b"\0".join(os.fsencode(word) for word in words) + b"\0"
    # Only for people: a kernel that does not let us must not cost the part.
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()
        start, end = int(fields[45]), int(fields[46])
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            memory.seek(start)
            memory.write(text[: end - start - 1].ljust(end - start, b"\0"))


def main(argv: Sequence[str]) -> int:
    """Import, fork, and become a part: the exit status is that of the process that returns."""
    parts = parts_of(argv[1])
    os.umask(0o077)
    gc.disable()
    from ostiary.cli.failure import Failure
    from ostiary.cli.startup import django_setup

    try:
        django_setup.set_up_django()
    except Failure as failure:
        sys.stderr.write(f"{failure}\n")
        return 1
    # Else httpx imports its command-line client, and what colours the text of it.
    sys.modules["rich"] = None  # type: ignore[assignment]  # a module that must not be found
    for part in parts:
        for name in MODULES[part]:
            import_module(name)
    del sys.modules["rich"]
    _work_out_models()
    with socket.socket(fileno=0) as asking:
        request = serve(asking)
        if request is not None:
            asking.detach()
    if request is None:
        return 0
    status: int = import_module("ostiary.cli.supervision.part").main([argv[0], request.name])
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv))
