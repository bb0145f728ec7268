"""Job records: what each run of a recipe came to, for its owner. Inputs are never in them."""

import sqlite3
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

#: Records kept; the oldest go first.
MOST = 100_000

_TABLE = """
CREATE TABLE IF NOT EXISTS job (
    id INTEGER PRIMARY KEY AUTOINCREMENT, recipe TEXT NOT NULL, client INTEGER NOT NULL,
    profile INTEGER NOT NULL, request_id TEXT NOT NULL, started REAL NOT NULL,
    milliseconds INTEGER NOT NULL, outcome TEXT NOT NULL, trace TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS job_request ON job (request_id);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run. `outcome` is ok, invalid, failed, timeout or died; `trace` is for the owner."""

    recipe: str
    client: int
    profile: int
    request_id: str
    started: float
    milliseconds: int
    outcome: str
    trace: str = ""
    id: int = 0


class Jobs:
    """The records' file; writes are gathered, and made by `flush`."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, check_same_thread=False)
        self._connection.executescript(f"PRAGMA journal_mode = WAL; {_TABLE}")
        self._lock = threading.Lock()
        self._waiting: list[Job] = []

    def add(self, job: Job) -> None:
        self._waiting.append(job)

    def flush(self) -> None:
        """Write what waits; may be called from another thread."""
        jobs, self._waiting = self._waiting, []
        if not jobs:
            return
        with self._lock, self._connection:
            self._connection.executemany(
                "INSERT INTO job (recipe, client, profile, request_id, started, milliseconds,"
                " outcome, trace) VALUES (:recipe, :client, :profile, :request_id, :started,"
                " :milliseconds, :outcome, :trace)",
                [asdict(job) for job in jobs],
            )
            self._connection.execute(
                "DELETE FROM job WHERE id <= (SELECT MAX(id) FROM job) - ?", (MOST,)
            )

    def find(self, *, recipe: str = "", request_id: str = "", limit: int = 100) -> list[Job]:
        """The newest jobs first, of one recipe or of one request if named."""
        self.flush()
        with self._lock:
            rows = self._connection.execute(
                "SELECT recipe, client, profile, request_id, started, milliseconds, outcome, trace,"
                " id FROM job WHERE (? = '' OR recipe = ?) AND (? = '' OR request_id = ?)"
                " ORDER BY id DESC LIMIT ?",
                (recipe, recipe, request_id, request_id, limit),
            ).fetchall()
        names = Job.__dataclass_fields__
        return [Job(**dict(zip(names, row, strict=True))) for row in rows]

    def close(self) -> None:
        self.flush()
        self._connection.close()


def now() -> float:
    """Unix seconds, when a run starts."""
    return time.time()
