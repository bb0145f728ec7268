"""Times as pages show them: how long ago, with the time in UTC one hover or focus away."""

from datetime import UTC, datetime

MINUTE, HOUR, DAY = 60, 3_600, 86_400
#: From here on a date says more than a number of days.
DATED = 30 * DAY
#: From how many seconds on, in what, and its name: `30 h` says more than `1 day`.
_UNITS = ((2 * DAY, DAY, "days"), (HOUR, HOUR, "h"), (MINUTE, MINUTE, "min"), (0, 1, "s"))


def relative(at: datetime, now: datetime) -> str:
    """`2 h ago`, `in 3 days`; the date alone where that is a month away. `console.js` has the same."""
    seconds = round((now - at).total_seconds())
    distance = abs(seconds)
    if distance >= DATED:
        return at.astimezone(UTC).strftime("%-d %b %Y")
    if distance < 10:
        return "now"
    number, unit = next(
        (distance // size, unit) for least, size, unit in _UNITS if distance >= least
    )
    return f"{number} {unit} ago" if seconds > 0 else f"in {number} {unit}"


def absolute(at: datetime) -> str:
    """`28 November 2026, 14:03:12 UTC`."""
    return at.astimezone(UTC).strftime("%-d %B %Y, %H:%M:%S UTC")
