"""`ostiary restart`: makes the running `ostiary up` start again, and waits until it is ready."""

import os
import select
import signal
import time

from ostiary.cli.failure import Failure
from ostiary.cli.startup import data_folder, status
from ostiary.settings import Settings

#: Seconds that a restart may take: the parts' end, migrations, and the parts' start.
PATIENCE = 900.0
#: Seconds between two looks at the written status.
PAUSE = 0.1


def run(settings: Settings) -> None:
    """Restart what runs on the data folder; raises Failure, in one sentence, if it does not work."""
    main = data_folder.holder(settings)
    recipes = data_folder.holder(settings, data_folder.RECIPES_LOCK)
    if main is not None or recipes is None:
        _restart(settings, data_folder.LOCK, status.FILE)
    if recipes not in {None, main}:
        _restart(settings, data_folder.RECIPES_LOCK, status.RECIPES_FILE)


def _restart(settings: Settings, lock: str, file: str) -> None:
    process = _running(settings, lock)
    try:
        before = status.read(settings, file)
        try:
            signal.pidfd_send_signal(process, signal.SIGUSR2)
        except OSError as error:
            raise Failure(
                f"The Ostiary of {settings.data} may not be signalled: {data_folder.reason(error)}; run"
                " this as the user who runs it."
            ) from error
        _wait(settings, process, file, start=0 if before is None else before.start)
    finally:
        os.close(process)


def _running(settings: Settings, lock: str) -> int:
    """A file descriptor of the process, which no other process can take the place of."""
    absent = Failure(
        f"No Ostiary of this user is running with the data folder {settings.data}; name its folder"
        " with --data."
    )
    pid = data_folder.holder(settings, lock)
    if pid is None:
        raise absent
    try:
        process = os.pidfd_open(pid)
    except OSError as error:
        raise absent from error
    if data_folder.holder(settings, lock) != pid:
        os.close(process)
        raise absent
    return process


def _wait(settings: Settings, process: int, file: str, *, start: int) -> None:
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        ended = bool(select.select([process], [], [], PAUSE)[0])
        now = status.read(settings, file)
        if now is not None and now.start != start and now.ready:
            return
        if ended:
            why = now.failure if now is not None and now.start != start else ""
            raise Failure(why or "It ended instead of starting again; its output says why.")
    raise Failure(
        f"It is not ready after {PATIENCE / 60:g} minutes; its output says what it waits for."
    )
