"""The control side's client that waits until a change is in force (see `directory.changes.confirmation`)."""

import json
import time
from http.client import HTTPException
from pathlib import Path

from ostiary.directory.changes import feed
from ostiary.directory.changes.confirmation import Receipt
from ostiary.directory.changes.errors import NotInForce
from ostiary.directory.changes.feed import Kind
from ostiary.gateway.publisher_client import PublisherClient
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
        ms = round((time.perf_counter() - began) * 1000, 2)
        return Receipt(confirmed=1, of=1, ms=ms, streams=streams)

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
