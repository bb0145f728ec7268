"""The control side's client that waits until a change is in force (see `directory.changes.confirmation`)."""

import contextlib
import json
import threading
import time
from http.client import HTTPException
from pathlib import Path

from ostiary.directory.changes import feed
from ostiary.directory.changes.confirmation import NodeReceipt, Receipt
from ostiary.directory.changes.errors import NotInForce
from ostiary.directory.changes.feed import Kind
from ostiary.directory.workspace import nodes
from ostiary.directory.workspace.nodes import NodeState
from ostiary.gateway.publisher_client import (
    AGAIN_SECONDS,
    CACHE_SECONDS,
    SHORT_SECONDS,
    PublisherClient,
)
from ostiary.telemetry.unix_http import UnixConnection

TIMEOUT_SECONDS = 8.0


#: Kinds of changes that must also be published, not only revoked.
_PUBLISHED = frozenset({
    Kind.COLLECTION, Kind.ENDPOINT, Kind.CONNECTION, Kind.RECIPE, Kind.SETTINGS,
})  # fmt: skip
#: Seconds that a change may take to be published.
PUBLISH_SECONDS = 5.0


class SocketConfirmer:
    """Asks the authority of this machine on its socket, and the publisher where that is due."""

    def __init__(self, path: Path, publisher: PublisherClient) -> None:
        self._path, self._publisher = path, publisher

    def confirm(self, sequence: int) -> Receipt:
        """Wait until the gateway follows `sequence`; raises NotInForce.

        What takes rights away is in force first, whatever becomes of what is published.
        """
        began = time.perf_counter()
        streams = self._revoked(sequence)
        if feed.kind_of(sequence) in _PUBLISHED and not self._publisher.confirm(
            sequence, PUBLISH_SECONDS
        ):
            raise NotInForce
        return Receipt(confirmed=1, of=1, ms=_since(began), streams=streams)

    @property
    def is_here(self) -> bool:
        """Whether this machine has a gateway to ask."""
        return self._path.exists()

    def reached(self) -> int | None:
        """How far the gateway follows now; None: unknown."""
        connection = UnixConnection(self._path, seconds=SHORT_SECONDS)
        try:
            connection.request("GET", "/progress")
            return int(json.loads(connection.getresponse().read())["confirmed"])
        except (OSError, HTTPException, ValueError, KeyError, TypeError):
            return None
        finally:
            connection.close()

    def _revoked(self, sequence: int) -> int:
        """Wait for the epochs; returns how many open streams the change affected."""
        connection = UnixConnection(self._path, seconds=TIMEOUT_SECONDS)
        try:
            connection.request("POST", f"/confirm?sequence={sequence}")
            answer = connection.getresponse()
            if answer.status != 200:
                raise NotInForce
            return int(json.loads(answer.read()).get("streams") or 0)
        except (OSError, HTTPException, ValueError) as error:
            raise NotInForce from error
        finally:
            connection.close()


#: Seconds beyond a node's fence until its workers have noticed that it is up: their timers, whole seconds of
#: nginx's clock, and streams, which are looked at once a second.
FENCE_MARGIN = 2.5
#: Seconds between two looks at what the other nodes confirmed: the first, and the longest.
FIRST_LOOK, LONGEST_LOOK = 0.004, 0.05


class NodesConfirmer:
    """Waits for all gateways of a database: this machine's by its sockets, the others by their reports.

    A gateway that reads the feed after the change was committed either follows it or does not raise
    its fence's end. So one that has not confirmed after its fence's seconds honours no older decision.
    """

    def __init__(self, local: SocketConfirmer, node: str) -> None:
        self._local, self._node = local, node

    def confirm(self, sequence: int) -> Receipt:
        """Wait until every gateway follows `sequence`, or is fenced; raises NotInForce."""
        began = time.perf_counter()
        mine: Receipt | None = None
        if self._local.is_here:
            # It may be cut off from the database, and is then fenced like any other.
            with contextlib.suppress(NotInForce):
                mine = self._local.confirm(sequence)
        published = feed.kind_of(sequence) in _PUBLISHED
        pause = FIRST_LOOK
        while True:
            gateways = nodes.gateways()
            states = {
                each.name: _CONFIRMED
                if mine is not None and each.name == self._node
                else _state_of(each, sequence, published, time.perf_counter() - began)
                for each in gateways
            }
            if mine is not None:
                states[self._node] = _CONFIRMED
            waiting = [each for each in gateways if states[each.name] == _WAITING]
            if not waiting:
                break
            if all(time.perf_counter() - began > _patience(each) for each in waiting):
                raise NotInForce(_not_yet([each.name for each in waiting]))
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_LOOK)
        if not states:
            raise NotInForce
        confirmed = [name for name, state in states.items() if state == _CONFIRMED]
        others = sum(_streams(each, sequence) for each in gateways if each.name != self._node)
        return Receipt(
            confirmed=len(confirmed),
            of=len(states),
            ms=_since(began),
            streams=others + (mine.streams if mine else 0),
            nodes=tuple(
                NodeReceipt(name=name, state="confirmed" if state == _CONFIRMED else "fenced")
                for name, state in states.items()
            ),
        )


