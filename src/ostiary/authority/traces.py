"""Sends traces of refusals to the collector, for Explain.

Best effort, and never blocks a call: a trace that cannot be sent at once is dropped and counted.
"""

import contextlib
import json
import random
import socket
import time
from pathlib import Path

from ostiary.access.decision import explain
from ostiary.access.facts import Facts
from ostiary.access.reasons import Reason, describe
from ostiary.access.traces import written


class Traces:
    """A connection to the collector's log socket, opened when it is needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sock: socket.socket | None = None
        #: Traces that could not be sent at once.
        self.dropped = 0

    def send(self, facts: Facts, reason: Reason, sequence: int) -> int:
        """Send the trace of a refusal; returns its number, or 0 if no trace was sent."""
        if not describe(reason).is_traced:
            return 0
        number = random.randrange(1, 2**31)
        known = facts.known
        message = json.dumps(
            {
                "number": number,
                "at_ms": int(time.time() * 1000),
                "sequence": sequence,
                "profile": known.profile.id if known else 0,
                "credential": known.credential.id if known else 0,
                "fitting": facts.fitting,
                "steps": written(explain(facts)),
            }
        ).encode()
        if not self._send(b"%d %s" % (len(message), message)):
            self.dropped += 1
            return 0
        return number

    def _send(self, frame: bytes) -> bool:
        for _ in range(2):
            if self._sock is None and not self._connect():
                return False
            try:
                # Send a whole frame or nothing: half a frame would corrupt the stream.
                if self._sock is not None and self._sock.send(frame) == len(frame):
                    return True
            except BlockingIOError:
                return False
            except OSError:
                self.close()
                continue
            self.close()
            return False
        return False

    def _connect(self) -> bool:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            sock.connect(str(self._path))
        except OSError:
            sock.close()
            return False
        self._sock = sock
        return True

    def close(self) -> None:
        if self._sock is not None:
            with contextlib.suppress(OSError):
                self._sock.close()
        self._sock = None
