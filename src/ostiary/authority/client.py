"""The control side's way to wait until a change is in force (see `directory.enforcement`)."""

import http.client
import socket
import time
from pathlib import Path

from ostiary.directory.enforcement import Receipt
from ostiary.directory.errors import NotInForce

TIMEOUT_SECONDS = 8.0


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("authority", timeout=TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(TIMEOUT_SECONDS)
        self.sock.connect(str(self._path))


class SocketConfirmer:
    """Asks the authority of this machine on its socket."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def confirm(self, sequence: int) -> Receipt:
        """Wait until the gateway follows `sequence`; raises NotInForce."""
        began = time.perf_counter()
        connection = _Connection(self._path)
        try:
            connection.request("POST", f"/confirm?sequence={sequence}")
            status = connection.getresponse().status
        except OSError as error:
            raise NotInForce from error
        finally:
            connection.close()
        if status != 200:
            raise NotInForce
        return Receipt(confirmed=1, of=1, ms=round((time.perf_counter() - began) * 1000, 2))
