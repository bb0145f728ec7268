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


def pack(histogram: Mapping[int, int]) -> bytes:
    """A histogram as it is stored: for each bucket its number and its count, seven bits a byte."""
    packed = bytearray()
    for bucket in sorted(histogram):
        count = histogram[bucket]
        if count <= 0:
            continue
        packed.append(bucket)
        while count > 0x7F:
            packed.append(count & 0x7F | 0x80)
            count >>= 7
        packed.append(count)
    return bytes(packed)


def add_packed(packed: bytes, into: dict[int, int]) -> None:
    """Add a stored histogram to one in memory."""
    at, end = 0, len(packed)
    while at < end:
        bucket, at = packed[at], at + 1
        count = shift = 0
        while packed[at] > 0x7F:
            count |= (packed[at] & 0x7F) << shift
            shift += 7
            at += 1
        count |= packed[at] << shift
        at += 1
        into[bucket] = into.get(bucket, 0) + count
