"""What the benchmarks share: a product under load, a small fast upstream, peers, and measures."""

import json
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.stage import Stage, free_port, running

#: The server that is measured has a core of its own; load and upstream have the other.
SERVER, LOAD = ("taskset", "-c", "0"), ("taskset", "-c", "1")

UPSTREAM = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 3600s;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{ return 200 '{{"id": 5, "status": "shipped", "total": 12.5}}\\n'; }}
  }}
}}
"""

BARE_NGINX = """
worker_processes 1; daemon off; {alone} pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000000; keepalive_timeout 3600s; tcp_nodelay on;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream b {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} {tls} backlog=4096;
    {certificate}
    location / {{
      proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection "";
    }}
  }}
}}
"""

BARE_HAPROXY = """
global
  nbthread {threads}
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 30s
  timeout http-keep-alive 60s
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  server s 127.0.0.1:{upstream}
"""

# --- processes ---------------------------------------------------------------------------------------


def wait_until_listening(port: int) -> None:
    """Wait until a TCP port of this machine takes connections; raises TimeoutError."""
    deadline = time.monotonic() + 120
    while True:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        if time.monotonic() > deadline:
            raise TimeoutError(port)
        time.sleep(0.05)


@contextmanager
def process(
    *words: str, env: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that is ended at the end; what it prints goes nowhere."""
    started = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    try:
        yield started
    finally:
        started.terminate()
        try:
            started.wait(30)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait()


def children(pid: int) -> list[int]:
    """Process ids of the children of a process."""
    try:
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


@contextmanager
def folder() -> Iterator[Path]:
    """A temporary folder."""
    made = Path(tempfile.mkdtemp(prefix="ostiary-bench-"))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def upstream(around: Sequence[str] = ()) -> Iterator[int]:
    """nginx with one answer of 44 bytes; its port."""
    port = free_port()
    with folder() as made:
        (made / "nginx.conf").write_text(UPSTREAM.format(folder=made, port=port))
        with process(*around, "nginx", "-c", str(made / "nginx.conf")):
            wait_until_listening(port)
            yield port


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server under measurement."""

    name: str
    port: int
    pid: int
    #: Path that its calls have, and the header that they carry.
    path: str = "/orders/5"
    headers: tuple[str, ...] = ()
    scheme: str = "http"

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}{self.path}"

    def pids(self) -> list[int]:
        return [self.pid, *children(self.pid)]


@contextmanager
def bare_haproxy(
    upstream: int, *, threads: int = 1, around: Sequence[str] = ()
) -> Iterator[Server]:
    """HAProxy that forwards every call and does nothing else."""
    port = free_port()
    with folder() as made:
        text = BARE_HAPROXY.format(threads=threads, port=port, upstream=upstream)
        (made / "haproxy.cfg").write_text(text)
        with process(*around, "haproxy", "-db", "-f", str(made / "haproxy.cfg")) as started:
            wait_until_listening(port)
            yield Server(name="bare HAProxy", port=port, pid=started.pid)


@contextmanager
def bare_nginx(
    upstream: int, *, around: Sequence[str] = (), tls: bool = False, alone: bool = False
) -> Iterator[Server]:
    """nginx that forwards every call and does nothing else."""
    port = free_port()
    with folder() as made:
        pem = certificate(made) if tls else None
        text = BARE_NGINX.format(
            folder=made,
            port=port,
            upstream=upstream,
            tls="ssl http2" if tls else "",
            alone="master_process off;" if alone else "",
            certificate=f"ssl_certificate {pem}; ssl_certificate_key {pem};"
            " ssl_protocols TLSv1.2 TLSv1.3;"
            if tls
            else "",
        )
        (made / "nginx.conf").write_text(text)
        words = (*around, "nginx", "-e", f"{made}/nginx.err", "-c", str(made / "nginx.conf"))
        with process(*words) as started:
            wait_until_listening(port)
            yield Server(
                name="bare nginx", port=port, pid=started.pid, scheme="https" if tls else "http"
            )


def certificate(made: Path) -> Path:
    """A self-signed certificate for P-256, with its key in the same file."""
    pem, key = made / "bench.pem", made / "bench.key"
    words = (
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    )
    subprocess.run(
        ["openssl", *words.split(), "-keyout", str(key), "-out", str(pem)],
        check=True, capture_output=True,
    )  # fmt: skip
    pem.write_text(pem.read_text() + key.read_text())
    return pem


# --- the product -------------------------------------------------------------------------------------


@contextmanager
def product(*options: str, env: Mapping[str, str] | None = None) -> Iterator[Stage]:
    """A running product in a temporary folder."""
    with folder() as made, running(made / "data", *options, env=env) as stage:
        yield stage


def a_guarded_api(
    stage: Stage, port: int, *, endpoints: int = 30, **limits: Any
) -> tuple[Any, Any]:
    """A collection with many endpoints in front of `port`, and a limited profile."""
    connection = stage.done(
        "POST", "connections", {"name": "Bench", "input": {"base_url": f"http://127.0.0.1:{port}"}}
    )
    paths: dict[str, Any] = {
        f"/r{i}/{{id}}" if i % 2 else f"/r{i}": {"get": {}} for i in range(endpoints - 1)
    }
    paths["/orders/{id}"] = {"get": {}}
    document = json.dumps({"openapi": "3.0.0", "paths": paths})
    collection = stage.done(
        "POST",
        "api_collections",
        {
            "name": "Bench",
            "handle": "bench-v1",
            "proxy_connection_id": connection["id"],
            "openapi_spec": {"content": document, "format": "json"},
        },
    )
    page = 1
    while found := stage.done(
        "GET", f"api_endpoints?api_collection_id={collection['id']}&page={page}"
    ):
        for endpoint in found:
            stage.done("PUT", f"api_endpoints/{endpoint['id']}/enable")
        page += 1
    policy = stage.a_policy(**limits)
    return collection, stage.a_profile(collection, api_policy_id=policy["id"])


# --- load --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a run of h2load or wrk came to."""

    good: int
    bad: int
    seconds: float
    #: Microseconds of each call, where they were asked for.
    took: tuple[int, ...] = ()

    @property
    def rate(self) -> float:
        return self.good / self.seconds if self.seconds else 0.0


