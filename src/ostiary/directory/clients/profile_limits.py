"""A profile's own limits: which are raised until a date, and when each was reset.

A limit is reset by counting anew from that moment on: what was counted before stays in usage, and the
window or period ends when it would have ended.
"""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from ostiary.access import limits
from ostiary.directory.actor import Actor
from ostiary.directory.changes import audit_log, etags, feed, fields
from ostiary.directory.changes.confirmation import Saved, unchanged
from ostiary.directory.clients import credentials, policies
from ostiary.directory.models import AccessProfile


def names(profile: AccessProfile) -> tuple[str, ...]:
    """The limits that a profile's policy has, by name: rate limits, the shortest first, and the quota."""
    if profile.policy is None:
        return ()
    rates = tuple(rate.interval.value for rate in policies.rate_limits(profile.policy))
    return (*rates, *((limits.QUOTA,) if profile.policy.quota_limit else ()))


def of_policy(profile: AccessProfile) -> Mapping[str, int]:
    """The limits of a profile's policy, by name."""
    if profile.policy is None:
        return {}
    found = {rate.interval.value: rate.limit for rate in policies.rate_limits(profile.policy)}
    if profile.policy.quota_limit:
        found[limits.QUOTA] = profile.policy.quota_limit
    return found


def raised(profile: AccessProfile) -> Mapping[str, int]:
    """The limits that are raised now, by name."""
    until = profile.raised_until
    return profile.raised_limits if until is not None and until > timezone.now() else {}


def effective(profile: AccessProfile) -> Mapping[str, int]:
    """The limits that hold now, by name."""
    wider = raised(profile)
    return {name: max(limit, wider.get(name, 0)) for name, limit in of_policy(profile).items()}


def period(profile: AccessProfile, now: int) -> limits.TimeSpan | None:
    """The period of a profile's quota that holds `now`; None: it has no quota."""
    policy, since = profile.policy, profile.policy_since
    if policy is None or not policy.quota_limit:
        return None
    kind = limits.Period(policy.quota_interval)
    return limits.period(kind, now, int(since.timestamp()) if since else 0)


def span(profile: AccessProfile, name: str, now: int) -> limits.TimeSpan | None:
    """The window or period of one limit that holds `now`."""
    if name == limits.QUOTA:
        return period(profile, now)
    return limits.window(limits.Interval(name), now)


def counted_since(profile: AccessProfile, name: str, now: int) -> int:
    """Since when one limit counts; Unix seconds."""
    found = span(profile, name, now)
    return limits.since(found, profile.limit_resets.get(name)) if found else now


def reset(
    *,
    by: Actor,
    profile_id: int,
    chosen: Sequence[str] | None = None,
    if_match: str | None = None,
) -> Saved[AccessProfile]:
    """Reset limits, given by name or all of them; raises Invalid, NotFound, Forbidden."""
    with transaction.atomic():
        profile = credentials.locked_profile(by, profile_id)
        etags.check(profile, if_match)
        there = names(profile)
        problems = fields.Problems()
        if not there:
            problems.add(
                "windows", "the profile has no limits: it has no policy, or one without any"
            )
        wanted = there if chosen is None else tuple(chosen)
        for name in wanted:
            if name not in there:
                problems.add(
                    "windows", f"{name!r} isn't one of its limits: {', '.join(there) or 'none'}"
                )
        if not wanted:
            problems.add(
                "windows", "is empty: name the limits that are to be reset, or leave it out"
            )
        problems.raise_if_any()
        before = shown(profile)
        now = int(time.time())
        profile.limit_resets = _pruned(profile, now) | {
            name: _moment(profile, name, now) for name in wanted
        }
        profile.save(update_fields=["limit_resets", "updated_at"])
        sequence = _announced(by, "reset_limits", profile, before)
    return Saved(value=profile, sequence=sequence)


