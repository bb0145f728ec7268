"""Rows of the gateway's tables, as `show table` writes them (management guide, section 9.3).

The key of a lease row is a credential: it is not read here, and goes no further.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ostiary.access.reasons import by_code, refusal
from ostiary.gateway.leases import COUNTS, GPC, GPT

_VALUE = re.compile(r" ([a-z_]+\d*)=(\d+)")
_PERIOD = re.compile(r"key=([0-9A-F]{8})([0-9A-F]{8}) ")
_REFUSAL = re.compile(r"key=(\d*):([^: ]*):(\d+) ")
_SCOPE = re.compile(r"(?:e(\d+);)?c(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row that counts calls: what tells it from every other, and its counters as they are."""

    #: Equal for the same row of two harvests, and for no two rows.
    identity: str
    profile: int
    client: int
    collection: int
    endpoint: int
    #: Of a row of refusals: class of the status, and code of the reason. Otherwise 0.
    status: int = 0
    reason: int = 0
    #: Code of the reason for which address lists that are only watched would have refused.
    would: int = 0
    #: Of a row of refusals, 0.
    credential: int = 0
    counters: Mapping[str, int]


def quota(lines: Iterable[str]) -> dict[tuple[int, int], int]:
    """(profile, start of the period) → calls that passed in it.

    `gpt0` is one more than the count before this process; `gpc0` counts what came, `gpc1` what of
    it was refused. A profile without a quota is counted in a period that starts at 0.
    """
    counts = {}
    for line in lines:
        key = _PERIOD.search(line)
        values = _values(line)
        if key and values.get("gpt0") and int(key[2], 16):
            passed = values.get("gpc0", 0) - values.get("gpc1", 0)
            counts[int(key[1], 16), int(key[2], 16)] = values["gpt0"] - 1 + max(0, passed)
    return counts


def rates(lines: Iterable[str]) -> dict[tuple[int, int], int]:
    """(profile, number of the window) → calls that passed in it, of the table `rate_long`.

    `gpt0` is what passed before this process; `gpc0` counts what came, `gpc1` what was refused.
    """
    counts = {}
    for line in lines:
        key = _PERIOD.search(line)
        values = _values(line)
        if key and values.get("gpc0"):
            passed = values["gpc0"] - values.get("gpc1", 0)
            counts[int(key[1], 16), int(key[2], 16)] = values.get("gpt0", 0) + max(0, passed)
    return counts


def leases(lines: Iterable[str]) -> Iterator[Row]:
    """Rows of the table `leases` with the calls that were made by them."""
    for line in lines:
        # After the key, which is last to hold anything else.
        values = _values(line[line.find(" use=") :])
        if values.get("gpc0"):
            yield _lease(values)


def _lease(values: dict[str, int]) -> Row:
    told = {name: values.get(f"gpt{index}", 0) for name, index in GPT.items()}
    counters = {name: values.get(f"gpc{GPC[name]}", 0) for name in COUNTS}
    ended = ("answered", "failed", "rate_limited", "quota_exceeded")
    # What is under way was called and is not answered: `use` tells how many at most.
    under_way = values.get("use", 0) + sum(counters[name] for name in ended)
    counters["unanswered"] = max(0, counters.pop("called") - under_way)
    return Row(
        identity=f"{told['serial']}:{told['credential']}:{told['endpoint']}",
        profile=told["profile"],
        client=told["client"],
        collection=told["collection"],
        endpoint=told["endpoint"],
        would=told["would"],
        credential=told["credential"],
        counters=counters | _bytes(values),
    )


def _bytes(values: Mapping[str, int]) -> dict[str, int]:
    return {
        "bytes_in": values.get("bytes_in_cnt", 0),
        "bytes_out": values.get("bytes_out_cnt", 0),
    }


def refusals(lines: Iterable[str], table: str) -> Iterator[Row]:
    """Rows of a table of refusals; the client is not known there."""
    for line in lines:
        key, values = _REFUSAL.search(line), _values(line)
        if key is None or not values.get("gpc0"):
            continue
        scope = _SCOPE.match(key[2])
        reason = int(key[3])
        yield Row(
            identity=f"{table}:{values.get('gpt0', 0)}:{key[1]}:{key[2]}:{reason}"[:120],
            profile=int(key[1] or 0),
            client=0,
            collection=int(scope[2]) if scope else 0,
            endpoint=int(scope[1] or 0) if scope else 0,
            status=_status(reason),
            reason=reason,
            counters={"refused": values["gpc0"], "unanswered": 0, **_bytes(values)},
        )


def _status(reason: int) -> int:
    try:
        return refusal(by_code(reason)).status // 100
    except KeyError:
        return 4


def _values(text: str) -> dict[str, int]:
    return {name: int(value) for name, value in _VALUE.findall(text)}
