"""The servers of the chaos: PostgreSQL, Valkey or Redis, and Ostiary's roles, each on its machine."""

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import psycopg
import redis
from tests.chaos.network import Machine
from tests.stage import OSTIARY, pids_of, wait_for

GATEWAY_PORT, CONTROL_PORT, DATABASE_PORT, STORE_PORT = 8080, 8000, 5432, 6379
PASSWORD = "long-and-secret-enough"


def send(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _all_of(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _all_of(int(child))
    return found


class Server(ABC):
    """A program that is started on a machine, and started again when it ends, if it is to run."""

    #: Seconds until a service manager starts again what ended.
    AGAIN = 0.5

    def __init__(self, machine: Machine, folder: Path, log: Path) -> None:
        self.machine, self.folder, self._log = machine, folder, log
        self._process: subprocess.Popen[bytes] | None = None
        self._wanted = False
        self._lock = threading.Lock()
        threading.Thread(target=self._keep, daemon=True).start()

    @abstractmethod
    def words(self) -> list[str]:
        """Its command line."""

    def env(self) -> dict[str, str]:
        return {k: v for k, v in os.environ.items() if not k.startswith("OSTIARY_")}  # noqa: TID251 - the environment of what it starts

    def start(self) -> None:
        with self._lock:
            self._wanted = True
            self._spawn()

    def _spawn(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.machine.words("setpriv", "--pdeathsig", "KILL", "--", *self.words()),
                env=self.env(), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def _keep(self) -> None:
        while True:
            time.sleep(self.AGAIN)
            with self._lock:
                if self._wanted and self._process is not None and self._process.poll() is not None:
                    self._spawn()

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def pids(self) -> list[int]:
        return _all_of(self.pid)

    def kill(self) -> None:
        """End it with all that belongs to it, as a machine that dies; nobody starts it again."""
        with self._lock:
            self._wanted = False
        send(self.pids(), signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def freeze(self) -> None:
        send(self.pids(), signal.SIGSTOP)

    def thaw(self) -> None:
        send(self.pids(), signal.SIGCONT)

    def stop(self, seconds: float = 90) -> int:
        """Ask for its end; the exit status."""
        with self._lock:
            self._wanted = False
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.terminate()
        return self._process.wait(timeout=seconds)


class Database(Server):
    """PostgreSQL."""

    def __init__(self, machine: Machine, folder: Path, log: Path) -> None:
        super().__init__(machine, folder, log)
        self._programs = max(Path("/usr/lib/postgresql").glob("*/bin"))
        folder.mkdir(exist_ok=True)
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        self._run("initdb", "-D", str(self.data), "-U", "ostiary", "-A", "trust", "-E", "UTF8")
        with (self.data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all 10.77.0.0/24 trust\nhost all all 127.77.0.0/24 trust\n")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def url(self) -> str:
        return f"postgres://ostiary@{self.machine.address}:{DATABASE_PORT}/ostiary"

    def _as_user(self, *words: str) -> list[str]:
        user = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--")
        return [*(user if os.geteuid() == 0 else ()), *words]

    def _run(self, program: str, *words: str) -> None:
        words = (str(self._programs / program), *words)
        subprocess.run(self._as_user(*words), check=True, capture_output=True)

    def words(self) -> list[str]:
        return self._as_user(
            str(self._programs / "postgres"), "-D", str(self.data),
            "-c", f"listen_addresses={self.machine.address}", "-c", f"port={DATABASE_PORT}",
            "-c", f"unix_socket_directories={self.folder}", "-c", "max_wal_size=64MB",
            "-c", "min_wal_size=32MB",
        )  # fmt: skip

    def session(self, name: str = "ostiary") -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=self.machine.address, port=DATABASE_PORT, user="ostiary", dbname=name,
            autocommit=True, connect_timeout=5,
        )  # fmt: skip

    def answers(self) -> bool:
        try:
            self.session("postgres").close()
        except psycopg.Error:
            return False
        return True

    def make(self) -> None:
        """Start it, with an empty database."""
        self.start()
        wait_for(self.answers, what="PostgreSQL")
        with self.session("postgres") as session:
            session.execute("CREATE DATABASE ostiary TEMPLATE template0")


class Store(Server):
    """Valkey, or Redis where there is none; without files of data."""

    def words(self) -> list[str]:
        program = shutil.which("valkey-server") or shutil.which("redis-server") or "redis-server"
        return [
            program, "--port", str(STORE_PORT), "--bind", self.machine.address, "--save", "",
            "--appendonly", "no", "--requirepass", PASSWORD, "--dir", str(self.folder.parent),
        ]  # fmt: skip

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@{self.machine.address}:{STORE_PORT}/0"

    def answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


class Role(Server):
    """A role of Ostiary."""

    def __init__(
        self, role: str, machine: Machine, folder: Path, log: Path, settings: Mapping[str, str]
    ) -> None:
        super().__init__(machine, folder, log)
        self.role = role
        self._settings = settings
        folder.mkdir(mode=0o700, exist_ok=True)

    def words(self) -> list[str]:
        ports = {"gateway": GATEWAY_PORT, "control": CONTROL_PORT}
        bind = (
            (f"--{self.role}-bind", f"{self.machine.address}:{ports[self.role]}")
            if self.role in ports
            else ()
        )
        return [*OSTIARY, self.role, "--data", str(self.folder), *bind]

    def env(self) -> dict[str, str]:
        return {**super().env(), "OSTIARY_NODE": self.machine.name, **self._settings}

    def part(self, name: str) -> list[int]:
        """The processes of a part."""
        found = pids_of(self.pid, name)
        assert found, name
        return found

    def command(self, *words: str) -> str:
        """Run a command on its data folder; what it printed."""
        done = subprocess.run(
            self.machine.words(*OSTIARY, *words[:2], "--data", str(self.folder), *words[2:]),
            env=self.env(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


class Api:
    """The management API of a control role."""

    def __init__(self, address: str, token: str) -> None:
        self._address, self._token = address, token

    def ask(self, method: str, path: str, content: object = None, *, seconds: float = 30) -> Any:
        """The status and what was answered; 0 if nothing was."""
        connection = http.client.HTTPConnection(self._address, CONTROL_PORT, timeout=seconds)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        body = None if content is None else json.dumps(content).encode()
        if body is None and method != "GET":
            headers["Content-Length"] = "0"
        try:
            connection.request(method, f"/api/{path}", body=body, headers=headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        except (OSError, http.client.HTTPException, ValueError):
            return 0, None
        finally:
            connection.close()

    def done(self, method: str, path: str, content: object = None) -> Any:
        """What a call answered, which is repeated until it works: it may be saved already."""
        found: list[Any] = []

        def works() -> bool:
            status, answer = self.ask(method, path, content)
            found[:] = [status, answer]
            return bool(status == 200)

        wait_for(works, what=f"{method} {path}")
        return found[1]


def eventually(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition came about in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
