"""Decision traces of the authority: how they are framed, and read."""

import json
import time
from collections.abc import Iterator
from typing import Any

from ostiary.usage.models import DecisionTrace

#: The longest frame; the authority sends no longer one.
LONGEST = 65_536


class BadFrame(ValueError):
    """What came is not framed as it must be; the connection that it came on is given up."""


class Frames:
    """Takes octet-counted messages (RFC 6587, section 3.4.1) out of a stream."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that are complete now; raises BadFrame."""
        data, at = self._rest + data, 0
        while True:
            space = data.find(b" ", at, at + 7)
            if space < 0:
                if len(data) - at >= 7:
                    raise BadFrame
                break
            length = data[at:space]
            if not length.isdigit() or int(length) > LONGEST:
                raise BadFrame
            end = space + 1 + int(length)
            if end > len(data):
                break
            yield data[space + 1 : end]
            at = end
        self._rest = data[at:]


def fitting(message: bytes) -> frozenset[int]:
    """The profiles that a refused token fits alike, where it fits several."""
    try:
        return frozenset(map(int, json.loads(message).get("fitting", ())))
    except (ValueError, TypeError, AttributeError):
        return frozenset()


def read(message: bytes) -> DecisionTrace | None:
    """A trace as it is stored; nothing if it cannot be read."""
    try:
        trace: dict[str, Any] = json.loads(message)
        return DecisionTrace(
            number=int(trace["number"]),
            at_ms=int(trace.get("at_ms") or time.time() * 1000),
            sequence=int(trace["sequence"]),
            profile_id=int(trace["profile"]),
            credential_id=int(trace["credential"]),
            steps=list(trace["steps"]),
        )
    except (ValueError, KeyError, TypeError):
        return None
