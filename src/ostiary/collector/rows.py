"""Rows of the gateway's tables, as `show table` writes them (management guide, section 9.3)."""

import re
from collections.abc import Iterable

_QUOTA = re.compile(r"key=(\d+):(\d+) .*\bgpt0=(\d+)\b.*\bgpc0=(\d+)|"
                    r"key=(\d+):(\d+) .*\bgpc0=(\d+)\b.*\bgpt0=(\d+)")  # fmt: skip


def quota(lines: Iterable[str]) -> dict[tuple[int, int], int]:
    """(profile, start of the period) → calls in it: the base (less one) and what was counted."""
    counts = {}
    for line in lines:
        match = _QUOTA.search(line)
        if match is None:
            continue
        profile, start, base, count = (
            match.group(1, 2, 3, 4) if match[1] else match.group(5, 6, 8, 7)
        )
        if int(base):
            counts[int(profile), int(start)] = int(base) - 1 + int(count)
    return counts
