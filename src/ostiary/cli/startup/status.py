"""The state of the running `ostiary up`, or of another role, written for `ostiary restart`."""

import contextlib
import json
import os
from dataclasses import asdict, dataclass, replace

from ostiary.settings import Settings

FILE = "status.json"
#: Of `ostiary recipes`, which runs beside a gateway on the same folder.
RECIPES_FILE = "recipes-status.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    pid: int
    #: Counts the starts on this data folder, also restarts of the same process.
    start: int
    ready: bool = False
    #: Why it could not go on, one sentence; empty if it could.
    failure: str = ""
    #: Where this is written.
    file: str = FILE


def read(settings: Settings, file: str = FILE) -> Status | None:
    """The last status that was written, by any earlier start."""
    try:
        return Status(**json.loads((settings.data / file).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def begin(settings: Settings, file: str = FILE) -> Status:
    """Write down that a start begins."""
    last = read(settings, file)
    status = Status(pid=os.getpid(), start=1 if last is None else last.start + 1, file=file)
    _write(settings, status)
    return status


def tell_ready(settings: Settings, status: Status) -> None:
    """Write down that every part of this start is ready."""
    _write(settings, replace(status, ready=True))


def tell_failure(settings: Settings, status: Status, sentence: str) -> None:
    """Write down that this start failed, and why."""
    _write(settings, replace(status, failure=sentence))


def _write(settings: Settings, status: Status) -> None:
    # Whole or not at all; a full disk must not stop us.
    with contextlib.suppress(OSError):
        path = settings.data / f"{status.file}.new"
        path.write_text(json.dumps(asdict(status)))
        path.replace(settings.data / status.file)