def _moment(profile: AccessProfile, name: str, now: int) -> int:
    """From when a limit that is reset now counts: it names a counter that nobody has used."""
    found = span(profile, name, now)
    start = found.start if found else now
    before = int(profile.limit_resets.get(name, 0))
    return max(now, start + 1, before + 1)


def _pruned(profile: AccessProfile, now: int) -> dict[str, int]:
    """The resets that still mean something."""
    return {
        name: at
        for name, at in profile.limit_resets.items()
        if name in limits.WINDOWS and counted_since(profile, name, now) == at
    }


def raise_limits(
    *,
    by: Actor,
    profile_id: int,
    wider: Mapping[str, object],
    until: datetime | None,
    if_match: str | None = None,
) -> Saved[AccessProfile]:
    """Raise limits of one profile until a moment, in place of what was raised before.

    Raises Invalid, NotFound, Forbidden.
    """
    with transaction.atomic():
        profile = credentials.locked_profile(by, profile_id)
        etags.check(profile, if_match)
        before = shown(profile)
        problems = fields.Problems()
        profile.raised_limits = _wider(problems, profile, wider)
        profile.raised_until = _until(problems, until)
        problems.raise_if_any()
        if shown(profile) == before:
            return unchanged(profile, profile.epoch)
        profile.save(update_fields=["raised_limits", "raised_until", "updated_at"])
        sequence = _announced(by, "raise_limits", profile, before)
    return Saved(value=profile, sequence=sequence)


def end_raise(*, by: Actor, profile_id: int, if_match: str | None = None) -> Saved[AccessProfile]:
    """Have the policy's limits hold again."""
    with transaction.atomic():
        profile = credentials.locked_profile(by, profile_id)
        etags.check(profile, if_match)
        before = shown(profile)
        profile.raised_limits, profile.raised_until = {}, None
        if shown(profile) == before:
            return unchanged(profile, profile.epoch)
        profile.save(update_fields=["raised_limits", "raised_until", "updated_at"])
        sequence = _announced(by, "lower_limits", profile, before)
    return Saved(value=profile, sequence=sequence)


def _wider(
    problems: fields.Problems, profile: AccessProfile, wider: Mapping[str, object]
) -> dict[str, int]:
    there, found = of_policy(profile), dict[str, int]()
    if not wider:
        problems.add("limits", "is empty: name at least one limit and its number")
    for name, value in wider.items():
        if name not in there:
            problems.add(
                "limits", f"{name!r} isn't one of its limits: {', '.join(there) or 'none'}"
            )
            continue
        number = fields.number(
            problems, f"limits.{name}", value, least=1, most=limits.LARGEST, default=None
        )
        if number is None:
            problems.add(f"limits.{name}", "can't be blank")
        elif number <= there[name]:
            sentence = f"is not above the policy's {there[name]:,}: a limit can only be raised"
            problems.add(f"limits.{name}", sentence)
        else:
            found[name] = number
    return found


def _until(problems: fields.Problems, until: datetime | None) -> datetime | None:
    if until is None:
        problems.add("until", "can't be blank: say when the raise ends")
        return None
    return fields.moment(problems, "until", until)


def shown(profile: AccessProfile) -> Mapping[str, object]:
    """A profile's own part in its limits, as the audit log shows it."""
    until = profile.raised_until
    return {
        "raised_limits": dict(profile.raised_limits),
        "raised_until": until.isoformat() if until else None,
        "limit_resets": dict(profile.limit_resets),
    }


def _announced(by: Actor, verb: str, profile: AccessProfile, before: Mapping[str, object]) -> int:
    audit_log.record(
        by,
        f"profile.{verb}",
        target_kind="profile",
        target_id=profile.pk,
        target_name=profile.name,
        project_id=profile.client.project_id,
        before=before,
        after=shown(profile),
    )
    profile.epoch = feed.announce(feed.Kind.PROFILE, profile.pk)
    AccessProfile.objects.filter(pk=profile.pk).update(epoch=profile.epoch)
    return profile.epoch