_CONFIRMED, _FENCED, _WAITING = "confirmed", "fenced", "waiting"


def _state_of(node: NodeState, sequence: int, published: bool, waited: float) -> str:
    """`waited`: seconds since the change was committed, at least."""
    if node.confirmed >= sequence and (not published or node.published >= sequence):
        return _CONFIRMED
    after = node.rights_end_after + FENCE_MARGIN
    # A report may be under way for as long as a statement may take.
    if waited > after or node.silence > after + STATEMENT_SECONDS:
        return _FENCED
    return _WAITING


#: Seconds that a report may take from the clock's reading to its commit.
STATEMENT_SECONDS = 10.0


def _patience(node: NodeState) -> float:
    return (node.fence_seconds or PUBLISH_SECONDS) + FENCE_MARGIN + 0.5


def _streams(node: NodeState, sequence: int) -> int:
    return next((int(n) for last, n in node.streams if last >= sequence), 0)


def _since(began: float) -> float:
    return round((time.perf_counter() - began) * 1000, 2)


def _not_yet(names: list[str]) -> str:
    return f"Saved, but not yet in force at {', '.join(sorted(names))}; try again in a moment"


class GatewayProgress:
    """How far all gateways follow: this machine's by its sockets, the others by their reports.

    A node that is fenced honours no older decision, and is not waited for.
    """

    def __init__(
        self, local: SocketConfirmer, publisher: PublisherClient, *, others_than: str | None
    ) -> None:
        """`others_than`: this node, where there may be others."""
        self._local, self._publisher, self._node = local, publisher, others_than
        self._lock = threading.Lock()
        self._followed: int | None = None
        self._asked = float("-inf")
        self._others: list[NodeState] = []
        self._others_asked = float("-inf")

    def followed(self, least: int) -> int | None:
        """The sequence up to which epochs are in force; None: unknown."""
        with self._lock:
            behind = self._followed is not None and self._followed < least
            if self._local.is_here and _is_due(self._asked, behind=behind):
                self._followed = self._local.reached()
                # Remember failures too: a page must not wait once for each of its rows.
                self._asked = time.monotonic()
            mine = [self._followed] if self._local.is_here else []
            return _least([*mine, *(each.confirmed for each in self._heard(least))])

    def published(self, least: int) -> int | None:
        """The sequence up to which objects are published; None: unknown."""
        mine = [self._publisher.published(least)] if self._local.is_here else []
        with self._lock:
            return _least([*mine, *(each.published for each in self._heard(least))])

    def _heard(self, least: int) -> list[NodeState]:
        """The other nodes with a gateway that are not fenced; the lock is held."""
        if self._node is None:
            return []
        behind = any(min(each.confirmed, each.published) < least for each in self._others)
        if _is_due(self._others_asked, behind=behind):
            self._others = [
                each
                for each in nodes.gateways()
                if each.name != self._node
                and each.silence <= each.rights_end_after + FENCE_MARGIN + STATEMENT_SECONDS
            ]
            self._others_asked = time.monotonic()
        return self._others


def _is_due(asked: float, *, behind: bool) -> bool:
    return time.monotonic() >= asked + (AGAIN_SECONDS if behind else CACHE_SECONDS)


def _least(reached: list[int | None]) -> int | None:
    """How far all are; None: of one it is not known, or there is none."""
    known = [each for each in reached if each is not None]
    return min(known) if known and len(known) == len(reached) else None
