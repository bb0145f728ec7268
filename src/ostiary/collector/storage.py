"""Converts pushes and log lines to the types of `usage.recording`, and stores them. Blocking.

Used by one thread.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from django.db import DataError, Error

from ostiary.access.reasons import REASONS, Rule
from ostiary.collector import counts, traces
from ostiary.collector.counts import Counter, Merged, is_forgotten, minute_of, read_identity
from ostiary.collector.log_lines import CALLS, Batch, Reader
from ostiary.collector.owners import Owners
from ostiary.directory.webhooks import events
from ostiary.gateway.contract import Pushed
from ostiary.usage import counting, recording
from ostiary.usage.recording import Baseline, CountKey, LatencyKey, Position, Totals, What

log = logging.getLogger(__name__)

#: Baselines that are remembered; when there are more, all are forgotten and read again.
_MOST_BASELINES = 300_000
#: The time of a credential's last use is written this often at most, in seconds.
USE_SECONDS = 60
#: Codes of calls that used their credential: admitted, or refused for a limit alone.
_USES = frozenset({0, *(row.code for row in REASONS.values() if row.rule is Rule.LIMITS)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The result of storing pushes: grown counters, their calls, and unreadable entries."""

    counters: int
    calls: int
    strange: int


class Store:
    """One gateway's collector's way into the database. Every method raises Django's Error."""

    def __init__(self, node: str = "", *, log_rate: int = CALLS) -> None:
        self._node = node
        self._owners = Owners()
        self._reader = Reader(node, self._owners, calls=max(CALLS, log_rate))
        #: What was taken into account of counters, as far as it is remembered.
        self._baselines: dict[str, Totals] = {}
        #: Credential → Unix seconds of a use that is not written yet, and the last that is.
        self._uses: dict[int, int] = {}
        self._uses_written: dict[int, int] = {}

    def pushes(self, pushes: Iterable[Pushed], *, moment: float) -> Stored:
        """Store what is new of pushes that came at `moment`, Unix seconds.

        What was not stored is new again when it comes again.
        """
        merged = counts.merge(pushes)
        try:
            stored = self._counts(merged, moment)
        except Error:
            # Whether the last transaction was committed is not known; the database tells.
            self._baselines.clear()
            raise
        counting.store_quota(merged.quotas)
        counting.store_rates(merged.rates)
        self._pushed_lines(merged.lines)
        self._write_uses()
        return stored

    def _counts(self, merged: Merged, moment: float) -> Stored:
        if len(self._baselines) > _MOST_BASELINES:
            self._baselines.clear()
        known = self._baselines
        missing = [identity for identity in merged.totals if identity not in known]
        looked_up = recording.baselines(self._node, missing)
        known |= looked_up
        calls, strange = 0, merged.strange
        grown: list[tuple[str, Counter, Totals]] = []
        for identity, totals in merged.totals.items():
            before = known.get(identity)
            if before is not None and before.largest(totals) == before:
                continue
            try:
                counter = read_identity(identity)
                if before is None and is_forgotten(counter, now=moment):
                    raise ValueError(identity)
            except ValueError:
                strange += 1
                continue
            grown.append((identity, counter, totals))
        for part in recording.parts(grown):
            calls += self._part(part, moment)
        if strange:
            log.warning("counters or limits that cannot be read were set aside: %d", strange)
        return Stored(counters=len(grown), calls=calls, strange=strange)

    def _part(self, part: Sequence[tuple[str, Counter, Totals]], moment: float) -> int:
        self._owners.learn(profiles=[c.profile for _, c, _ in part if not c.client])
        gained: dict[CountKey, Totals] = {}
        taken: dict[str, Baseline] = {}
        for identity, counter, totals in part:
            before = self._baselines.get(identity, Totals())
            key = CountKey(
                What(
                    minute=minute_of(counter, moment),
                    profile=counter.profile,
                    client=counter.client or self._owners.client_of(counter.profile),
                    collection=counter.collection,
                    endpoint=counter.endpoint,
                ),
                status=counter.status,
                reason=counter.reason,
                would=counter.would,
            )
            gained[key] = gained.get(key, Totals()).plus(totals.minus(before))
            taken[identity] = Baseline(counter.hour, before.largest(totals))
        recording.store_counts(self._node, gained, taken)
        self._baselines |= {identity: baseline.totals for identity, baseline in taken.items()}
        self._uses |= {
            counter.credential: int(moment)
            for _, counter, _ in part
            if counter.credential and counter.reason in _USES
        }
        return sum(totals.calls for totals in gained.values())

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

    def _pushed_lines(self, lines: Sequence[str]) -> None:
        """Store lines of a push, which may come again: once each. They tell of no latency."""
        if not lines:
            return
        batch = self._reader.read(lines, timed=False)
        stored = recording.stored_already((str(row[1]), int(row[0])) for row in batch.calls)
        fresh = {(row[1], row[0]): row for row in batch.calls if (row[1], row[0]) not in stored}
        for part in recording.parts(fresh.values()):
            recording.store_lines(self._node, part)

    def read(self, lines: Sequence[str]) -> Batch:
        """Read lines of the log file; what could not be read is not counted."""
        return self._reader.read(lines)

    def lines(self, batch: Batch, position: Position) -> int:
        """Store lines and how far their file was read; returns how many the database refused."""
        try:
            recording.store_lines(self._node, batch.calls, position)
        except DataError:
            log.exception("the database refused a log line")
            return self._one_by_one(batch, position)
        return 0

    def _one_by_one(self, batch: Batch, position: Position) -> int:
        """Store what the database takes: one line that it refuses does not hold up the others.

        Their place in the file is stored last: at worst some lines come twice, and none is lost.
        """
        refused = 0
        for row in batch.calls:
            try:
                recording.store_lines(self._node, [row])
            except DataError:
                refused += 1
        recording.store_lines(self._node, [], position)
        return refused

    def latencies(self, gained: Mapping[LatencyKey, int], positions: Sequence[Position]) -> None:
        """Store latencies, and the places in the files up to which they are."""
        recording.store_latencies(self._node, gained, positions)

    def positions(self) -> Mapping[str, Position]:
        return recording.positions(self._node)

    def tidy(self, gone: Iterable[str], *, moment: float) -> None:
        """Delete positions of files that are gone, and baselines of counters that are."""
        recording.forget_positions(self._node, gone)
        recording.forget_baselines(self._node, now=moment)
        self._baselines.clear()
        self._uses_written.clear()

    def traces(self, messages: Iterable[bytes]) -> int:
        """Store what the authority saw when it refused; returns how many could be read."""
        messages = list(messages)
        readable = [trace for message in messages if (trace := traces.read(message)) is not None]
        recording.store_traces(readable)
        for profiles in {traces.fitting(message) for message in messages} - {frozenset()}:
            events.of_ambiguity(profiles)
        return len(readable)
