"""Gateways of one cluster: real nginx each, the real authority's side of limits, leases from a test.

What stands in is who decides: every call of a registered token is leased. The upcall socket of each node
is answered by `authority.budgets` on an event loop of its own.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.stage import Answer, ask, free_port, wait_for

from ostiary.authority.budgets import Budgets
from ostiary.budgets.store import WindowStore
from ostiary.gateway import control, launch
from ostiary.gateway.contract import (
    BlockGrant,
    Lease,
    is_ask,
    read_ask,
    read_question,
    write_answer,
    write_grant,
)
from ostiary.gateway.node import Node
from ostiary.identity.tokens import issue_token

ISSUE_KEY = b"the key of limits tests, 32 bytes"
PATH = "/things-v1/things"


_UPSTREAM = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ return 200 'done'; }} }}
}}
"""


@contextmanager
def quick_upstream() -> Iterator[int]:
    """An upstream that answers thousands of calls a second; its port."""
    folder, port = Path(tempfile.mkdtemp(prefix="ostiary-upstream-")), free_port()
    (folder / "nginx.conf").write_text(_UPSTREAM.format(folder=folder, port=port))
    nginx, _ = launch.find_nginx()
    words = [nginx, "-e", str(folder / "nginx.err"), "-c", str(folder / "nginx.conf")]
    started = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *words])
    try:
        wait_for(lambda: _listens(port), what="the upstream")
        yield port
    finally:
        started.terminate()
        started.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _listens(port: int) -> bool:
    try:
        return ask(port, "GET", "/").status == 200
    except OSError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one profile, as its leases say them."""

    profile: int
    #: `limit:seconds`, separated by commas.
    rates: str = ""
    #: Limit, start, end.
    quota: tuple[int, int, int] = (0, 0, 0)
    weight: int = 1
    report_only: int = 0


class Counted:
    """The part of the directory's look-up that limits need: what the database has of a window."""

    def __init__(self) -> None:
        self.counts: dict[tuple[int, str, int], int] = {}

    async def quota_used(self, profile: int, interval: str, start: int) -> int:
        return self.counts.get((profile, interval, start), 0)


class Cluster:
    """Nodes on one store. `live` is how many of them the authorities believe in."""

    def __init__(self, url: str, down: str, seconds: float) -> None:
        self.url, self.down = url, down
        #: Seconds that the store may take to answer.
        self.seconds = seconds
        self.live = 0
        self.counted = Counted()
        self.profiles: dict[str, Limits] = {}
        self.nodes: list[GatewayNode] = []
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def a_token(self, limits: Limits) -> str:
        token = issue_token(ISSUE_KEY).reveal()
        self.profiles[token] = limits
        return token

    def change(self, token: str, **changes: Any) -> None:
        """Other limits for a profile, in force on every node."""
        self.profiles[token] = replace(self.profiles[token], **changes)
        for node in self.nodes:
            node.revoke()

    def add(self, upstream: int, **more: Any) -> "GatewayNode":
        node = GatewayNode(self, f"node-{len(self.nodes)}", upstream, **more)
        self.nodes.append(node)
        self.live += 1
        return node

    def close(self) -> None:
        for node in self.nodes:
            node.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


