"""Damage of an SQLite file that nothing has read by now: the file is looked through now and then.

Whoever asks for readiness starts a look, in a thread of its own. PostgreSQL sees to its own files.
"""

import threading
import time
from pathlib import Path

from ostiary.directory import database

#: Bytes of a file that is looked through: a gigabyte takes some seconds.
LARGEST = 4 * 1024**3


class Looks:
    """Looks at one file, one at a time and `seconds` apart."""

    def __init__(self, path: Path, *, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._lock = threading.Lock()
        self._looking = False
        # The start has looked already.
        self._ended = time.monotonic()

    def look(self) -> None:
        """Begin a look if one is due. What it finds is what `database.damage` says from then on."""
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
            # That the file is gone shows itself.
            pass
        finally:
            with self._lock:
                self._looking, self._ended = False, time.monotonic()
