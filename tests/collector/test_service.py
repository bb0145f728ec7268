"""The collector's process, with pushes over its socket and lines in its file, and without warning."""

import contextlib
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any

import pytest
from tests.stage import wait_for

from ostiary.collector.tail import NAME
from ostiary.gateway.contract import COUNT_KEY, LINE

pytestmark = pytest.mark.slow

MIGRATE = """
import sys
from pathlib import Path
from ostiary.identity.sealing import KeyRing
KeyRing.load_or_create(Path(sys.argv[1]) / "keyring.json")
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
"""
SERVE = """
import socket, sys
from pathlib import Path
import django
django.setup()
from ostiary.collector.service import serve
from ostiary.gateway.node import Node
log, counts = (socket.socket(fileno=int(n)) for n in sys.argv[2:])
node = Node(run=Path(sys.argv[1]), host="127.0.0.1", port=1)
serve(node=node, log=log, counts=counts, ready=lambda: print("ready", flush=True))
"""


def a_key(*, profile: int = 3, status: int = 2) -> str:
    values = {
        "hour": int(time.time()) // 3600, "profile": profile, "client": 2, "collection": 4,
        "endpoint": 5, "credential": 0, "would": 0, "status": status, "reason": 0,
    }  # fmt: skip
    return "/".join(str(values[name]) for name in COUNT_KEY)


def a_line(number: int) -> str:
    now = time.time()
    values = {
        "at": f"{int(now)}.{number % 1000:03d}", "request_id": f"a-{number}", "status": "200",
        "subject": "5/4/3/2/9/0/0/1/GET", "address": "192.0.2.7", "took": "0.003",
        "bytes_in": "100", "bytes_out": "200", "details": "-",
    }  # fmt: skip
    return "\t".join(values[name] for name in LINE)


def environment(data: Path) -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith("OSTIARY_")}  # noqa: TID251 - the environment of what it starts
    return env | {
        "OSTIARY_DATA": str(data),
        "DJANGO_SETTINGS_MODULE": "ostiary.settings_django",
    }


