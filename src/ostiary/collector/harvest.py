"""From two looks at a row that counts to what was gained between them. Pure.

A row's counters only grow. What has been taken into account of them is its **baseline**, which is
kept in the same transaction as the gain: so a look that is taken twice, or late, counts once.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ostiary.access.reasons import Reason
from ostiary.collector.rows import Row
from ostiary.gateway.leases import code

#: Class of the status (0: no answer), code of the refusal, code of what would have refused.
Cell = tuple[int, int, int]

_RATE, _QUOTA = code(Reason.RATE_LIMITED), code(Reason.QUOTA_EXCEEDED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Calls of one row since its baseline; bytes are those of the whole row."""

    calls: Mapping[Cell, int]
    bytes_in: int
    bytes_out: int
    baseline: Mapping[str, int]


def gain(row: Row, baseline: Mapping[str, int]) -> Gain | None:
    """What `row` counts beyond `baseline`; nothing if that is nothing."""
    now = dict(row.counters)
    # Calls that are under way come and go: what ended without an answer is known from below.
    now["unanswered"] = max(now["unanswered"], baseline.get("unanswered", 0))
    if all(baseline.get(name, 0) == value for name, value in now.items()):
        return None
    gained = {name: max(0, value - baseline.get(name, 0)) for name, value in now.items()}
    if row.reason:
        cells: dict[Cell, int] = {(row.status, row.reason, 0): gained["refused"]}
    else:
        cells = _admitted(row, gained, now, baseline)
    return Gain(
        calls={cell: calls for cell, calls in cells.items() if calls},
        bytes_in=gained["bytes_in"],
        bytes_out=gained["bytes_out"],
        baseline=now,
    )


def _admitted(
    row: Row, gained: Mapping[str, int], now: dict[str, int], baseline: Mapping[str, int]
) -> dict[Cell, int]:
    own = gained["redirected"] + gained["client_error"] + gained["server_error"]
    classes = {
        2: max(0, gained["answered"] - own),
        4: gained["client_error"],
        5: gained["server_error"] + gained["failed"],
        3: gained["redirected"],
        0: gained["unanswered"],
    }
    cells: dict[Cell, int] = {
        (4, _RATE, 0): gained["rate_limited"],
        (4, _QUOTA, 0): gained["quota_exceeded"],
    }
    # A call that a watched limit would have refused is counted when it comes, and its class when
    # it is answered: what is not yet answered stays owed.
    for name, would in (("would_rate", _RATE), ("would_quota", _QUOTA)):
        done = baseline.get(f"{name}_told", 0)
        owed = now[name] - done
        for status, calls in classes.items():
            taken = min(owed, calls)
            classes[status] -= taken
            owed -= taken
            cells[status, 0, would] = taken
        now[f"{name}_told"] = now[name] - owed
    for status, calls in classes.items():
        cells[status, 0, row.would] = cells.get((status, 0, row.would), 0) + calls
    return cells
