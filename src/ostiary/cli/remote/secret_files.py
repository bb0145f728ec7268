"""Files of new secrets, which nobody else on the machine can read."""

import os
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from ostiary.cli.failure import Failure


class SecretFile:
    """A file that takes a secret, or keeps what it has. Use it as a context around the call.

    It is opened before the call: a secret that cannot be written would be lost.
    """

    def __init__(self, name: str) -> None:
        self._path = Path(name)
        self._written = False

    def __enter__(self) -> Self:
        try:
            # Its mode is 0600 from the start.
            self._number, self._temporary = tempfile.mkstemp(
                prefix=".ostiary-", dir=self._path.parent
            )
        except OSError as error:
            raise Failure(f"{self._path} can't be written: {error.strerror}.") from None
        return self

    def write(self, secret: str) -> None:
        os.write(self._number, f"{secret}\n".encode())
        os.fsync(self._number)
        Path(self._temporary).replace(self._path)
        self._written = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._number)
        if not self._written:
            Path(self._temporary).unlink(missing_ok=True)
