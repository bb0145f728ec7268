"""Finds damage in parts of an SQLite file that no query has read: checks the whole file from time to time.

A readiness request starts a check, in its own thread. PostgreSQL checks its own files.
"""

import threading
import time
from pathlib import Path

from ostiary.directory import database

#: Bytes of the largest file that is checked: a gigabyte takes some seconds.
LARGEST = 4 * 1024**3


class Looks:
    """Looks at one file, one at a time and `seconds` apart."""

    def __init__(self, path: Path, *, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._lock = threading.Lock()
        self._looking = False
        # `ostiary up` has checked the file already.
        self._ended = time.monotonic()

    def look(self) -> None:
        """Start a check if one is due. From then on `database.damage` reports its result."""
        with self._lock:
            if self._looking or time.monotonic() - self._ended < self._seconds:
                return
            self._looking = True
        threading.Thread(target=self._look, name="damage", daemon=True).start()

    def _look(self) -> None:
        try:
            if self._path.stat().st_size <= LARGEST:
                database.look(self._path)
        except OSError:
            # Other checks report a missing file.
            pass
        finally:
            with self._lock:
                self._looking, self._ended = False, time.monotonic()
