"""The control side's way to wait until a change is in force (see `directory.enforcement`)."""

import time
from pathlib import Path

from ostiary.directory.enforcement import Receipt
from ostiary.directory.errors import NotInForce
from ostiary.unix_http import UnixConnection

TIMEOUT_SECONDS = 8.0


class SocketConfirmer:
    """Asks the authority of this machine on its socket."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def confirm(self, sequence: int) -> Receipt:
        """Wait until the gateway follows `sequence`; raises NotInForce."""
        began = time.perf_counter()
        connection = UnixConnection(self._path, seconds=TIMEOUT_SECONDS)
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
