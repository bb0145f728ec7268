"""A receiver of webhooks that remembers what it got, and answers as its path says."""

import ssl
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook
from tests.stage import wait_for


@dataclass(frozen=True, slots=True)
class Got:
    at: float
    path: str
    headers: dict[str, str]
    body: bytes

    def verified(self, secret: str) -> Any:
        """The content, if the signature is that of `secret`; raises WebhookVerificationError."""
        return Webhook(secret).verify(self.body, self.headers)


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        """A caller that goes away is no error of ours."""


class Receiver:
    """`/ok` answers 204, `/500` always 500, `/once-500` 500 the first time, `/redirect` leads to
    `/elsewhere`, `/hang` answers nothing until `released`, `/drip` a header line a second."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.got: list[Got] = []
        self.released = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None: ...

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {k.lower(): v for k, v in self.headers.items()}
                receiver.got.append(Got(time.time(), self.path, headers, body))
                receiver.answer(self)

            def do_GET(self) -> None:
                receiver.got.append(Got(time.time(), f"GET {self.path}", {}, b""))
                self.send_response(200)
                self.end_headers()

        self._server = _Quiet(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._scheme = "http" if context is None else "https"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path
        if path.startswith("/hang"):
            self.released.wait(40)
        if path.startswith("/drip"):
            for _ in range(30):
                handler.wfile.write(b"HTTP/1.1 200 OK\r\n" if not _ else b"X: y\r\n")
                if self.released.wait(1):
                    return
        first = len(self.at(path)) == 1
        failing = path.startswith("/500") or (path.startswith("/once-500") and first)
        handler.send_response(307 if path.startswith("/redirect") else 500 if failing else 204)
        if path.startswith("/redirect"):
            handler.send_header("Location", f"{self.url}/elsewhere")
        handler.end_headers()

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def at(self, path: str) -> list[Got]:
        return [got for got in list(self.got) if got.path == path]

    def wait(self, path: str, number: int = 1, *, seconds: float = 90) -> list[Got]:
        """What came to `path`, once it is `number` or more."""
        wait_for(lambda: len(self.at(path)) >= number, seconds=seconds, what=f"{number} at {path}")
        return self.at(path)

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
