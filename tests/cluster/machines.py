"""Several machines on one PostgreSQL, each with a data folder and a way to the database of its own."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.stage import OSTIARY, Answer, Stage, ask, free_port, pids_of, told, wait_for


class Link:
    """A TCP port before PostgreSQL's Unix socket, which can be cut.

    Meanwhile no byte passes, and nobody hears of it, as with packets that are lost on the way.
    """

    def __init__(self, folder: str) -> None:
        self._target = f"{folder}/.s.PGSQL.5432"
        self._whole = threading.Event()
        self._whole.set()
        self._server = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._server.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._whole.clear()

    def mend(self) -> None:
        self._whole.set()

    def close(self) -> None:
        self.mend()
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._server.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            try:
                server.connect(self._target)
            except OSError:
                caller.close()
                continue
            for one, other in ((caller, server), (server, caller)):
                threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                self._whole.wait()
                other.sendall(data)
        for each in (one, other):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        one.close()


class Machine:
    """A running `ostiary gateway` or `ostiary control`: a node with its own folder."""

    def __init__(
        self, name: str, data: Path, url: str, env: Mapping[str, str], role: str = "gateway"
    ) -> None:
        self.name, self.data, self.port, self._role = name, data, free_port(), role
        self._env = {k: v for k, v in os.environ.items() if not k.startswith("OSTIARY_")}  # noqa: TID251 - the environment of what it starts
        self._env.update({"OSTIARY_DATABASE_URL": url, "OSTIARY_NODE": name, **env})
        self.lines: list[str] = []
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.lines.clear()
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", *OSTIARY, self._role, "--data", str(self.data),
             f"--{self._role}-bind", f"127.0.0.1:{self.port}"],
            env=self._env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        threading.Thread(target=self._read, args=(self._process,), daemon=True).start()
        wait_for(self._is_ready, seconds=180, what="ready")

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as stream:
            self.lines.extend(told(line.rstrip("\n")) for line in stream)

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError("\n".join(self.lines))
        return "ready" in self.lines

    def stop(self) -> int:
        if self._process is None:
            return 0
        self._process.terminate()
        return self._process.wait(timeout=90)

    def kill(self, part: str) -> None:
        """End a part as a crash would."""
        assert self._process is not None
        pids = pids_of(self._process.pid, part)
        assert pids, part
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def call(self, target: str, secret: str) -> Answer:
        return ask(self.port, "GET", target, headers={"API-TOKEN": secret})


class Cluster:
    """One `ostiary up` and further gateways, each with a link of its own to the database."""

    def __init__(self, folder: Path, url: str, env: Mapping[str, str]) -> None:
        self._folder, self._env = folder, env
        self._sockets = unquote(url.partition("?host=")[2])
        self.links: dict[str, Link] = {}
        self.stage = Stage(
            folder / "up", env={**env, **self._database("up", url), "OSTIARY_NODE": "up"}
        )
        #: The further gateways.
        self.machines: list[Machine] = []
        self._all: list[Machine] = []

    def _database(self, name: str, url: str = "") -> dict[str, str]:
        if url:
            return {"OSTIARY_DATABASE_URL": url}
        link = self.links.setdefault(name, Link(self._sockets))
        return {"OSTIARY_DATABASE_URL": f"postgres://ostiary@127.0.0.1:{link.port}/ostiary"}

    def add(self, name: str, *, node: str = "", role: str = "gateway") -> Machine:
        """Start a part of another machine, with the first one's key ring; `node`: what it calls itself."""
        data = self._folder / name
        data.mkdir(mode=0o700)
        shutil.copy(self.stage.data / "keyring.json", data)
        (data / "keyring.json").chmod(0o600)
        url = self._database(name)["OSTIARY_DATABASE_URL"]
        machine = Machine(node or name, data, url, self._env, role)
        self._all.append(machine)
        if role == "gateway":
            self.machines.append(machine)
        machine.start()
        return machine

    def nodes(self) -> dict[str, dict[str, Any]]:
        """What the management API says of gateways, by name."""
        listed = self.stage.done("GET", "v2/nodes")["data"]
        return {each["name"]: each for each in listed if each["role"] == "gateway"}

    def close(self) -> None:
        for machine in self._all:
            machine.stop()
        self.stage.stop()
        for link in self.links.values():
            link.close()


@contextmanager
def several(folder: Path, url: str, env: Mapping[str, str]) -> Iterator[Cluster]:
    """A started `ostiary up`, to which gateways can be added; all stopped at the end."""
    cluster = Cluster(folder, url, env)
    try:
        cluster.stage.start()
        yield cluster
    finally:
        cluster.close()