class Machine:
    """A data folder with a collector that can be killed, and sockets that outlive it."""

    def __init__(self, folder: Path, template: Path) -> None:
        self.data, self.run = folder / "data", folder / "run"
        shutil.copytree(template, self.data)
        (self.run / "lines").mkdir(parents=True)
        self.sockets = [self._listening("log.sock"), self._listening("counts.sock")]
        self.start()

    def _listening(self, name: str) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(self.run / name))
        sock.listen(64)
        sock.setblocking(False)
        return sock

    def start(self) -> None:
        fds = tuple(sock.fileno() for sock in self.sockets)
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", SERVE, str(self.run), *map(str, fds)],
            env=environment(self.data), stdout=subprocess.PIPE, text=True, pass_fds=fds,
        )  # fmt: skip
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def kill(self) -> None:
        self.process.kill()
        self._ended()

    def stop(self) -> int:
        self.process.terminate()
        return self._ended()

    def _ended(self) -> int:
        status = self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        for sock in self.sockets:
            sock.close()

    def connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(60)
        sock.connect(str(self.run / "counts.sock"))
        return sock

    def push(self, *lines: str, birth: str = "b1") -> str:
        """Push as a worker does; the answer, which is empty if there is none."""
        with self.connect() as sock:
            sock.sendall(("\n".join([f"counts {birth}", *lines]) + "\n\n").encode())
            try:
                return sock.makefile().readline()
            except OSError:
                return ""

    def log(self, *lines: str) -> None:
        with (self.run / "lines" / NAME).open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        path = self.data / "ostiary.sqlite3"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as base:
            return base.execute(statement).fetchall()

    def one(self, statement: str) -> int:
        return int(self.rows(statement)[0][0] or 0)

    def calls(self) -> int:
        return self.one("SELECT SUM(calls) FROM usage_minutecount")

    def logged(self) -> int:
        return self.one("SELECT COUNT(*) FROM usage_loggedcall")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with an empty database."""
    data = tmp_path_factory.mktemp("template")
    program = [sys.executable, "-W", "error", "-c", MIGRATE, str(data)]
    subprocess.run(program, env=environment(data), check=True)
    return data


@pytest.fixture
def machine(tmp_path: Path, template: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path, template)
    yield machine
    machine.close()


def grows(number: Callable[[], int]) -> None:
    before = number()
    wait_for(lambda: number() > before)


def count(calls: int, **key: int) -> str:
    return f"c\t{a_key(**key)}\t{calls}\t{calls * 10}\t{calls * 20}"


def test_a_push_is_acknowledged_when_it_is_stored_and_counts_once(machine: Machine) -> None:
    for calls in (5, 5, 7):
        assert machine.push(count(calls)) == "ok\n"
        # Committed by the time that it is acknowledged.
        assert machine.calls() == calls
    assert machine.push() == "ok\n"
    assert machine.rows("SELECT calls, bytes_in, bytes_out FROM usage_minutecount") == [
        (7, 70, 140)
    ]


def test_a_push_whose_answer_was_lost_counts_once(machine: Machine) -> None:
    with machine.connect() as sock:
        sock.sendall(f"counts b1\n{count(5)}\n\n".encode())
    wait_for(lambda: machine.calls() == 5)
    machine.kill()
    machine.start()
    assert machine.push(count(6)) == "ok\n"
    assert machine.calls() == 6


def test_a_ping_is_answered_while_the_database_is_busy_and_pushes_wait(machine: Machine) -> None:
    base = sqlite3.connect(machine.data / "ostiary.sqlite3", isolation_level=None)
    base.execute("BEGIN IMMEDIATE")
    answers: list[str] = []
    pushing = threading.Thread(target=lambda: answers.append(machine.push(count(5))))
    pushing.start()
    with machine.connect() as sock:
        for _ in range(3):
            sock.sendall(b"ping\n")
            assert sock.makefile().readline() == "pong\n"
    assert not answers
    base.execute("ROLLBACK")
    base.close()
    pushing.join(60)
    assert answers == ["ok\n"]
    assert machine.calls() == 5


def test_what_is_no_push_is_not_acknowledged_and_costs_nobody_else(machine: Machine) -> None:
    assert machine.push("nonsense") == ""
    assert machine.push(count(5), birth="") == ""
    assert machine.push("c\tnonsense\t1\t1\t1", count(5)) == "ok\n"
    assert machine.calls() == 5


def test_workers_that_push_at_once_over_kills_lose_nothing(machine: Machine) -> None:
    """Two workers count on shared counters; both send them again until they are acknowledged."""
    lock, totals, stop = threading.Lock(), {status: 0 for status in (2, 4, 5)}, threading.Event()

    def work() -> None:
        while not stop.is_set():
            with lock:
                for status in totals:
                    totals[status] += 1
                lines = [count(calls, status=status) for status, calls in totals.items()]
            with contextlib.suppress(OSError):
                machine.push(*lines)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for _ in range(3):
        grows(machine.calls)
        machine.kill()
        machine.start()
    stop.set()
    for worker in workers:
        worker.join()
    assert machine.push(*[count(calls, status=s) for s, calls in totals.items()]) == "ok\n"
    assert (
        dict(machine.rows("SELECT status, SUM(calls) FROM usage_minutecount GROUP BY 1")) == totals
    )
    assert sum(totals.values()) > 30


def test_lines_are_stored_once_however_often_the_collector_is_killed(machine: Machine) -> None:
    written = 0
    for _ in range(4):
        more = [a_line(written + n) for n in range(3_000)]
        machine.log(*more[:1500])
        written += len(more)
        grows(machine.logged)
        machine.log(*more[1500:])
        machine.kill()
        machine.start()
    wait_for(lambda: machine.one("SELECT SUM(stands_for) FROM usage_loggedcall") > written - 500)
    assert machine.stop() == 0
    ids = [row[0] for row in machine.rows("SELECT request_id FROM usage_loggedcall")]
    assert len(ids) == len(set(ids))
    assert machine.one("SELECT SUM(calls) FROM usage_minutelatency") == written


def test_a_stop_takes_everything_with_it(machine: Machine) -> None:
    """Also a push that comes after it, of a worker that ends at the same time."""
    machine.log(*[a_line(n) for n in range(900)])
    with machine.connect() as sock:
        sock.sendall(b"counts b1\n")
        wait_for(lambda: machine.push(count(2, profile=7)) == "ok\n")
        machine.process.terminate()
        sock.sendall(f"{count(5)}\n\n".encode())
        assert sock.makefile().readline() == "ok\n"
    assert machine._ended() == 0
    assert machine.calls() == 7
    assert machine.logged() == 900
    assert machine.one("SELECT SUM(calls) FROM usage_minutelatency") == 900
    assert machine.rows("SELECT offset - timed FROM usage_logposition") == [(0,)]


def test_lines_without_a_collector_wait_for_the_next_one(machine: Machine) -> None:
    machine.kill()
    machine.log(*[a_line(n) for n in range(700)])
    machine.start()
    wait_for(lambda: machine.logged() == 700)


class _State(BaseHTTPRequestHandler):
    """What the gateway answers on its control socket."""

    master = 0

    def do_GET(self) -> None:
        content = b'{"master": %d}' % self.master if self.path == "/state" else b"{}"
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        pass


NGINX = """
import signal, sys
path = sys.argv[1]
file = open(path, "a")
def reopen(*_):
    global file
    file.close()
    file = open(path, "a")
