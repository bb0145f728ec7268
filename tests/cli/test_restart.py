"""A restart refuses nobody: the listening sockets outlive the process that serves them.

With `ostiary control`, the smallest role that has a port, and the real commands.
"""

import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest
from tests.stage import OSTIARY, ask, free_port, told, wait_for

from ostiary.cli.startup import data_folder
from ostiary.cli.startup.status import Status
from ostiary.settings import load

pytestmark = pytest.mark.slow

ENV = {k: v for k, v in os.environ.items() if not k.startswith("OSTIARY_")}  # noqa: TID251 - the environment of what it starts


class Control:
    """A running `ostiary control`."""

    def __init__(
        self, data: Path, *, before: Sequence[str] = (), pass_fds: Sequence[int] = ()
    ) -> None:
        self.data, self.port, self.lines = data, free_port(), list[str]()
        words = ["control", "--data", str(data), "--control-bind", f"127.0.0.1:{self.port}"]
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", *before, *OSTIARY, *words],
            env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            pass_fds=pass_fds,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            self.lines.extend(told(line.rstrip("\n")) for line in stream)

    def wait_ready(self) -> None:
        wait_for(self._is_ready, what="ready")

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.lines
        return "ready" in self.lines

    @property
    def status(self) -> Status:
        return Status(**json.loads((self.data / "status.json").read_text()))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.ended()
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def ended(self) -> int:
        code = self.process.wait(timeout=60)
        self._reader.join()
        return code


@contextmanager
def running(data: Path, **more: Sequence[object]) -> Iterator[Control]:
    control = Control(data, **more)  # type: ignore[arg-type]
    try:
        control.wait_ready()
        yield control
    finally:
        control.stop()


def restart(data: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*OSTIARY, "restart", "--data", str(data)],
        env=ENV, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


class Hammer:
    """Calls on new connections, one after another, until it is stopped."""

    def __init__(self, port: int, target: str = "/healthz", token: str = "") -> None:
        self.port, self.answered, self.failed = port, 0, list[str]()
        self._target, self._headers = target, {"API-TOKEN": token} if token else {}
        self.longest = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                status = ask(self.port, "GET", self._target, headers=self._headers).status
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
            else:
                if status == 200:
                    self.answered += 1
                else:
                    self.failed.append(str(status))
            self.longest = max(self.longest, time.monotonic() - began)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with running(tmp_path_factory.mktemp("data")) as control:
        yield control


def test_nobody_is_refused_while_all_is_restarted(control: Control) -> None:
    with Hammer(control.port) as one, Hammer(control.port) as other:
        wait_for(lambda: one.answered > 3)
        for _ in range(2):
            before = control.status
            done = restart(control.data)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
            assert control.status == Status(
                pid=control.process.pid, start=before.start + 1, ready=True
            )
        answered = one.answered, other.answered
        wait_for(lambda: one.answered > answered[0] and other.answered > answered[1])
    assert one.failed + other.failed == []
    assert control.lines.count("ready") == 3


def test_the_data_folder_stays_claimed_over_a_restart(control: Control) -> None:
    settings = load({"OSTIARY_DATA": str(control.data)})
    assert data_folder.holder(settings) == control.process.pid
    second = subprocess.run(
        [*OSTIARY, "control", "--data", str(control.data), "--control-bind", "127.0.0.1:1"],
        env=ENV, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert second.returncode == 1
    assert second.stderr.startswith("ostiary: Another Ostiary is running with the data folder")
    assert data_folder.holder(settings) == control.process.pid


def test_parts_have_no_socket_of_our_restart(control: Control) -> None:
    text = Path(f"/proc/{control.process.pid}/task/{control.process.pid}/children").read_text()
    for pid in text.split():
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        ours = {v.partition(b"=")[0] for v in variables if v.startswith(b"OSTIARY_FD_")}
        assert ours == {b"OSTIARY_FD_CONTROL"}


def test_with_nothing_running_a_restart_is_one_sentence(tmp_path: Path) -> None:
    done = restart(tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        f"ostiary: No Ostiary of this user is running with the data folder {tmp_path}; name its"
        " folder with --data.\n"
    )


def use_by_newer_release(data: Path) -> None:
    with sqlite3.connect(data / "ostiary.sqlite3", timeout=20) as database:
        database.execute(
            "INSERT INTO django_migrations (app, name, applied)"
            " VALUES ('directory', '9999_from_the_future', '2030-01-01')"
        )
    database.close()


def test_a_restart_that_fails_says_why_and_ends_with_status_1(tmp_path: Path) -> None:
    control = Control(tmp_path)
    control.wait_ready()
    use_by_newer_release(tmp_path)
    done = restart(tmp_path)
    why = (
        "ostiary: A newer Ostiary has used this database (it has directory.9999_from_the_future,"
        " which this release does not know); start that release or a newer one, or restore the"
        " backup from before."
    )
    assert (done.returncode, done.stderr) == (1, f"{why}\n")
    assert control.ended() == 1
    assert control.lines[-1] == why
    # And nothing is left of it: what follows finds folder and port free.
    assert restart(tmp_path).returncode == 1
    data_folder.tcp_socket(("127.0.0.1", control.port), "--control-bind").close()


#: Starts its arguments as systemd does: with the socket as number 3, and its name.
ACTIVATE = """
import os, sys
number, name = int(sys.argv[1]), sys.argv[2]
os.dup2(number, 3, inheritable=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES=name)
os.execv(sys.argv[3], sys.argv[3:])
"""


def activated(sock: socket.socket, name: str) -> dict[str, Sequence[object]]:
    return {
        "before": [sys.executable, "-c", ACTIVATE, str(sock.fileno()), name],
        "pass_fds": [sock.fileno()],
    }


def test_a_socket_of_systemd_is_served_over_stop_and_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        with running(tmp_path, **activated(sock, "control")) as control:
            assert json.loads((tmp_path / "addresses.json").read_text())["console"].endswith(
                f":{port}"
            )
            with Hammer(port) as hammer:
                wait_for(lambda: hammer.answered > 3)
                assert restart(tmp_path).returncode == 0
                assert control.stop() == 0
                with running(tmp_path, **activated(sock, "control")):
                    answered = hammer.answered
                    wait_for(lambda: hammer.answered > answered + 3)
                    assert hammer.failed == []
                    hammer.__exit__()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "ostiary.socket",
            "ostiary: Sockets that are handed down must be named gateway and control",
        ),
        ("gateway", "ostiary: `ostiary control` has no use for the socket gateway that was handed"),
    ],
)
def test_a_socket_of_systemd_that_is_not_ours_is_one_sentence(
    tmp_path: Path, name: str, said: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        control = Control(tmp_path, **activated(sock, name))  # type: ignore[arg-type]
        assert control.ended() == 1
    assert [line for line in control.lines if not line.startswith(said)] == []
    assert len(control.lines) == 1