def h2load(
    *words: str, headers: Sequence[str] = (), times: bool = False, around: Sequence[str] = ()
) -> Load:
    """Run h2load with these words; raises CalledProcessError."""
    command = [*around, "h2load", *words]
    for header in headers:
        command += ["-H", header]
    with tempfile.TemporaryDirectory() as made:
        log = Path(made) / "log"
        if times:
            command += [f"--log-file={log}"]
        began = time.perf_counter()
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        elapsed = time.perf_counter() - began
        took: tuple[int, ...] = ()
        if times and log.exists():
            rows = (line.split("\t") for line in log.read_text().splitlines())
            took = tuple(int(row[2]) for row in rows)
    total = re.search(r"requests: (\d+) total, (\d+) started, (\d+) done", printed)
    match = re.search(r"status codes: (\d+) 2xx", printed)
    finished = re.search(r"finished in ([\d.]+)(ms|s|us)", printed)
    units = {"s": 1.0, "ms": 1e-3, "us": 1e-6}
    good = int(match[1]) if match else 0
    return Load(
        good=good,
        bad=(int(total[1]) if total else 0) - good,
        seconds=float(finished[1]) * units[finished[2]] if finished else elapsed,
        took=took,
    )


def calls(count: int, uris: Path, *headers: str, http2: bool = False) -> int:
    """Send so many calls one after the other; how many were answered with 2xx."""
    protocol = () if http2 else ("--h1",)
    return h2load(*protocol, "-n", str(count), "-c", "1", "-i", str(uris), headers=headers).good


def at_rate(
    server: Server,
    rate: float,
    seconds: int,
    *,
    times: bool = False,
    around: Sequence[str] = (),
) -> Load:
    """Calls at a fixed rate for a while, on 16 connections or, above 2,400 a second, on more."""
    # A connection has one call at a time: a slow answer must not lower the rate.
    connections = max(16, int(rate / 150))
    return h2load(
        "--h1", "-c", str(connections), "-D", str(seconds), f"--rps={rate / connections:g}",
        server.url, headers=server.headers, times=times, around=around,
    )  # fmt: skip


def wrk(
    url: str,
    *headers: str,
    seconds: float,
    connections: int = 16,
    script: str = "",
    around: Sequence[str] = (),
) -> dict[str, float]:
    """Load for a while; calls a second, and those that were not 2xx."""
    words = [*around, "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    for header in headers:
        words += ["-H", header]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        if script:
            file.write(script)
            file.flush()
            words += ["-s", file.name]
        printed = subprocess.run([*words, url], capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", printed)
    total = re.search(r"(\d+) requests in", printed)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", printed)
    return {
        "rate": float(rate[1]) if rate else 0.0,
        "total": float(total[1]) if total else 0.0,
        "bad": float(bad[1]) if bad else 0.0,
    }


# --- measures ----------------------------------------------------------------------------------------


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which this share of the values lies."""
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]


def cpu_seconds(pids: Sequence[int]) -> float:
    """Seconds of processor that processes used so far, user and system, to the nanosecond.

    From schedstat of each of their threads; those that have ended are not counted.
    """
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                total += int(task.read_text().split()[0])
            except (OSError, ValueError, IndexError):
                continue
    return total / 1e9


def memory_megabytes(pids: Sequence[int]) -> float:
    """Resident memory with shared pages counted once among all who share them (PSS)."""
    total = 0
    for pid in pids:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += int(text.split("\nPss:")[1].split()[0])
    return total / 1024


class Callgrind:
    """Instructions in user space of a process that runs under valgrind."""

    WORDS = ("valgrind", "--tool=callgrind")

    def __init__(self, made: Path) -> None:
        self._out = made / "callgrind.out"

    @property
    def around(self) -> tuple[str, ...]:
        return (*self.WORDS, f"--callgrind-out-file={self._out}")

    def zero(self, pid: int) -> None:
        """Count from here."""
        self._tell("-z", pid)

    def count(self, pid: int) -> int:
        """Instructions since `zero`."""
        for old in self._out.parent.glob("callgrind.out*"):
            old.unlink()
        self._tell("-d", pid)
        total = 0
        for path in self._out.parent.glob("callgrind.out*"):
            match = re.search(r"^(?:totals|summary): (\d+)", path.read_text(), re.MULTILINE)
            total += int(match[1]) if match else 0
        if not total:
            raise RuntimeError("callgrind did not write its counts")
        return total

    def _tell(self, word: str, pid: int) -> None:
        subprocess.run(["callgrind_control", word, str(pid)], check=True, capture_output=True)