signal.signal(signal.SIGUSR1, reopen)
print("up", flush=True)
for line in sys.stdin:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    file.write(line); file.flush()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
"""


def test_a_large_file_is_exchanged_while_lines_come_and_none_is_lost(machine: Machine) -> None:
    lines = machine.run / "lines"
    nginx = subprocess.Popen(
        [sys.executable, "-c", NGINX, str(lines / NAME)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert nginx.stdin is not None
    assert nginx.stdout is not None
    nginx.stdout.readline()
    state = type("State", (_State,), {"master": nginx.pid})
    with ThreadingUnixStreamServer(str(machine.run / "gateway.sock"), state) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        # Not read before its end: the details are long, and there is no second line of them.
        path = '{"path": "/' + "a" * 15_000 + '"}'
        written = 0
        for _ in range(1200):
            written += 1
            nginx.stdin.write(a_line(written).rpartition("\t")[0] + f"\t{path}\n")
        nginx.stdin.flush()
        wait_for((lines / f"{NAME}.1").exists, what="the exchange")
        for _ in range(100):
            written += 1
            nginx.stdin.write(a_line(written) + "\n")
            nginx.stdin.flush()
        wait_for(lambda: [p.name for p in lines.iterdir()] == [NAME], what="the old file's end")
        # Those before may all be in the old file, if nginx was slow to take the signal.
        written += 1
        nginx.stdin.write(a_line(written) + "\n")
        nginx.stdin.flush()
        wait_for(
            lambda: machine.one("SELECT SUM(calls) FROM usage_minutelatency") == written,
            what="all lines counted",
        )
        server.shutdown()
        serving.join()
    nginx.stdin.close()
    nginx.wait(10)
    nginx.stdout.close()
    ids = [row[0] for row in machine.rows("SELECT request_id FROM usage_loggedcall")]
    assert len(ids) == len(set(ids))
    # One position: that of the file that is there.
    wait_for(
        lambda: machine.one("SELECT COUNT(*) FROM usage_logposition") == 1, what="one position"
    )


def test_at_rest_it_takes_little(machine: Machine) -> None:
    machine.log(a_line(1))
    wait_for(lambda: machine.logged() == 1)

    def used() -> float:
        fields = Path(f"/proc/{machine.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = used()
    # The length of the measurement itself.
    time.sleep(5)
    assert used() - before < 0.1
