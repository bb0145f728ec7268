"""The gateway's control socket, as the publisher uses it: to list objects and to change them."""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from ostiary.telemetry.unix_http import UnixClient

log = logging.getLogger(__name__)

#: Lines and bytes of one request at most: no worker of the gateway may be busy with us for long.
MOST_LINES = 200
MOST_BYTES = 512 * 1024
SECONDS = 5.0


class GatewayGone(Exception):
    """The gateway does not answer, or not as expected; one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectLine:
    """An object to set, or to delete where it has no text."""

    key: str
    text: str | None = None

    def __str__(self) -> str:
        return f"del\t{self.key}\n" if self.text is None else f"set\t{self.key}\t{self.text}\n"


@dataclass(slots=True, kw_only=True)
class WriteOutcome:
    """The gateway's response to some lines; sentences by key for those that it refused."""

    births: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)


class Channel:
    """One gateway's control socket; raises GatewayGone."""

    def __init__(self, path: Path) -> None:
        self._client = UnixClient(path, seconds=SECONDS)

    def close(self) -> None:
        self._client.close()

    async def birth(self) -> str:
        """Names the gateway's memory: another one holds nothing that this one was sent."""
        with _sentences():
            return str(json.loads(await self._get("/alive"))["birth"])

    async def published(self) -> tuple[str, dict[str, str]]:
        """Birth, and digests of all objects but imported credentials."""
        birth, lines = await self._listing("/published")
        digests = {}
        for line in lines:
            name, _, digest = line.partition("\t")
            digests[name] = digest
        return birth, digests

    async def imported(self) -> set[bytes]:
        """SHA-256 of the imported credentials that the gateway holds."""
        _, lines = await self._listing("/published?imported=1")
        with _sentences():
            return {bytes.fromhex(line.partition("\t")[0][1:]) for line in lines}

    async def _listing(self, target: str) -> tuple[str, list[str]]:
        with _sentences():
            first, *lines = (await self._get(target)).decode().split("\n")
        word, _, birth = first.partition(" ")
        if word != "birth" or not birth:
            raise GatewayGone("The gateway's list does not say whose it is.")
        return birth, [line for line in lines if line]

    async def _get(self, target: str) -> bytes:
        status, content = await self._client.request("GET", target)
        if status != HTTPStatus.OK:
            raise GatewayGone(f"The gateway answered {status}.")
        return content

    async def publish(self, lines: Sequence[ObjectLine]) -> WriteOutcome:
        """Set and delete objects. The outcome names what the gateway refuses; the rest is in force."""
        outcome = WriteOutcome()
        for part in _parts(lines):
            await self._publish(part, outcome)
        return outcome

    async def _publish(self, lines: Sequence[ObjectLine], outcome: WriteOutcome) -> None:
        with _sentences():
            text = "".join(map(str, lines)).encode()
            status, content = await self._client.request("POST", "/publish", text)
            if status == HTTPStatus.OK:
                answer = json.loads(content)
                outcome.births.add(str(answer["birth"]))
                refused = dict(answer["refused"] or {})
                outcome.refused |= {str(k): str(v) for k, v in refused.items()}
                return
        if len(lines) == 1:
            name = lines[0].key
            outcome.refused[name] = f"The gateway answered {status} to it."
            return
        # One of them spoils the request for the others.
        middle = len(lines) // 2
        await self._publish(lines[:middle], outcome)
        await self._publish(lines[middle:], outcome)


def _parts(lines: Sequence[ObjectLine]) -> Iterator[Sequence[ObjectLine]]:
    part: list[ObjectLine] = []
    size = 0
    for line in lines:
        length = len(str(line))
        if part and (len(part) >= MOST_LINES or size + length > MOST_BYTES):
            yield part
            part, size = [], 0
        part.append(line)
        size += length
    if part:
        yield part


@contextmanager
def _sentences() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise GatewayGone(f"The gateway does not answer ({type(error).__name__}).") from error
    except (ValueError, KeyError, TypeError) as error:
        raise GatewayGone("The gateway's answer cannot be read.") from error
