"""What was harvested and logged, put into the words of `usage.recording` and written. Blocking."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from django.db import close_old_connections

from ostiary.collector.harvest import Gain, gain
from ostiary.collector.journal import Drained, Kept
from ostiary.collector.owners import Owners
from ostiary.collector.rows import Row
from ostiary.usage import counting
from ostiary.usage.models import DecisionTrace, LoggedCall
from ostiary.usage.recording import (
    Batch,
    Count,
    CountKey,
    LatencyKey,
    Recorder,
    What,
    store_calls,
    store_traces,
)

#: Rows whose gains and baselines are written in one transaction.
AT_ONCE = 250
#: A baseline is kept for so many seconds after its row was last counted on; rows live an hour.
KEPT_SECONDS = 2 * 3600
#: To so many seconds it is known when a credential was last used.
USE_SECONDS = 60


class Store:
    """One gateway's collector's way into the database."""

    def __init__(self, node: str = "") -> None:
        self._node = node
        self._recorder = Recorder(node)
        self._owners = Owners()
        self._baselines: dict[str, dict[str, int]] | None = None
        #: Credential → Unix seconds of a use that is not written yet, and the last that is.
        self._uses: dict[int, int] = {}
        self._uses_written: dict[int, int] = {}

    def harvested(self, rows: Iterable[Row], *, minute: int) -> int:
        """Write what rows count beyond their baselines; returns how many calls that is.

        Raises DatabaseError: what was not written is found again with the next harvest.
        """
        close_old_connections()
        if self._baselines is None:
            self._baselines = self._recorder.baselines()
        calls = 0
        pairs = ((row, gain(row, self._baselines.get(row.identity, {}))) for row in rows)
        gained = ((row, gained) for row, gained in pairs if gained is not None)
        while part := list(islice(gained, AT_ONCE)):
            calls += self._write(part, minute, self._baselines)
        self._write_uses()
        return calls

    def _write(
        self, part: list[tuple[Row, Gain]], minute: int, baselines: dict[str, dict[str, int]]
    ) -> int:
        self._owners.learn(profiles=[row.profile for row, _ in part if not row.client])
        totals: dict[CountKey, Count] = {}
        taken: dict[str, dict[str, int]] = {}
        for row, found in part:
            what = What(
                minute=minute,
                profile=row.profile,
                client=row.client or self._owners.client_of(row.profile),
                collection=row.collection,
                endpoint=row.endpoint,
            )
            for key, count in _counts(what, row, found):
                totals[key] = totals.get(key, Count()).plus(count)
            taken[row.identity] = dict(found.baseline)
        self._recorder.store(Batch(gained=totals, baselines=taken))
        baselines |= taken
        now = int(time.time())
        self._uses |= {row.credential: now for row, _ in part if row.credential}
        return sum(count.calls for count in totals.values())

    def _write_uses(self) -> None:
        """Write when credentials were last used, each at most once in a while."""
        due = {
            credential: at
            for credential, at in self._uses.items()
            if at - self._uses_written.get(credential, 0) >= USE_SECONDS
        }
        counting.store_uses(due)
        self._uses_written |= due
        self._uses = {c: at for c, at in self._uses.items() if c not in due}

    def forget(self, alive: set[str]) -> None:
        """Delete baselines of rows that are gone."""
        close_old_connections()
        self._recorder.forget(alive=alive, before_seconds=KEPT_SECONDS)
        if self._baselines is not None:
            known = set(self._recorder.baselines())
            self._baselines = {i: b for i, b in self._baselines.items() if i in known}
        self._uses_written.clear()

    def quota(self, counts: Mapping[tuple[int, int], int]) -> None:
        close_old_connections()
        counting.store_quota(counts)

    def rates(self, counts: Mapping[tuple[int, int], int]) -> None:
        close_old_connections()
        counting.store_rates(counts)

    def journal(self, drained: Drained) -> None:
        """Write lines and latencies; raises DatabaseError."""
        close_old_connections()
        owners = self._owners
        owners.learn(
            credentials=[*(key[3] for key in drained.latencies), *_credentials(drained.kept)],
            profiles=[each.line.profile for each in drained.kept],
            endpoints=[each.line.endpoint for each in drained.kept],
        )
        latencies: dict[LatencyKey, int] = {}
        for (
            minute,
            endpoint,
            collection,
            credential,
            _,
            bucket,
        ), calls in drained.latencies.items():
            profile, client = owners.of_credential(credential)
            what = What(
                minute=minute,
                profile=profile,
                client=client,
                collection=collection,
                endpoint=endpoint,
            )
            latencies[what, bucket] = latencies.get((what, bucket), 0) + calls
        store_calls([self._logged(each) for each in drained.kept])
        # What is written by now must not be written again, should the rest fail.
        drained.kept.clear()
        self._recorder.store_latencies(latencies)
        drained.latencies.clear()

    def _logged(self, kept: Kept) -> LoggedCall:
        line = kept.line
        profile, client = self._owners.of_credential(line.credential)
        profile = profile or line.profile
        return LoggedCall(
            at_ms=line.at_ms,
            request_id=line.request_id[:40],
            node=self._node,
            status=line.status,
            reason=line.reason,
            would=line.would,
            method=(line.method or self._owners.method_of(line.endpoint))[:16],
            collection_id=line.collection,
            endpoint_id=line.endpoint,
            client_id=client or self._owners.client_of(profile),
            profile_id=profile,
            credential_id=line.credential,
            address=line.address[:45],
            latency_ms=line.milliseconds,
            bytes_in=line.bytes_in,
            bytes_out=line.bytes_out,
            stands_for=kept.stands_for,
            details=line.details,
        )

    def traces(self, messages: Iterable[bytes]) -> None:
        """Write what the authority told of its refusals."""
        close_old_connections()
        store_traces([trace for message in messages if (trace := _trace(message))])


def _credentials(kept: Iterable[Kept]) -> Iterator[int]:
    return (each.line.credential for each in kept)


def _counts(what: What, row: Row, found: Gain) -> Iterator[tuple[CountKey, Count]]:
    """A row's gain by cell. Its bytes, which are counted for the whole, go to the largest cell."""
    cells = dict(found.calls) or {(row.status or 2, row.reason, row.would): 0}
    largest = max(cells, key=lambda cell: cells[cell])
    for (status, reason, would), calls in cells.items():
        bytes_in, bytes_out = (
            (found.bytes_in, found.bytes_out) if (status, reason, would) == largest else (0, 0)
        )
        yield (what, status, reason, would), Count(calls, bytes_in, bytes_out)


def _trace(message: bytes) -> DecisionTrace | None:
    try:
        told: dict[str, Any] = json.loads(message)
        return DecisionTrace(
            number=int(told["number"]),
            at_ms=int(told.get("at_ms") or time.time() * 1000),
            sequence=int(told["sequence"]),
            profile_id=int(told["profile"]),
            credential_id=int(told["credential"]),
            steps=list(told["steps"]),
        )
    except (ValueError, KeyError, TypeError):
        return None
