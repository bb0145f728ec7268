"""The whole product on free ports, started as its users start it, with an upstream that tells all.

`Stage` is for tests from the outside: it knows the command, two ports and the management API.
"""

import fcntl
import http.client
import itertools
import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

#: Name of the management token that tests have.
OURS = "tests"
OSTIARY = [str(Path(sys.executable).with_name("ostiary"))]


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    #: Every header as it came, repeated ones too.
    lines: list[tuple[str, str]] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class Seen:
    """A call as the upstream got it."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    #: The port that the connection came from.
    port: int

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]


class _Quiet(ThreadingHTTPServer):
    request_queue_size = 256

    def handle_error(self, *_: Any) -> None:
        """A caller that goes away is no error of ours."""


class Upstream:
    """An HTTP server that remembers what it got; paths tell it how to answer."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None: ...

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                if self.headers.get("Transfer-Encoding") == "chunked":
                    body = _chunks(self.rfile)
                else:
                    body = self.rfile.read(length)
                port = self.client_address[1]
                upstream.seen.append(
                    Seen(self.command, self.path, self.headers.items(), body, port)
                )
                if "/status/" in self.path:
                    status = int(self.path.rpartition("/")[2])
                else:
                    status = 200
                if "/slow" in self.path:
                    upstream.slow.wait(30)
                told = json.dumps(
                    {"path": self.path, "length": len(body), "headers": self.headers.items()}
                ).encode()
                self.send_response(status)
                # RFC 9110, section 6.4.1: these have no content.
                empty = status in {204, 304}
                if not empty:
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(told)))
                self.end_headers()
                if self.command != "HEAD" and not empty:
                    self.wfile.write(told)

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = answer

        self.slow = threading.Event()
        self._server = _Quiet(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def speak_tls(self, certificate: Path, key: Path) -> None:
        """Take TLS connections alone from now on."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self.slow.set()
        self._server.shutdown()
        self._server.server_close()


def _chunks(stream: Any) -> bytes:
    body = b""
    while size := int(stream.readline().split(b";")[0], 16):
        body += stream.read(size)
        stream.readline()
    stream.readline()
    return body


#: What the supervisor's events mean to people.
_TOLD = {
    "ready": "ready",
    "stopped": "stopped",
    "part ready": "{name_of_part} ready",
    "part died": "{name_of_part} died ({how}), restarting",
    "part hangs": "{name_of_part} hangs, restarting",
    "worker hangs": "{name_of_part} has a worker that hangs, replacing it",
}


def told(line: str) -> str:
    """What a terminal would show in place of a line of `ostiary up`."""
    if not line.startswith('{"'):
        return line
    event = json.loads(line)
    if event.get("part") != "supervisor" or event["event"] not in _TOLD:
        return line
    return _TOLD[event["event"]].format(**event)


#: Linux, not in every `socket` module: the port is chosen at `connect`, see ip(7).
IP_BIND_ADDRESS_NO_PORT = 24


def connected(port: int, source: str = "127.0.0.1") -> socket.socket:
    """A connection from a loopback address.

    A port chosen by `bind` is shared with nobody for a minute after the end: thousands of calls within that
    minute would leave no port for the servers of other tests.
    """
    sock = socket.socket()
    sock.settimeout(60)
    try:
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((source, 0))
        sock.connect(("127.0.0.1", port))
    except OSError:
        sock.close()
        raise
    return sock


def ask(
    port: int,
    method: str,
    target: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    source: str = "127.0.0.1",
) -> Answer:
    """One HTTP call from a loopback address, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.sock = connected(port, source)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        if body is not None and "Content-Length" not in (headers or {}):
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        lines = answer.getheaders()
        return Answer(
            answer.status,
            {k.lower(): v for k, v in lines},
            answer.read(),
            [(k, v) for k, v in lines],
        )
    finally:
        connection.close()


def raw(port: int, text: bytes, *, seconds: float = 60) -> bytes:
    """Send bytes as they are, and read until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as sock:
        sock.sendall(text)
        answer = b""
        while part := sock.recv(65536):
            answer += part
    return answer


#: Names that tell other test processes of this machine which ports are given out.
_given_out: list[socket.socket] = []


def free_port() -> int:
    """A port that no outgoing connection can have taken when it is bound anew after a restart.

    No other test process is given the same one while this one lives.
    """
    while True:
        port = random.randrange(20_000, 30_000)
        name = socket.socket(socket.AF_UNIX)
        with socket.socket() as sock:
            try:
                name.bind(f"\0ostiary-tests-port-{port}")
                sock.bind(("127.0.0.1", port))
            except OSError:
                name.close()
                continue
        _given_out.append(name)
        return port


def wait_for(condition: Callable[[], bool], *, seconds: float = 90, what: str = "") -> None:
    """Poll a condition until it holds; how long is for a slow machine, and claims nothing."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"it did not come about: {what or condition}")
        time.sleep(0.02)


class Stage:
    """A running `ostiary up`, driven through its ports."""

    def __init__(
        self,
        data: Path,
        env: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
        program: Sequence[str] = OSTIARY,
    ) -> None:
        self.data = data
        self.program = program
        #: Words of another program that is to start ours.
        self.before = before
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("OSTIARY_")}  # noqa: TID251 - the environment of what it starts
        self.env.update(env or {})
        #: What it printed; and, in `lines`, what a terminal would have shown as well.
        self.printed: list[str] = []
        self.lines: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self.token = ""
        self.gateway, self.control = free_port(), free_port()
        self._reader = threading.Thread()
        self._options: Sequence[str] = ()
        self._settings: dict[str, Any] = {}

    def start(self, *options: str) -> None:
        self._options = options
        self.lines.clear()
        self.printed.clear()
        binds = [f"127.0.0.1:{self.gateway}", f"127.0.0.1:{self.control}"]
        self._process = subprocess.Popen(
            # Who kills the tests need not look for what they started.
            ["setpriv", "--pdeathsig", "TERM", "--", *self.before, *self.program, "up", "--data", str(self.data), "--gateway-bind", binds[0],
             "--control-bind", binds[1], *options],
            env=self.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        wait_for(self.is_ready, seconds=180, what="ready")
        if not self.token:
            self.token = self.command("token", "create", "--name", OURS).strip()

    def clear(self) -> None:
        """Make it as good as new for other tests: all parts ready, no object left, usual settings.

        Usage, logs and members stay, and the lines that it printed.
        """
        if self._process is None or self._process.poll() is not None:
            self.start(*self._options)
        wait_for(lambda: self._status("/healthz") == 200, what="an answer")
        for path in (
            "v2/webhooks", "api_clients", "api_collections", "connections", "v2/api_policies",
            "v2/address_lists",
        ):  # fmt: skip
            for number in self._ids(path):
                self.done("DELETE", f"{path}/{number}")
        for number in sorted(self._ids("folders"), reverse=True)[:-1]:
            self.done("DELETE", f"folders/{number}?force=true")
        for token in self.done("GET", "v2/tokens?per_page=100")["data"]:
            if token["revoked_at"] is None and token["name"] != OURS:
                self.done("DELETE", f"v2/tokens/{token['id']}")
        if not self._settings:
            self._settings = self.done("GET", "v2/settings")["data"]
        self.done("PUT", "v2/settings", self._settings)
        wait_for(lambda: self._status("/readyz") == 200, what="all parts ready")

    def _status(self, path: str) -> int:
        try:
            return ask(self.control, "GET", path).status
        except OSError:
            return 0

    def _ids(self, path: str) -> list[int]:
        """The ids of all objects of a kind."""
        found: list[int] = []
        for page in itertools.count(1):
            answer = self.done("GET", f"{path}?page={page}&per_page=100")
            some = [each["id"] for each in (answer["data"] if path[:3] == "v2/" else answer)]
            found += some
            if len(some) < 100:
                break
        return found

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as stream:
            for whole in stream:
                line = whole.rstrip("\n")
                self.printed.append(line)
                self.lines.append(line)
                if (text := told(line)) != line:
                    self.lines.append(text)

    def is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError("\n".join(self.lines))
        return "ready" in self.lines

    def command(self, *words: str) -> str:
        """Run an `ostiary` command on this data folder; its standard output."""
        done = subprocess.run(
            [*self.program, *words[:2], "--data", str(self.data), *words[2:]],
            env=self.env, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stop(self) -> int:
        """Ask for a clean stop; the exit status."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(timeout=90)
            self._reader.join()
            return status
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def pids(self, part: str) -> list[int]:
        """Process ids of a part's processes, found among our own descendants."""
        assert self._process is not None
        return pids_of(self._process.pid, part)

    def kill(self, part: str) -> None:
        """End a part as a crash would."""
        pids = self.pids(part)
        assert pids, part
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    def api(
        self,
        method: str,
        path: str,
        content: object | None = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """A call of the management API."""
        sent = {"Authorization": f"Bearer {token or self.token}", **(headers or {})}
        body = None
        if content is not None:
            body = json.dumps(content).encode()
            sent["Content-Type"] = "application/json"
        return ask(self.control, method, f"/api/{path}", headers=sent, body=body)

    def done(self, method: str, path: str, content: object | None = None) -> Any:
        """A call of the management API that must work; what it answers."""
        answer = self.api(method, path, content)
        assert answer.status == 200, (answer.status, answer.body)
        return answer.json

    def call(
        self,
        target: str,
        token: str | None = None,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        source: str = "127.0.0.1",
    ) -> Answer:
        """A consumer's call through the gateway."""
        sent = dict(headers or {})
        if token is not None:
            sent["API-TOKEN"] = token
        return ask(self.gateway, method, target, headers=sent, body=body, source=source)

    # What nearly every test needs.

    def a_collection(self, upstream: Upstream, *paths: str, name: str = "", **more: Any) -> Any:
        """A proxy collection in front of `upstream`, with active endpoints `METHOD /path`."""
        name = name or f"Things {time.monotonic_ns()}"
        connection = self.done(
            "POST", "connections", {"name": name, "input": {"base_url": upstream.url}}
        )
        collection = self.done(
            "POST",
            "api_collections",
            {"name": name, "proxy_connection_id": connection["id"], **more},
        )
        for path in paths or ("GET /things", "GET /things/{id}", "POST /things"):
            self.an_endpoint(collection, path)
        return collection

    def an_endpoint(self, collection: Any, path: str, **more: Any) -> Any:
        method, _, template = path.partition(" ")
        content = {"name": path, "method": method, "path": template, "active": True, **more}
        return self.done("POST", f"api_collections/{collection['id']}/api_endpoints", content)

    def a_client(self, name: str = "A client") -> Any:
        return self.done("POST", "api_clients", {"name": name})["result"]

    def a_profile(self, *collections: Any, client: Any | None = None, **more: Any) -> Any:
        """An access profile; its token is `secret`."""
        content = {
            "name": "A profile",
            "api_client_id": (client or self.a_client())["id"],
            "api_collection_ids": [c["id"] for c in collections],
            "auth_type": "token",
            **more,
        }
        return self.done("POST", "api_access_profiles", content)["result"]

    def a_member(self, email: str, *, admin: bool = False) -> str:
        """Add a member; a one-time sign-in link."""
        content = {"email": email, "admin": admin, "sign_in_link": True}
        return str(self.done("POST", "v2/members", content)["sign_in_link"]["url"])

    def a_policy(
        self, *, rate: tuple[int, str] | None = None, quota: tuple[int, str] | None = None
    ) -> Any:
        content: dict[str, Any] = {"name": f"Policy {time.monotonic_ns()}", "legacy_headers": True}
        if rate:
            content["rate_limit"] = {"limit": rate[0], "interval": rate[1]}
        if quota:
            content["usage_quota"] = {"limit": quota[0], "interval": quota[1]}
        return self.done("POST", "v2/api_policies", content)["data"]


@dataclass(slots=True)
class Prepared:
    """A data folder as a first start leaves it, which the processes of a test run make once and copy."""

    #: Where it is kept; without one, each stage makes its own.
    folder: Path | None = None

    def copied_to(self, data: Path) -> str:
        """Fill an empty data folder; the management token of the tests in it, if it was empty."""
        if data.exists() and any(data.iterdir()):
            return ""
        folder = self._made()
        shutil.copytree(folder / "data", data, dirs_exist_ok=True)
        return (folder / "token").read_text()

    def _made(self) -> Path:
        assert self.folder is not None
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (self.folder / "token").exists():
                self._make(self.folder)
        return self.folder

    @staticmethod
    def _make(folder: Path) -> None:
        stage = Stage(folder / "data")
        stage.data.mkdir(mode=0o700, exist_ok=True)
        stage.env["OSTIARY_DATA"] = str(stage.data)
        subprocess.run(
            [sys.executable, "-P", "-m", "ostiary.cli.startup.provisioning", "gateway=0", "demo=0"],
            env=stage.env, stdout=subprocess.DEVNULL, check=True,
        )  # fmt: skip
        (folder / "token").write_text(stage.command("token", "create", "--name", OURS).strip())


prepared = Prepared()


def pids_of(process: int, part: str) -> list[int]:
    """Process ids of a part's processes among the descendants of a process."""
    found = []
    for pid in _descendants(process):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            # It ended meanwhile.
            continue
        if part.encode() in words or (part == "gateway" and b"nginx" in words[0]):
            found.append(pid)
    return found


def _descendants(pid: int) -> list[int]:
    found = []
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [c for t in tasks for c in (t / "children").read_text().split()]
    except OSError:
        return []
    for child in children:
        found += [int(child), *_descendants(int(child))]
    return found


@contextmanager
def running(
    data: Path,
    *options: str,
    env: Mapping[str, str] | None = None,
    before: Sequence[str] = (),
    program: Sequence[str] = OSTIARY,
    first_start: bool = False,
) -> Iterator[Stage]:
    """A stage that is stopped at the end, whatever happens.

    Its data folder has its tables and a management token before the start, which saves most of what
    a first start computes; `first_start` leaves that to the product.
    """
    stage = Stage(data, env, before, program)
    if not first_start and prepared.folder is not None and "OSTIARY_DATABASE_URL" not in stage.env:
        stage.token = prepared.copied_to(data)
    try:
        stage.start(*options)
        yield stage
    finally:
        stage.stop()
