"""Asks the publisher of this machine which objects the gateway has, which it lacks, and why."""

import http.client
import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ostiary.telemetry.unix_http import UnixConnection

#: Seconds that a state is good for, and that an answer may take where a page waits for it.
CACHE_SECONDS, SHORT_SECONDS = 2.0, 0.5
#: As `CACHE_SECONDS`, where a change is awaited.
AGAIN_SECONDS = 0.25
STATE_SECONDS = 1.5


class PublisherSilent(Exception):
    """The publisher did not answer in time, or sent an unexpected answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpublishedObject:
    """An object that is left out of the gateway."""

    kind: str
    id: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """A server of an upstream; `since` in Unix seconds."""

    connection: int
    host: str
    #: Empty: the host has no address now.
    address: str
    port: int
    #: up, down, stale (last good address), unresolved, or resolving.
    state: str
    since: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublisherState:
    """How far the publisher is."""

    #: Everything up to this change of the feed is at the gateway, or set aside.
    published: int
    objects: int
    set_aside: tuple[UnpublishedObject, ...]
    #: The worst first; at most a few thousand.
    servers: tuple[ServerStatus, ...]
    #: Connections that need a token for their upstream and have none, and why.
    tokens: dict[int, str]
    #: Current failures that the publisher retries.
    troubles: tuple[str, ...]


class PublisherClient:
    """Asks on the publisher's socket; may be used by several threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._reasons: dict[tuple[str, int], str] = {}
        self._published: int | None = None
        self._asked = float("-inf")

    def confirm(self, sequence: int, seconds: float) -> bool:
        """Wait until the objects of a change are at the gateway, or set aside; False: not in time."""
        target = f"/confirm?sequence={sequence}&seconds={seconds}"
        try:
            status, _ = self._ask("POST", target, seconds=seconds + 1)
        except PublisherSilent:
            return False
        return status == http.client.OK

    def state(self, *, seconds: float = STATE_SECONDS) -> PublisherState:
        """How far it is now; raises PublisherSilent."""
        _, body = self._ask("GET", "/state", seconds=seconds)
        try:
            return PublisherState(
                published=int(body["published"]),
                objects=int(body["objects"]),
                set_aside=tuple(UnpublishedObject(**each) for each in body["set_aside"]),
                servers=tuple(ServerStatus(**each) for each in body["servers"]),
                tokens={int(t["connection"]): str(t["reason"]) for t in body["tokens"]},
                troubles=tuple(map(str, body["troubles"])),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise PublisherSilent("the publisher's state cannot be read") from error

    def reason(self, kind: str, object_id: int) -> str:
        """Why an object is set aside; empty if it is not, or if that is unknown. At most 2 s old."""
        with self._lock:
            self._look(CACHE_SECONDS)
            return self._reasons.get((kind, object_id), "")

    def ids(self, kind: str) -> frozenset[int]:
        """The objects of a kind that are set aside; as above."""
        with self._lock:
            self._look(CACHE_SECONDS)
            return frozenset(number for each, number in self._reasons if each == kind)

    def published(self, least: int) -> int | None:
        """Up to which change of the feed objects are at the gateway, or set aside; None: unknown.

        At most 2 s old, and a quarter of a second where it is less than `least`.
        """
        with self._lock:
            known = self._published
            behind = known is not None and known < least
            self._look(AGAIN_SECONDS if behind else CACHE_SECONDS)
            return self._published

    def _look(self, seconds: float) -> None:
        """Ask for the state, if what is known is older; the lock is held."""
        if time.monotonic() < self._asked + seconds:
            return
        try:
            state = self.state(seconds=SHORT_SECONDS)
            self._reasons = {(each.kind, each.id): each.reason for each in state.set_aside}
            self._published = state.published
        except PublisherSilent:
            self._reasons, self._published = {}, None
        # Remember failures too: a page must not wait once for each of its objects.
        self._asked = time.monotonic()

    def _ask(self, method: str, target: str, *, seconds: float) -> tuple[int, dict[str, Any]]:
        connection = UnixConnection(self._path, seconds=seconds)
        try:
            connection.request(method, target)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise PublisherSilent("the publisher does not answer") from error
        finally:
            connection.close()
