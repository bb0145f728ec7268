"""The request log on its way: every line is counted for latencies, some are kept.

Up to a rate every line is kept; above it one of 2, 4, 8 … is, and says for how many it stands. A
line may stand for more than one call when it comes: see `gateway.leases.ONE_OF`.
"""

from collections import Counter
from dataclasses import dataclass, field

from ostiary.collector.lines import Line, read
from ostiary.usage.latency import bucket_of

#: Lines a second up to which all are kept, of admitted calls and of refused ones.
CALLS, REFUSALS = 200, 500
#: Kept lines that may wait to be written; beyond, they are lost, and counted.
WAITING = 20_000


@dataclass(frozen=True, slots=True)
class Kept:
    line: Line
    stands_for: int


#: Minute, endpoint, collection, credential, profile (known of refused calls), bucket.
LatencyKey = tuple[int, int, int, int, int, int]


@dataclass(slots=True)
class Drained:
    """What came since the last time."""

    kept: list[Kept] = field(default_factory=list)
    latencies: Counter[LatencyKey] = field(default_factory=Counter)


class _Sampler:
    """Keeps every line up to `most` in a second, then ever fewer."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._second, self._seen = 0, 0

    def take(self, second: int) -> int:
        """For how many the line stands; 0: it is not kept."""
        if second != self._second:
            self._second, self._seen = second, 0
        self._seen += 1
        step = 1 << ((self._seen - 1) // self._most).bit_length()
        return step if self._seen % step == 0 else 0


class Journal:
    """Takes messages as they come; `drain` gives what has gathered."""

    def __init__(self, *, calls: int = CALLS, refusals: int = REFUSALS) -> None:
        self._calls, self._refusals = _Sampler(calls), _Sampler(refusals)
        self._now = Drained()
        #: Since the start: lines read, lines that were none of ours, kept lines that were lost.
        self.lines = self.strange = self.lost = 0

    def take(self, message: bytes) -> None:
        line = read(message)
        if line is None:
            self.strange += 1
            return
        self.lines += 1
        second = line.at_ms // 1000
        if line.endpoint and line.credential:
            key = (
                second - second % 60,
                line.endpoint,
                line.collection,
                line.credential,
                line.profile,
                bucket_of(line.milliseconds),
            )
            self._now.latencies[key] += line.stands_for
        stands_for = (self._refusals if line.reason else self._calls).take(second)
        if stands_for:
            if len(self._now.kept) >= WAITING:
                self.lost += 1
            else:
                self._now.kept.append(Kept(line, stands_for * line.stands_for))

    def drain(self) -> Drained:
        drained, self._now = self._now, Drained()
        return drained

    def put_back(self, drained: Drained) -> None:
        """What could not be written waits, as far as there is room."""
        later, self._now = self._now, drained
        self._now.latencies.update(later.latencies)
        room = max(0, WAITING - len(self._now.kept))
        self.lost += max(0, len(later.kept) - room)
        self._now.kept.extend(later.kept[:room])
