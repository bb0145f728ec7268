"""A Valkey or Redis of our own: on a Unix socket in a temporary folder, without files of data."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from tests.stage import wait_for


class StoreServer:
    """A server that can be killed and started again, with its data lost."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._folder}/store.sock"

    #: Of the user that `secret_url` names.
    password = "long-and-secret-enough"

    @property
    def secret_url(self) -> str:
        """The same with a user and a password."""
        return f"unix://ostiary:{self.password}@{self._folder}/store.sock"

    def start(self) -> None:
        program = shutil.which("valkey-server") or shutil.which("redis-server") or "redis-server"
        settings = self._folder / "store.conf"
        settings.write_text(
            f"port 0\nunixsocket {self._folder}/store.sock\ndir {self._folder}\n"
            'save ""\nappendonly no\n'
            f"user ostiary on >{self.password} ~* &* +@all\n"
        )
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", program, str(settings)],
            stdout=subprocess.DEVNULL,
        )
        wait_for(self._answers, what="the store")

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

    def lose_data(self) -> None:
        with self.client() as client:
            client.flushall()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextmanager
def store_server() -> Iterator[StoreServer]:
    """A running server with no data."""
    folder = Path(tempfile.mkdtemp(prefix="ostiary-store-"))
    server = StoreServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)
