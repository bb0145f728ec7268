"""Latencies as a histogram of fixed buckets, which adds up over any time and any group.

Whole milliseconds up to 10, then each bucket is a fifth wider than the last: a percentile is off
by a tenth at most.
"""

import bisect
from collections.abc import Iterator, Mapping

_EXACT = 10
_GROWTH = 1.2
#: Longer than any call may take.
_LONGEST = 600_000


def _edges() -> Iterator[int]:
    yield from range(_EXACT + 1)
    edge = float(_EXACT)
    while edge < _LONGEST:
        edge *= _GROWTH
        yield round(edge)


#: The largest latency of each bucket, milliseconds.
EDGES: tuple[int, ...] = tuple(_edges())


def bucket_of(milliseconds: int) -> int:
    """The bucket that holds a latency; what is longer than all is in the last."""
    return min(bisect.bisect_left(EDGES, max(0, milliseconds)), len(EDGES) - 1)


def percentile(histogram: Mapping[int, int], share: float) -> int | None:
    """The latency, in milliseconds, within which `share` (0 to 1) of the calls ended."""
    total = sum(histogram.values())
    if not total:
        return None
    wanted, seen = share * total, 0
    for bucket in sorted(histogram):
        seen += histogram[bucket]
        if seen >= wanted:
            return EDGES[bucket]
    return EDGES[-1]
