"""The file to which nginx writes log lines: followed, exchanged when it is large, deleted when read.

nginx goes on writing to a file that was renamed until it opens its files anew. So an old file is
deleted only after there is a new one, nobody has the old one open for writing, and it was read.
"""

import contextlib
import errno
import fcntl
import hashlib
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ostiary.usage.recording import Position

log = logging.getLogger(__name__)

NAME = "calls.log"
#: Lines that are read at once, which are one transaction: of some ten milliseconds.
AT_ONCE = 1000
#: Bytes of a file that is exchanged for a new one.
LARGEST = 16 * 1024 * 1024
#: Bytes that are read at once; nginx writes no longer line.
_CHUNK = 512 * 1024
#: Seconds after which an old file that does not grow is deleted, and nginx is asked again to open
#: a new one.
QUIET = 5.0
#: Old files that may wait to be read; then the file grows instead.
_MOST_OLD = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Whole lines of a file, and where in it they end."""

    identity: str
    lines: list[str]
    end: int
    #: The lines are in the request log, and not yet in the histograms of latencies.
    is_stored: bool = False
    #: Pieces of the file that aren't lines.
    strange: int = 0


@dataclass(slots=True, kw_only=True, eq=False)
class _TailedFile:
    path: Path
    fd: int
    inode: int
    #: Empty until the first line is whole.
    identity: str = ""
    offset: int = 0
    #: So far the file was stored by a collector before us.
    stored: int = 0
    size: int = 0
    #: When it last grew or was renamed; monotonic.
    grew: float = field(default_factory=time.monotonic)

    def close(self) -> None:
        os.close(self.fd)


class Tail:
    """Follows the files of one gateway. Blocking; errors of the disk are OSError.

    `positions`: how far each file was stored before, by its identity. `reopen` asks nginx to reopen
    its files, and says whether it could.
    """

    def __init__(
        self,
        folder: Path,
        positions: Mapping[str, Position],
        *,
        reopen: Callable[[], bool],
        largest: int = LARGEST,
        quiet: float = QUIET,
    ) -> None:
        self._path = folder / NAME
        self._positions = dict(positions)
        self._reopen = reopen
        self._largest, self._quiet = largest, quiet
        self._current: _TailedFile | None = None
        self._old = [file for path in self._old_paths() if (file := _open(path)) is not None]
        self._asked = -quiet
        #: Lines whose end never came, since the start.
        self.torn = 0
        #: Identities of files that were deleted, until `forget` drops them.
        self.gone: list[str] = []

    def next(self) -> Piece | None:
        """The next lines, which come again until they are `taken`; nothing if there are none now."""
        self._look()
        files = [*self._old, *([self._current] if self._current else [])]
        return next((piece for file in files if (piece := self._piece(file)) is not None), None)

    def taken(self, piece: Piece) -> None:
        """The piece is stored."""
        for file in (*self._old, self._current):
            if file is not None and file.identity == piece.identity:
                file.offset = piece.end

    def tidy(self) -> None:
        """Exchange a file that is large, and delete old ones that are read; when all is read."""
        self._look()
        if self._current is not None and self._current.size >= self._largest:
            self._exchange(self._current)
        if self._old and not self._path.exists():
            self._ask()
        for file in list(self._old):
            if self._is_over(file):
                self._delete(file)

    @property
    def has_old(self) -> bool:
        return bool(self._old)

    def forget(self) -> None:
        """Drop the identities in `gone`: nothing is kept about those files any more."""
        self.gone = []

    def close(self) -> None:
        for file in (*self._old, self._current):
            if file is not None:
                file.close()
        self._old, self._current = [], None

    def _old_paths(self) -> list[Path]:
        numbered = [
            (int(number), path)
            for path in self._path.parent.glob(f"{NAME}.*")
            if (number := path.name.removeprefix(f"{NAME}.")).isdecimal()
        ]
        return [path for _, path in sorted(numbered)]

    def _look(self) -> None:
        """Take a new file up, and see how long each one is."""
        try:
            inode = self._path.stat().st_ino
        except FileNotFoundError:
            inode = 0
        current = self._current
        if current is not None and inode != current.inode:
            # Somebody else renamed or deleted it: what it holds is read all the same.
            self._old.append(current)
            self._current = None
        if inode and self._current is None:
            self._current = _open(self._path)
        for file in (*self._old, self._current):
            if file is not None:
                self._measure(file)

    def _measure(self, file: _TailedFile) -> None:
        size = os.fstat(file.fd).st_size
        if size < file.size or size < file.offset:
            log.warning("a file of log lines was cut; it is read from its start")
            file.identity, file.offset, file.stored = "", 0, 0
        if size != file.size:
            file.size, file.grew = size, time.monotonic()

    def _piece(self, file: _TailedFile) -> Piece | None:
        if not file.identity and not self._identify(file):
            return None
        if file.offset >= file.size:
            return None
        is_stored = file.offset < file.stored
        most = min(_CHUNK, file.stored - file.offset) if is_stored else _CHUNK
        data = os.pread(file.fd, most, file.offset)
        end = 0
        for _ in range(AT_ONCE):
            newline = data.find(b"\n", end)
            if newline < 0:
                break
            end = newline + 1
        if end:
            # PostgreSQL takes no NUL, which is what a crash of the machine leaves in a file.
            text = data[: end - 1].replace(b"\0", b"?").decode(errors="replace")
            return Piece(
                identity=file.identity,
                lines=text.split("\n"),
                end=file.offset + end,
                is_stored=is_stored,
            )
        if len(data) == most:
            skipped = file.offset + len(data)
            return Piece(
                identity=file.identity, lines=[], end=skipped, is_stored=is_stored, strange=1
            )
        return None

    def _identify(self, file: _TailedFile) -> bool:
        """Find out which file it is, by its first line: whether that is known now."""
        head = os.pread(file.fd, _CHUNK, 0)
        end = head.find(b"\n")
        if end < 0 and len(head) < _CHUNK:
            return False
        digest = hashlib.sha256(head[: end if end >= 0 else _CHUNK]).hexdigest()[:40]
        file.identity = f"{file.inode:x}-{digest}"
        before = self._positions.get(file.identity)
        if before is not None and before.offset <= file.size:
            file.offset, file.stored = min(before.timed, before.offset), before.offset
        return True

    def _exchange(self, file: _TailedFile) -> None:
        if len(self._old) >= _MOST_OLD:
            return
        last = max((int(path.name.rpartition(".")[2]) for path in self._old_paths()), default=0)
        path = self._path.with_name(f"{NAME}.{last + 1}")
        self._path.rename(path)
        file.path, file.grew = path, time.monotonic()
        self._old.append(file)
        self._current = None
        self._asked = -self._quiet
        self._ask()

    def _ask(self) -> None:
        now = time.monotonic()
        if now - self._asked >= self._quiet:
            self._asked = now
            self._reopen()

    def _is_over(self, file: _TailedFile) -> bool:
        if time.monotonic() - file.grew < self._quiet or self._piece(file) is not None:
            return False
        writers = _has_writers(file.fd)
        # Without that knowledge, a new file tells that nginx has left the old one.
        if not (self._path.exists() if writers is None else not writers):
            return False
        # Lines may have been written between the last measurement and the last writer's end.
        self._measure(file)
        return self._piece(file) is None

    def _delete(self, file: _TailedFile) -> None:
        self.torn += file.offset < file.size
        with contextlib.suppress(FileNotFoundError):
            if file.path.stat().st_ino == file.inode:
                file.path.unlink()
        file.close()
        self._old.remove(file)
        if file.identity:
            self.gone.append(file.identity)


def _open(path: Path) -> _TailedFile | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    return _TailedFile(path=path, fd=fd, inode=os.fstat(fd).st_ino)


def _has_writers(fd: int) -> bool | None:
    """Whether anybody has the file open for writing; nothing where the system does not tell.

    A read lease is granted only where nobody has (fcntl(2), F_SETLEASE). Its holder gets a signal
    if somebody opens the file meanwhile: by default SIGIO, which would end us.
    """
    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False
