"""A stand-in for the gateway's control socket, and a publisher that runs beside the test."""

import asyncio
import hashlib
import http.server
import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import uvicorn
from tests.stage import wait_for

from ostiary.gateway.node import Node
from ostiary.gateway.publisher_client import PublisherClient
from ostiary.identity.sealing import KeyRing
from ostiary.publishing.connections import UpstreamPace
from ostiary.publishing.listeners import Listeners
from ostiary.publishing.publisher import Publisher
from ostiary.publishing.service import Questions, make


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64
    gateway: "StandIn"

    def handle_error(self, *_: Any) -> None:
        """A caller that goes away is no error of ours."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: Any) -> None: ...

    def setup(self) -> None:
        super().setup()
        self.server.gateway.open.append(self.connection)

    def do_GET(self) -> None:
        gateway = self.server.gateway
        if self.path in {"/alive", "/state"}:
            self._answer(json.dumps({"birth": gateway.birth}))
            return
        imported = self.path.endswith("imported=1")
        lines = [f"birth {gateway.birth}"]
        for key, text in list(gateway.objects.items()):
            if key.startswith("i") == imported:
                lines.append(f"{key}\t{hashlib.md5(text.encode()).hexdigest()}")
        self._answer("\n".join(lines) + "\n")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        status, told = self.server.gateway.take(body.splitlines())
        self._answer(json.dumps(told), status)

    def _answer(self, text: str, status: int = 200) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class StandIn:
    """Keeps published objects as nginx's shared memory would; only for tests without nginx."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._births = 0
        self.objects: dict[str, str] = {}
        self.open: list[socket.socket] = []
        #: Requests in order: when, and how many lines each.
        self.requests: list[tuple[float, int]] = []
        self.written: dict[str, float] = {}
        self.refuse: Callable[[str, str], str | None] = lambda key, text: None
        #: Statuses for whole requests that hold this key.
        self.spoiled: dict[str, int] = {}
        self.start()

    def start(self, objects: Mapping[str, str] | None = None) -> None:
        """Begin anew, with nothing but `objects`."""
        self._births += 1
        self.birth = f"birth-{self._births}"
        self.objects = dict(objects or {})
        self._path.unlink(missing_ok=True)
        self._server = _Server(str(self._path), _Handler)
        self._server.gateway = self
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        for sock in self.open:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        self.open.clear()
        self._path.unlink(missing_ok=True)

    def take(self, lines: Iterable[str]) -> tuple[int, dict[str, Any]]:
        lines = list(lines)
        assert len(lines) <= 200
        for line in lines:
            key = line.split("\t")[1]
            if key in self.spoiled:
                return self.spoiled[key], {}
        refused = {}
        self.requests.append((time.monotonic(), len(lines)))
        for line in lines:
            verb, key, *text = line.split("\t")
            if verb == "del":
                self.objects.pop(key, None)
                continue
            assert verb == "set"
            (value,) = text
            assert len(value) <= 64 * 1024
            assert value.isascii() and value.isprintable()
            json.loads(value)
            if sentence := self.refuse(key, value):
                refused[key] = sentence
            else:
                self.objects[key] = value
                self.written[key] = time.monotonic()
        return 200, {"birth": self.birth, "refused": refused}

    def object(self, key: str) -> Any:
        text = self.objects.get(key)
        return None if text is None else json.loads(text)


class Running:
    """A publisher in a thread with an event loop of its own, asked as the other parts ask it."""

    def __init__(
        self,
        node: Node,
        keyring: KeyRing,
        *,
        lookup: Callable[[str], Iterable[str]],
        apply: Callable[[Mapping[str, str]], Mapping[str, str]],
        binds: Iterable[tuple[str, int]] = (),
    ) -> None:
        self._node, self._keyring = node, keyring
        self._lookup, self._apply, self._binds = lookup, apply, tuple(binds)
        self._started = threading.Event()
        self.path = node.run / "publisher.sock"
        self.client = PublisherClient(self.path)
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))
        self._thread.start()
        assert self._started.wait(30)

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.publisher: Publisher = make(
            node=self._node,
            keyring=self._keyring,
            listeners=Listeners(self._binds),
            apply=self._apply,
            lookup=self._lookup,
            pace=UpstreamPace(refresh=0.2, check=0.1),
        )
        running = asyncio.create_task(self.publisher.run())
        config = uvicorn.Config(Questions(self.publisher), lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        sock = socket.socket(socket.AF_UNIX)
        self.path.unlink(missing_ok=True)
        sock.bind(str(self.path))
        sock.listen()
        serving = asyncio.create_task(server.serve(sockets=[sock]))
        self._started.set()
        stop = asyncio.create_task(self._stop.wait())
        await asyncio.wait({stop, running, serving}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        await serving
        if running.done():
            running.result()
        running.cancel()
        await asyncio.gather(running, stop, return_exceptions=True)
        await self.publisher.save()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(30)
        assert not self._thread.is_alive()

    def wait_compared(self) -> None:
        wait_for(self.publisher.compared.is_set, what="everything is compared")
