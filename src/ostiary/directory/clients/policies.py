"""Policies: rate limit and usage quota that profiles are given.

One is a project's, for its profiles and changed by its editors, or the workspace's own, for the
profiles of every project and changed by admins alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from ostiary.access import limits
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import audit_log, etags, feed, fields
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import InUse, Invalid, NotFound
from ostiary.directory.changes.permission import project_of, require, require_admin
from ostiary.directory.models import Policy, Project
from ostiary.directory.workspace import project_quotas

WATCHED = "The limits are only watched: they are counted, and nothing is refused by them"


def policies(by: Actor) -> QuerySet[Policy]:
    """The workspace's own and those of projects that `by` sees, by name."""
    return Policy.objects.visible_to(by).select_related("project").order_by("name", "pk")


def usable_in(by: Actor, project_id: int) -> QuerySet[Policy]:
    """The policies that profiles of a project may have."""
    return policies(by).filter(Q(project=None) | Q(project_id=project_id))


def may_change(by: Actor, policy: Policy) -> bool:
    return by.admin if policy.project_id is None else by.may(Role.EDITOR, policy.project_id)


def find(by: Actor, policy_id: int) -> Policy:
    policy = policies(by).filter(pk=policy_id).first()
    if policy is None:
        raise NotFound("policy")
    return policy


def create(
    *,
    by: Actor,
    name: object,
    project_id: int | None = None,
    description: object = "",
    rate_limit: Mapping[str, object] | None = None,
    rate_limits: Sequence[Mapping[str, object]] | None = None,
    usage_quota: Mapping[str, object] | None = None,
    watched: bool = False,
    legacy_headers: bool | None = None,
) -> Saved[Policy]:
    """Make a policy, without a project the workspace's own; raises Invalid, NotFound, Forbidden.

    `rate_limits` are all of its rate limits, one for each interval at most; `rate_limit` is the
    one of the shortest interval, for who has but one.
    """
    policy = Policy(project=_project(by, project_id))
    _fill(
        policy, name=name, description=description, rate_limit=rate_limit,
        rate_limits=rate_limits, usage_quota=usage_quota, watched=watched,
        legacy_headers=legacy_headers,
    )  # fmt: skip
    with transaction.atomic():
        if policy.project_id is not None:
            project_quotas.check(policy.project_id, policies=1)
        _save(policy)
        _record(by, "create", policy)
        sequence = _announce(policy)
    return Saved(value=policy, sequence=sequence, warnings=_warnings(policy), adds=True)


def change(
    *,
    by: Actor,
    policy_id: int,
    name: object,
    description: object = "",
    rate_limit: Mapping[str, object] | None = None,
    rate_limits: Sequence[Mapping[str, object]] | None = None,
    usage_quota: Mapping[str, object] | None = None,
    watched: bool = False,
    legacy_headers: bool | None = None,
    if_match: str | None = None,
) -> Saved[Policy]:
    """Change a policy for every profile that has it; counts go on.

    Without `rate_limits`, those of longer intervals than the first stay: whoever knows of one
    alone must not take the others away. Without `legacy_headers`, those stay as they are.
    """
    with transaction.atomic():
        policy = _locked(by, policy_id)
        etags.check(policy, if_match)
        before = _shown(policy)
        _fill(
            policy, name=name, description=description, rate_limit=rate_limit,
            rate_limits=rate_limits, usage_quota=usage_quota, watched=watched,
            legacy_headers=legacy_headers,
        )  # fmt: skip
        _save(policy)
        _record(by, "change", policy, before=before)
        sequence = _announce(policy)
    return Saved(value=policy, sequence=sequence, warnings=_warnings(policy))


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A policy as a change would leave it."""

    policy: Policy
    warnings: tuple[str, ...]


def draft(
    *,
    by: Actor,
    policy_id: int,
    name: object,
    description: object = "",
    rate_limit: Mapping[str, object] | None = None,
    rate_limits: Sequence[Mapping[str, object]] | None = None,
    usage_quota: Mapping[str, object] | None = None,
    watched: bool = False,
    legacy_headers: bool | None = None,
) -> Draft:
    """What `change` would save; raises as it does, and saves nothing."""
    with transaction.atomic():
        policy = _locked(by, policy_id)
        _fill(
            policy, name=name, description=description, rate_limit=rate_limit,
            rate_limits=rate_limits, usage_quota=usage_quota, watched=watched,
            legacy_headers=legacy_headers,
        )  # fmt: skip
        _save(policy)
        transaction.set_rollback(True)
    return Draft(policy=policy, warnings=_warnings(policy))


def delete(*, by: Actor, policy_id: int, if_match: str | None = None) -> None:
    """Delete a policy that no profile has; raises InUse."""
    with transaction.atomic():
        policy = _locked(by, policy_id)
        etags.check(policy, if_match)
        users = policy.profiles.count()
        if users:
            raise InUse(f"The policy is used by {users} access profile{'s' * (users > 1)}")
        _record(by, "delete", policy)
        policy.delete()


def rate_limits(policy: Policy) -> tuple[limits.RateLimit, ...]:
    """A policy's rate limits, the shortest interval first; raises ValueError if they do not read."""
    return limits.rate_limits(policy.rate_limit, policy.rate_interval, policy.more_rates)


