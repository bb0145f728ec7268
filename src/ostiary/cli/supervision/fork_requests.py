"""What the supervisor and its fork server say to each other, in messages on a socket."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

#: What the fork server says when a request may come.
IDLE = b"idle"
#: The largest request, and the most files that go with it.
LARGEST, MOST_FILES = 128 * 1024, 64


def argument(parts: Sequence[str]) -> str:
    """Which parts are to be forked, as one word of the fork server's command line.

    A part writes its own command line over that one, which needs the room.
    """
    return f"parts={','.join(parts)}"


def parts_of(argument: str) -> Sequence[str]:
    """The parts that `argument` names."""
    return argument.removeprefix("parts=").split(",")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Which part to fork. The answer is its process id, or why the fork failed."""

    name: str
    #: Process id of the supervisor, whose child it becomes.
    supervisor: int
    #: Changes to the fork server's environment.
    env: Mapping[str, str]
    #: Of the files that go with the message, the numbers that the part has them under.
    numbers: Sequence[int]

    def encoded(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decoded(cls, text: bytes) -> "Request":
        return cls(**json.loads(text))
