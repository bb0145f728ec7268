"""What a profile has used of each of its limits now, as the gateway counts it."""

from dataclasses import dataclass

from ostiary import settings
from ostiary.access import limits
from ostiary.directory.clients import profile_limits
from ostiary.directory.models import AccessProfile
from ostiary.gateway import control
from ostiary.gateway.node import control_socket
from ostiary.usage.models import QuotaCount

#: The gateway answers at once, or is not there.
SECONDS = 1.0


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
    names = profile_limits.names(profile)
    since = {name: profile_limits.counted_since(profile, name, now) for name in names}
    keys = {name: _key(profile.pk, name, since[name]) for name in names}
    try:
        path = control_socket(settings.current().run)
        counted = control.used(path, keys.values(), seconds=SECONDS) if names else {}
        answered = True
    except control.ControlError:
        counted, answered = {}, False
    policy, now_limits = profile_limits.of_policy(profile), profile_limits.effective(profile)
    found = []
    for name in names:
        span = profile_limits.span(profile, name, now)
        if span is None:
            continue
        used = counted.get(keys[name])
        if used is None:
            used = _stored(profile, name, since[name], answered=answered)
        found.append(
            Used(
                window=name, per=_per(profile, name), limit=now_limits[name],
                policy_limit=policy[name], used=used, since=since[name], ends=span.end,
                is_reset=since[name] != span.start,
            )
        )  # fmt: skip
    return tuple(found)


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


def _stored(profile: AccessProfile, name: str, since: int, *, answered: bool) -> int | None:
    """What was last stored of a counter that the gateway has not; windows that are stored nowhere: 0,
    if the gateway says that it has none.
    """
    interval = _kept_as(profile, name)
    if not interval:
        return 0 if answered else None
    row = QuotaCount.objects.filter(
        profile_id=profile.pk, interval=interval, period_start=since
    ).first()
    return row.calls if row else 0