def least(policy: Policy) -> int | None:
    """The smallest of a policy's limits; None: it has none."""
    found = [rate.limit for rate in rate_limits(policy)]
    return min([*found, *([policy.quota_limit] if policy.quota_limit else [])], default=None)


def _warnings(policy: Policy) -> tuple[str, ...]:
    rates = rate_limits(policy)
    useless = tuple(
        f"The limit of {_words(shorter)} refuses nothing that {_words(longer)} does not"
        for place, shorter in enumerate(rates)
        for longer in [each for each in rates[place + 1 :] if each.limit <= shorter.limit][:1]
    )
    return (*useless, WATCHED) if policy.watched else useless


def _words(rate: limits.RateLimit) -> str:
    return f"{rate.limit:,} per {rate.interval}"


def _announce(policy: Policy) -> int:
    sequence = feed.announce(feed.Kind.POLICY, policy.pk)
    Policy.objects.filter(pk=policy.pk).update(epoch=sequence)
    policy.epoch = sequence
    return sequence


def _project(by: Actor, project_id: int | None) -> Project | None:
    if project_id is None:
        require_admin(by)
        return None
    project = project_of(by, project_id)
    require(by, Role.EDITOR, project.pk)
    return project


def _locked(by: Actor, policy_id: int) -> Policy:
    """The policy, locked for a change by who may change it; raises NotFound, Forbidden."""
    found = find(by, policy_id)
    if found.project_id is None:
        require_admin(by)
    else:
        require(by, Role.EDITOR, found.project_id)
    policy = Policy.objects.select_for_update().filter(pk=policy_id).first()
    if policy is None:
        raise NotFound("policy")
    return policy


def _save(policy: Policy) -> None:
    try:
        with transaction.atomic():
            policy.save()
    except IntegrityError:
        raise Invalid({"name": ["has already been taken"]}) from None


def _fill(
    policy: Policy,
    *,
    name: object,
    description: object,
    rate_limit: Mapping[str, object] | None,
    rate_limits: Sequence[Mapping[str, object]] | None,
    usage_quota: Mapping[str, object] | None,
    watched: bool,
    legacy_headers: bool | None,
) -> None:
    problems = fields.Problems()
    policy.name = fields.text(problems, "name", name)
    policy.description = fields.text(
        problems, "description", description, maximum=4000, required=False, lines=True
    )
    _fill_rates(problems, policy, rate_limit, rate_limits)
    policy.quota_limit, policy.quota_interval = _limit(
        problems, "usage_quota", usage_quota, limits.Period
    )
    policy.watched = watched
    if legacy_headers is not None:
        policy.legacy_headers = legacy_headers
    problems.raise_if_any()


def _fill_rates(
    problems: fields.Problems,
    policy: Policy,
    first: Mapping[str, object] | None,
    every: Sequence[Mapping[str, object]] | None,
) -> None:
    """Take the rate limits over: the first into its columns, those of longer intervals beside it."""
    chosen = [] if first is None else [_limit(problems, "rate_limit", first, limits.Interval)]
    if every is None:
        chosen += [(each["limit"], each["interval"]) for each in policy.more_rates]
    else:
        listed = [
            _limit(problems, f"rate_limits.{place}", each, limits.Interval)
            for place, each in enumerate(every[: len(limits.Interval)])
        ]
        if len(every) > len(limits.Interval):
            problems.add("rate_limits", f"has {len(every)} entries; at most 4 fit")
        listed.sort(key=_seconds)
        if chosen and chosen != listed[:1]:
            sentence = "is not the one of the shortest interval in rate_limits; give one of the two"
            problems.add("rate_limit", sentence)
        chosen = listed
    chosen.sort(key=_seconds)
    for (_, shorter), (_, longer) in pairwise(chosen):
        if shorter and shorter == longer:
            problems.add("rate_limits", f"has two limits for one {shorter}; give one")
    policy.rate_limit, policy.rate_interval = chosen[0] if chosen else (None, "")
    policy.more_rates = [{"limit": limit, "interval": interval} for limit, interval in chosen[1:]]


def _seconds(rate: tuple[int | None, str]) -> int:
    """How long an interval is; 0 for an unknown one, which was refused already."""
    return limits.Interval(rate[1]).seconds if rate[1] else 0


def _limit(
    problems: fields.Problems,
    field: str,
    value: Mapping[str, object] | None,
    intervals: type[limits.Interval] | type[limits.Period],
) -> tuple[int | None, str]:
    if value is None:
        return None, ""
    count = fields.number(
        problems,
        f"{field}.limit",
        value.get("limit") or 0,
        least=1,
        most=limits.LARGEST,
        default=None,
    )
    names = [interval.value for interval in intervals]
    return count, fields.choice(problems, f"{field}.interval", value.get("interval"), names)


def _shown(policy: Policy) -> dict[str, object]:
    return {
        "name": policy.name,
        "description": policy.description,
        "rate_limits": [[rate.limit, rate.interval.value] for rate in rate_limits(policy)],
        "usage_quota": [policy.quota_limit, policy.quota_interval],
        "watched": policy.watched,
        "legacy_headers": policy.legacy_headers,
    }


def _record(by: Actor, verb: str, policy: Policy, before: dict[str, object] | None = None) -> None:
    audit_log.record(
        by,
        f"policy.{verb}",
        target_kind="policy",
        target_id=policy.pk,
        target_name=policy.name,
        project_id=policy.project_id,
        before=before,
        after=_shown(policy),
    )
