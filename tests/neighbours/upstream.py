"""An API that does what proxies are bad at: answers without a length, events, echoes, tunnels."""

import json
import threading
import time
from base64 import b64encode
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Bytes of `/large` and `/endless`, which has no length and ends with its connection.
LARGE = 1024 * 1024
#: Events of `/events`, and seconds between two of them.
EVENTS, PAUSE = 5, 1.0


class Streamer:
    """A server whose paths are its answers; `seen` holds the headers of what came."""

    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []
        streamer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None: ...

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self._chunks() if self.headers.get("Transfer-Encoding") else b""
                body = body or self.rfile.read(length)
                streamer.seen.append({k.lower(): v for k, v in self.headers.items()})
                getattr(self, "_" + self.path.rpartition("/")[2])(body)

            def _chunks(self) -> bytes:
                body = b""
                while size := int(self.rfile.readline(), 16):
                    body += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return body

            def _begin(self, **headers: str) -> None:
                self.send_response(200)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()

            def _chunk(self, data: bytes) -> None:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                self.wfile.flush()

            def _echo(self, body: bytes) -> None:
                told = json.dumps({"length": len(body)}).encode()
                self._begin(Content_Length=str(len(told)))
                if self.command != "HEAD":
                    self.wfile.write(told)

            def _large(self, _: bytes) -> None:
                self._begin(Transfer_Encoding="chunked")
                for _number in range(16):
                    self._chunk(b"x" * (LARGE // 16))
                self.wfile.write(b"0\r\n\r\n")

            def _endless(self, _: bytes) -> None:
                self._begin(Connection="close")
                self.wfile.write(b"x" * LARGE)
                self.close_connection = True

            def _events(self, _: bytes) -> None:
                self._begin(
                    Content_Type="text/event-stream",
                    Transfer_Encoding="chunked",
                    # What libraries for such streams send, for proxies of nginx's kind.
                    X_Accel_Buffering="no",
                )
                for number in range(EVENTS):
                    self._chunk(f"data: {number} {time.time()}\n\n".encode())
                    time.sleep(PAUSE)
                self.wfile.write(b"0\r\n\r\n")

            def _socket(self, _: bytes) -> None:
                self.send_response(101)
                self.send_header("Upgrade", "websocket")
                # HAProxy looks at it (RFC 6455, section 4.2.2).
                key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
                accept = b64encode(sha1(key.encode(), usedforsecurity=False).digest()).decode()
                self.send_header("Sec-WebSocket-Accept", accept)
                self.send_header("Connection", "Upgrade")
                self.end_headers()
                while data := self.connection.recv(65536):
                    self.connection.sendall(data)
                self.close_connection = True

            do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
