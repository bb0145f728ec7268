"""What the benchmarks share: a product under load, a small fast upstream, and its peers."""

import json
import re
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.stage import Stage, free_port, running

NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 100000000;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{
    listen 127.0.0.1:{port};
    location / {{ return 200 '{{"id": 5, "status": "shipped", "total": 12.5}}\\n'; }}
  }}
}}
"""

BARE = """
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


def listening(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def wait_until_listening(port: int) -> None:
    deadline = time.monotonic() + 60
    while not listening(port):
        if time.monotonic() > deadline:
            raise TimeoutError(port)
        time.sleep(0.05)


@contextmanager
def process(*words: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is ended at the end."""
    started = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield started
    finally:
        started.terminate()
        started.wait()
        if started.stdout:
            started.stdout.close()


@contextmanager
def upstream() -> Iterator[int]:
    """nginx with one answer of 44 bytes; its port."""
    folder = Path(tempfile.mkdtemp(prefix="ostiary-bench-"))
    port = free_port()
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port))
    try:
        with process("nginx", "-c", str(folder / "nginx.conf")):
            wait_until_listening(port)
            yield port
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def product(*options: str) -> Iterator[Stage]:
    """A running product in a temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="ostiary-bench-"))
    try:
        with running(folder / "data", *options) as stage:
            yield stage
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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


def h2load(uris: Path, count: int, *headers: str) -> int:
    """Send `count` calls one after the other; how many were answered with 2xx."""
    words = ["h2load", "--h1", "-n", str(count), "-c", "1", "-i", str(uris)]
    for header in headers:
        words += ["-H", header]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    match = re.search(r"status codes: (\d+) 2xx", told)
    return int(match[1]) if match else 0


def wrk(
    url: str, *headers: str, seconds: int, connections: int = 16, script: str = ""
) -> dict[str, float]:
    """Load for a while; calls a second, and those that were not 2xx."""
    words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency"]
    for header in headers:
        words += ["-H", header]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        if script:
            file.write(script)
            file.flush()
            words += ["-s", file.name]
        told = subprocess.run([*words, url], capture_output=True, text=True, check=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", told)
    total = re.search(r"(\d+) requests in", told)
    bad = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
    return {
        "rate": float(rate[1]) if rate else 0.0,
        "total": float(total[1]) if total else 0.0,
        "bad": float(bad[1]) if bad else 0.0,
    }


def quantile(values: list[float], share: float) -> float:
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]


def cpu_seconds(pids: list[int]) -> float:
    """CPU time of processes so far, user and system."""
    ticks = 0
    for pid in pids:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        ticks += int(words[11]) + int(words[12])
    return ticks / 100
