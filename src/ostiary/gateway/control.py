"""The gateway's control socket, as our processes use it; lua/ostiary/control.lua is the other side."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from ostiary.telemetry.unix_http import UnixClient, UnixConnection


class ControlError(Exception):
    """The gateway's control socket did not answer, or sent an unexpected answer."""


class Behind(Exception):
    """The gateway's epochs differ from those that the caller assumed."""

    def __init__(self, applied: int) -> None:
        super().__init__(f"epochs up to {applied} are in force")
        self.applied = applied


@dataclass(frozen=True, slots=True, kw_only=True)
class Revoked:
    """Epochs are in force. `birth` tells one start of nginx from another."""

    birth: str
    applied: int
    #: Open streams that the change affected; the authority decides about them again.
    streams: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """What this start of nginx was granted of windows that several gateways share."""

    birth: str
    #: Key of a window (`contract.LIMIT_KEY`) → how much, and the seconds until it is forgotten.
    windows: Mapping[str, tuple[int, int]]


def exchange(
    path: Path, method: str, target: str, body: bytes = b"", *, seconds: float
) -> tuple[int, bytes]:
    """One request; status and body. Raises ControlError."""
    connection = UnixConnection(path, seconds=seconds)
    try:
        connection.request(method, target, body=body or None)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, HTTPException) as error:
        raise ControlError("the gateway does not answer") from error
    finally:
        connection.close()


def asked(
    path: Path, method: str, target: str, body: bytes = b"", *, seconds: float
) -> dict[str, Any]:
    """The JSON object of an answer of status 200; raises ControlError."""
    status, content = exchange(path, method, target, body, seconds=seconds)
    return _object(status, content)


def _object(status: int, content: bytes) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except ValueError as error:
        raise ControlError("the gateway's answer cannot be parsed") from error
    if status != 200 or not isinstance(value, dict):
        raise ControlError(f"the gateway answers {status}")
    return value


def alive(path: Path, *, seconds: float) -> dict[int, float]:
    """Process id of each worker → Unix time of its last sign of life; raises ControlError."""
    workers = asked(path, "GET", "/alive", seconds=seconds).get("workers") or {}
    return {int(pid): float(at) for pid, at in workers.items()}


def state(path: Path, *, seconds: float) -> dict[str, Any]:
    """The gateway's report about itself; raises ControlError."""
    return asked(path, "GET", "/state", seconds=seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """Keys of limits' counters (`contract.LIMIT_KEY`), of those that the gateway has."""

    #: Key → what has been counted; over all gateways, if they share limits, as far as this one knows.
    used: Mapping[str, int]
    #: Key → what this gateway holds of a shared window, and has not spent.
    held: Mapping[str, int]


def counted(path: Path, keys: Iterable[str], *, seconds: float) -> Counted:
    """What the gateway has counted under these keys; raises ControlError."""
    body = "".join(f"{key}\n" for key in keys).encode()
    found = asked(path, "POST", "/used", body, seconds=seconds)
    used, held = (
        {str(key): int(number) for key, number in (found.get(name) or {}).items()}
        for name in ("used", "held")
    )
    return Counted(used=used, held=held)


def revoke(
    path: Path, *, since: int, until: int, epochs: Mapping[str, int], seconds: float
) -> Revoked:
    """Put epochs of the changes after `since` up to `until` in force; raises ControlError, Behind."""
    body = _epochs(since, until, epochs)
    return _unless_behind(*exchange(path, "POST", "/revoke", body, seconds=seconds))


def raise_floor(path: Path, sequence: int, *, seconds: float) -> Revoked:
    """Void every lease that was decided before `sequence`; raises ControlError."""
    return _revoked(asked(path, "POST", "/floor", f"{sequence}\n".encode(), seconds=seconds))


def _epochs(since: int, until: int, epochs: Mapping[str, int]) -> bytes:
    lines = "".join(f"{key} {sequence}\n" for key, sequence in epochs.items())
    return f"{since} {until}\n{lines}".encode()


def _unless_behind(status: int, content: bytes) -> Revoked:
    if status == 409:
        raise Behind(int(json.loads(content).get("applied") or 0))
    return _revoked(_object(status, content))


def _revoked(value: Mapping[str, Any]) -> Revoked:
    return Revoked(
        birth=str(value.get("birth", "")),
        applied=int(value.get("applied") or 0),
        streams=int(value.get("streams") or 0),
    )


class Lane:
    """The same socket for one asyncio task, on a connection that is kept."""

    SECONDS = 2.0

    def __init__(self, path: Path) -> None:
        self._client = UnixClient(path, seconds=self.SECONDS)

    async def revoke(self, *, since: int, until: int, epochs: Mapping[str, int]) -> Revoked:
        """See `revoke`; raises ControlError or Behind."""
        body = _epochs(since, until, epochs)
        return _unless_behind(*await self._ask("POST", "/revoke", body))

    async def raise_floor(self, sequence: int) -> Revoked:
        """See `raise_floor`; raises ControlError."""
        return _revoked(_object(*await self._ask("POST", "/floor", f"{sequence}\n".encode())))

    async def state(self) -> dict[str, Any]:
        """See `state`; raises ControlError."""
        return _object(*await self._ask("GET", "/state"))

    async def heard(self, birth: str, ago: float) -> dict[str, Any]:
        """Report that all changes are applied that were committed `ago` seconds before now.

        The answer has the birth of nginx; one with another birth took no notice. Raises ControlError.
        """
        body = f"{birth} {max(0.0, ago):.3f}".encode()
        return _object(*await self._ask("POST", "/heard", body))

    async def granted(self) -> Granted:
        """What `GET /granted` says; raises ControlError."""
        value = _object(*await self._ask("GET", "/granted"))
        found = value.get("granted") or {}
        return Granted(
            birth=str(value.get("birth", "")),
            windows={
                str(key): (int(amount), int(seconds)) for key, (amount, seconds) in found.items()
            },
        )

    async def alive(self) -> dict[str, Any]:
        """What `GET /alive` says; raises ControlError."""
        return _object(*await self._ask("GET", "/alive"))

    async def _ask(self, method: str, target: str, body: bytes = b"") -> tuple[int, bytes]:
        try:
            return await self._client.request(method, target, body)
        except OSError as error:
            raise ControlError("the gateway does not answer") from error