class GatewayNode:
    """One gateway with its authority."""

    def __init__(self, cluster: Cluster, name: str, upstream: int, *, workers: int = 2) -> None:
        self._cluster = cluster
        self.folder = Path(tempfile.mkdtemp(prefix="ostiary-node-"))
        self.node = Node(
            run=self.folder, host="127.0.0.1", port=free_port(), workers=workers,
            shares_limits=True, upcalls_per_address=200, connections_per_address=100_000,
        )  # fmt: skip
        self.sequence = 1
        self.asks = self.questions = 0
        #: While it is not set, no block is granted.
        self.granting = asyncio.Event()
        cluster.loop.call_soon_threadsafe(self.granting.set)
        self.pushes: dict[str, int] = {}
        self.store = WindowStore(cluster.url, owner="tests", seconds=cluster.seconds)
        self.budgets = Budgets(
            self.store,
            cluster.counted,  # type: ignore[arg-type] # no other query is made
            control.Lane(self.node.control_socket).granted,
            down=cluster.down,
            live=lambda: cluster.live,
            name=name,
        )
        self._servers = cluster.run(self._serve())
        self._nginx = self._start(upstream)
        self._beat = asyncio.run_coroutine_threadsafe(self.budgets.run(), cluster.loop)

    async def _serve(self) -> list[asyncio.Server]:
        return [
            await asyncio.start_unix_server(self._answer, self.folder / "upcall.sock"),
            await asyncio.start_unix_server(
                self._take, self.folder / "counts.sock", limit=64 * 1024 * 1024
            ),
        ]

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readline():
                body = await reader.readexactly(int(head))
                answer = await self._answer_to(body)
                writer.write(b"%d\n%s" % (len(answer), answer))
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    async def _answer_to(self, body: bytes) -> bytes:
        if is_ask(body):
            self.asks += 1
            await self.granting.wait()
            granted: BlockGrant = await self.budgets.grant(read_ask(body))
            return write_grant(granted)
        self.questions += 1
        question = read_question(body)
        limits = self._cluster.profiles[question.credential]
        answer = Lease(
            profile=limits.profile, client=1, project=1, policy=1, collection=question.collection,
            endpoint=question.endpoint, credential=limits.profile, sequence=self.sequence,
            expires=int(time.time()) + 3600, ends=0, method=1, bound=0, would=0,
            report_only=limits.report_only, legacy_headers=1, weight=limits.weight,
            rates=limits.rates, rates_used=",".join("0:0" for _ in limits.rates.split(",") if _),
            quota=limits.quota[0], quota_starts=limits.quota[1], quota_ends=limits.quota[2],
            quota_used=0, announced="limits", quota_period="month" if limits.quota[0] else "",
        )  # fmt: skip
        return write_answer(answer)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                push = (await reader.readuntil(b"\n\n")).decode().splitlines()
                for line in push:
                    if line.startswith("l\t"):
                        _, key, total = line.split("\t")
                        self.pushes[key] = max(self.pushes.get(key, 0), int(total))
                writer.write(b"ok\n")
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    def _start(self, upstream: int) -> "subprocess.Popen[bytes]":
        made = self.folder / "gateway"
        made.mkdir(mode=0o700)
        (made / "published.jsonl").write_text(
            "".join(f"{key}\t{json.dumps(value)}\n" for key, value in _objects(upstream))
        )
        words, env = launch.prepare(self.node, issue_key=ISSUE_KEY, sockets=())
        del env["NGINX"]
        with (self.folder / "nginx.log").open("w") as log:
            started = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *words], env=env, stdout=log, stderr=log
            )
        wait_for(self._is_up, what="the gateway")
        return started

    def _is_up(self) -> bool:
        try:
            control.raise_floor(self.node.control_socket, self.sequence, seconds=10)
        except control.ControlError:
            return False
        return True

    def revoke(self) -> None:
        """Void every lease."""
        self.sequence += 1
        control.raise_floor(self.node.control_socket, self.sequence, seconds=10)

    def call(self, token: str, path: str = PATH) -> Answer:
        return ask(self.node.port, "GET", path, headers={"API-TOKEN": token})

    def load(self, token: str, calls: int, *, connections: int = 4) -> int:
        """Send so many calls at the same time; how many were admitted, and all others are 429."""
        done = subprocess.run(
            ["h2load", "--h1", "-n", str(calls), "-c", str(min(connections, calls)),
             "-H", f"API-TOKEN: {token}", f"http://127.0.0.1:{self.node.port}{PATH}"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        match = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", done)
        assert match is not None
        good, _, refused, failed = map(int, match.groups())
        assert (good + refused, failed) == (calls, 0)
        return good

    def used(self, key: str) -> int | None:
        return control.counted(self.node.control_socket, [key], seconds=10).used.get(key)

    def log(self) -> str:
        return (self.folder / "nginx.log").read_text()

    def kill(self) -> None:
        """End the gateway as a crash would, with all that it holds."""
        for pid in control.alive(self.node.control_socket, seconds=10):
            os.kill(pid, 9)
        self._nginx.kill()
        self._nginx.wait()
        self._cluster.live -= 1

    def close(self) -> None:
        self._nginx.terminate()
        self._nginx.wait()
        self._cluster.run(self._stop())
        shutil.rmtree(self.folder, ignore_errors=True)
        self.node.pid_file.unlink(missing_ok=True)

    async def _stop(self) -> None:
        self._beat.cancel()
        for server in self._servers:
            server.close()
        await self.store.close()


def _objects(upstream: int) -> Iterator[tuple[str, object]]:
    """What the publisher would have brought: key and object."""
    public = {
        "scheme": "https", "host": "api.example.com", "port": 443, "authority": "api.example.com",
        "origin": "https://api.example.com",
    }  # fmt: skip
    yield "s", {"trusted": [], "public": public}
    yield "u1", {
        "id": 1, "servers": [{"address": "127.0.0.1", "port": upstream, "down": False}],
        "tls": None, "host": f"127.0.0.1:{upstream}", "base": "", "header": None, "query": "",
        "timeout": 30, "told": "x_forwarded", "translate": True, "authorities": [],
    }  # fmt: skip
    yield "k1", {
        "id": 1, "handle": "things-v1", "connection": 1, "recipes": False, "origins": [],
        "forward_credential": False, "forward_claims": False,
    }  # fmt: skip
    yield "e1", {
        "id": 1, "collection": 1, "method": "GET", "path": "/things", "target": "",
        "timeout": 0, "recipe": None,
    }  # fmt: skip


@contextmanager
def cluster(
    url: str, upstream: int, *, nodes: int = 3, down: str = "share", workers: int = 2,
    seconds: float = 10,
) -> Iterator[Cluster]:  # fmt: skip
    """So many gateways on one store. A machine under load must not make a store seem away."""
    made = Cluster(url, down, seconds)
    try:
        for _ in range(nodes):
            made.add(upstream, workers=workers)
        yield made
    finally:
        made.close()


def together(works: list[Callable[[], None]]) -> None:
    """Do all of this at the same time."""
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
