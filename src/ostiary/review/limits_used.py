"""What a profile has used of each of its limits now, as the gateway counts it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ostiary.access import limits
from ostiary.directory.clients import profile_limits
from ostiary.directory.models import AccessProfile
from ostiary.review import limit_counts
from ostiary.usage.models import QuotaCount


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """One limit of a profile, in the window or period that holds now."""

    #: See `access.limits.WINDOWS`.
    window: str
    #: The length in words: the interval, or the quota's period.
    per: str
    limit: int
    policy_limit: int
    #: None: the gateway does not answer, and this is stored nowhere else.
    used: int | None
    #: Since when is counted, and when the window ends; Unix seconds.
    since: int
    ends: int
    #: It was reset within this window.
    is_reset: bool

    @property
    def remaining(self) -> int | None:
        return None if self.used is None else max(0, self.limit - self.used)


def read(profile: AccessProfile, now: int) -> tuple[Used, ...]:
    """The profile's limits with what is used of them; rate limits, the shortest first, then the quota."""
    return read_many([profile], now)[profile.pk]


def read_many(profiles: Sequence[AccessProfile], now: int) -> Mapping[int, tuple[Used, ...]]:
    """The same of several profiles with their policies, asked for together."""
    wanted = [
        (profile, name, profile_limits.counted_since(profile, name, now))
        for profile in profiles
        for name in profile_limits.names(profile)
    ]
    keys = [_key(profile.pk, name, since) for profile, name, since in wanted]
    counted: Mapping[str, int] = {}
    try:
        counted, answered = limit_counts.counted(keys), True
    except limit_counts.CountsSilent:
        answered = False
    missing = [each for each, key in zip(wanted, keys, strict=True) if key not in counted]
    stored = _stored(missing)
    found: dict[int, tuple[Used, ...]] = {profile.pk: () for profile in profiles}
    for (profile, name, since), key in zip(wanted, keys, strict=True):
        span = profile_limits.span(profile, name, now)
        if span is None:
            continue
        used = counted.get(key)
        if used is None:
            kept = _kept_as(profile, name)
            # Of a window that is stored nowhere, the gateway says that it has no counter.
            unknown = None if not kept and not answered else 0
            used = stored.get((profile.pk, kept, since), unknown)
        found[profile.pk] += (
            Used(
                window=name, per=_per(profile, name), limit=profile_limits.effective(profile)[name],
                policy_limit=profile_limits.of_policy(profile)[name], used=used, since=since,
                ends=span.end, is_reset=since != span.start,
            ),
        )  # fmt: skip
    return found


def _key(profile: int, name: str, since: int) -> str:
    if name == limits.QUOTA:
        return f"q/{profile}/0/{since}"
    return f"r/{profile}/{limits.Interval(name).seconds}/{since}"


def _per(profile: AccessProfile, name: str) -> str:
    policy = profile.policy
    return policy.quota_interval if name == limits.QUOTA and policy is not None else name


def _kept_as(profile: AccessProfile, name: str) -> str:
    if name == limits.QUOTA:
        return _per(profile, name)
    return limits.kept_as(limits.Interval(name))


def _stored(
    counters: Iterable[tuple[AccessProfile, str, int]],
) -> Mapping[tuple[int, str, int], int]:
    """What was last stored of counters that the gateway has not, by profile, interval and start."""
    keys = {(profile.pk, _kept_as(profile, name), since) for profile, name, since in counters}
    rows = QuotaCount.objects.filter(
        profile_id__in={profile for profile, kept, _ in keys if kept},
        period_start__in={since for _, kept, since in keys if kept},
    ).values_list("profile_id", "interval", "period_start", "calls")
    return {(profile, kept, start): calls for profile, kept, start, calls in rows}
