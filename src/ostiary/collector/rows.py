"""Rows of the gateway's tables, as `show table` writes them (management guide, section 9.3)."""

import re
from collections.abc import Iterable

_KEY = re.compile(r"key=(\d+):(\d+) ")
_VALUE = re.compile(r"\b(gp[tc]\d)=(\d+)")


def quota(lines: Iterable[str]) -> dict[tuple[int, int], int]:
    """(profile, start of the period) → calls that passed in it.

    `gpt0` is one more than the count before this process; `gpc0` counts what came, `gpc1` what of
    it was refused.
    """
    counts = {}
    for line in lines:
        key = _KEY.search(line)
        values = {name: int(value) for name, value in _VALUE.findall(line)}
        if key and values.get("gpt0"):
            passed = values.get("gpc0", 0) - values.get("gpc1", 0)
            counts[int(key[1]), int(key[2])] = values["gpt0"] - 1 + max(0, passed)
    return counts
