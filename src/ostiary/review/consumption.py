"""How much of a profile's limits is used: in a call's window as it was logged, and now."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from django.db.models import Sum

from ostiary.access import limits
from ostiary.access.facts import Profile
from ostiary.access.reasons import Reason
from ostiary.access.stages import Stage
from ostiary.review import limit_counts
from ostiary.usage.models import LoggedCall, QuotaCount

#: Lines of the log that are looked through for the calls of one window.
MOST_LINES = 100_000
FULL_AGAIN = "full again at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumed:
    """One limit, the window that it counts in, and how many calls that window has had."""

    stage: Stage
    reason: Reason
    limit: int
    per: str
    span: limits.TimeSpan
    #: None: not known for a window that is over.
    used: int | None
    #: Where `used` comes from.
    source: str = ""
    #: What the call would count.
    weight: int = 1

    @property
    def reached(self) -> bool:
        return self.used is not None and self.used + self.weight > self.limit

    @property
    def shown(self) -> Mapping[str, str]:
        shown = {
            "limit": f"{self.limit:,} per {self.per}",
            "window": f"{moment(self.span.start)} to {moment(self.span.end)}",
        }
        if self.used is not None:
            shown["used"] = f"{self.used:,}{self.source}"
        if self.weight != 1:
            shown["a call counts"] = f"{self.weight:,}"
        if self.reached:
            shown[FULL_AGAIN] = moment(self.span.end)
        return shown


def moment(at: int) -> str:
    """A time as it is shown in inputs: UTC, to the second."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _counted_in(profile: Profile, name: str, span: limits.TimeSpan) -> limits.TimeSpan:
    """A window from when it is counted: its start, or its last reset."""
    return limits.TimeSpan(start=limits.since(span, profile.resets.get(name)), end=span.end)


def limits_of(profile: Profile, at: int) -> tuple[Consumed, ...]:
    """A profile's limits with their windows at `at` (Unix seconds); nothing is counted."""
    found = []
    if profile.quota is not None:
        span = _counted_in(
            profile, limits.QUOTA, limits.period(profile.quota.period, at, profile.policy_since)
        )
        found.append(
            Consumed(
                stage=Stage.QUOTA, reason=Reason.QUOTA_EXCEEDED, limit=profile.quota.limit,
                per=profile.quota.period.value, span=span, used=None,
            )
        )  # fmt: skip
    for rate in profile.rates:
        span = _counted_in(profile, rate.interval.value, limits.window(rate.interval, at))
        found.append(
            Consumed(
                stage=Stage.RATE, reason=Reason.RATE_LIMITED, limit=rate.limit,
                per=rate.interval.value, span=span, used=None,
            )
        )  # fmt: skip
    return tuple(found)


def shown(counted: Iterable[Consumed], stage: Stage) -> Mapping[str, str]:
    """The limits of one stage in words; several rate limits stand beside each other."""
    texts: dict[str, list[str]] = {}
    for each in counted:
        if each.stage is stage:
            for name, text in each.shown.items():
                texts.setdefault(name, []).append(text)
    # A call is refused until the last of the limits that are reached begins anew.
    return {
        name: max(found) if name == FULL_AGAIN else "; ".join(found)
        for name, found in texts.items()
    }


def consumed(profile: Profile, at: int, weight: int = 1) -> tuple[Consumed, ...]:
    """The same with what is used at `at`: as the gateway counts it, or, while it does not answer, the
    quota as it was harvested and the rate by the log. A call of `weight` 0 meets no limit.
    """
    limited = limits_of(profile, at) if weight else ()
    counted = _by_gateway(profile, limited)
    return tuple(
        replace(
            _counted(profile, each)
            if counted is None
            else _with(each, counted.get(_key(profile, each), 0), ", as the gateway counts"),
            weight=weight,
        )
        for each in limited
    )


def _by_gateway(profile: Profile, limited: Iterable[Consumed]) -> Mapping[str, int] | None:
    """What the gateway has counted, by the keys of its counters; None: it does not answer.

    A counter that it does not have yet is as it was stored.
    """
    keys = [_key(profile, each) for each in limited]
    if not keys:
        return {}
    try:
        found = limit_counts.counted(keys)
    except limit_counts.CountsSilent:
        return None
    # After a restart, before the first call: then what was stored counts.
    return found if len(found) == len(keys) else None


def _key(profile: Profile, limit: Consumed) -> str:
    """The key of a limit's counter (`contract.LIMIT_KEY`)."""
    if limit.stage is Stage.QUOTA:
        return f"q/{profile.id}/0/{limit.span.start}"
    return f"r/{profile.id}/{limits.Interval(limit.per).seconds}/{limit.span.start}"


def _counted(profile: Profile, limit: Consumed) -> Consumed:
    if limit.stage is Stage.QUOTA and profile.quota is not None:
        row = QuotaCount.objects.filter(
            profile_id=profile.id, interval=profile.quota.period.value,
            period_start=limit.span.start,
        ).first()  # fmt: skip
        return _with(limit, row.calls if row else 0, ", as last counted")
    return _with(limit, _logged_in(profile, limit.span), ", by the request log")


def _with(limit: Consumed, used: int, source: str) -> Consumed:
    return Consumed(
        stage=limit.stage, reason=limit.reason, limit=limit.limit, per=limit.per,
        span=limit.span, used=used, source=source,
    )  # fmt: skip


def _logged_in(profile: Profile, span: limits.TimeSpan) -> int:
    """Admitted calls of a window, as far as they are logged already."""
    calls = LoggedCall.objects.filter(
        profile_id=profile.id, reason=0, at_ms__gte=span.start * 1000, at_ms__lt=span.end * 1000
    )[:MOST_LINES]
    found: int | None = calls.aggregate(calls=Sum("stands_for"))["calls"]
    return found or 0


def logged(stage: Stage, details: Mapping[str, str], at: int) -> Mapping[str, str]:
    """The limit that a refused call met, as the gateway logged it; nothing if it did not."""
    numbers = {name: int(text) for name, text in details.items() if str(text).isdecimal()}
    try:
        if stage is Stage.RATE:
            limit, seconds = numbers["rate_limit"], numbers["rate_interval"]
            start = at - at % seconds
            weight = numbers.get("weight", 1)
            used = (
                f"more than {max(0, limit - weight):,}: a call of this endpoint counts {weight:,}"
            )
            return {
                "limit": f"{limit:,} in {seconds:,} seconds",
                "used": f"{limit:,}, all of it" if weight == 1 else used,
                "window": f"{moment(start)} to {moment(start + seconds)}",
                FULL_AGAIN: moment(start + seconds),
            }
        weight = numbers.get("weight", 1)
        return ({"a call counts": f"{weight:,}"} if weight != 1 else {}) | {
            "limit": f"{numbers['quota_limit']:,}",
            "used": f"{numbers['quota_counted']:,}",
            FULL_AGAIN: moment(numbers["quota_end"]),
        }
    except (KeyError, ZeroDivisionError):
        return {}
