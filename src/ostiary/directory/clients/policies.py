"""Policies: rate limits and usage quotas of access profiles.

One is a project's, for its profiles and changed by its editors, or the workspace's own, for the
profiles of every project and changed by admins alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from pydantic import Field

from ostiary.access import limits
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import audit_log, deletions, etags, feed, keys
from ostiary.directory.changes.confirmation import Saved, unchanged
from ostiary.directory.changes.errors import InUse, Invalid, NotFound
from ostiary.directory.changes.inputs import (
    Description,
    Flag,
    IdOrNull,
    Input,
    Name,
    OneOf,
    Problems,
    Whole,
)
from ostiary.directory.changes.permission import project_of, require, require_admin
from ostiary.directory.changes.snapshots import snapshot
from ostiary.directory.models import Policy, Project
from ostiary.directory.workspace import project_quotas

WATCHED = "The limits are only watched: they are counted, and nothing is refused by them"

Calls = Annotated[int, Whole(least=1, most=limits.LARGEST)]


class RateLimit(Input):
    limit: Calls
    interval: Annotated[limits.Interval, OneOf(limits.Interval)]


class UsageQuota(Input):
    limit: Calls
    interval: Annotated[limits.Period, OneOf(limits.Period)]


class PolicyInput(keys.KeyedInput):
    """Input for a policy.

    `rate_limits` are all of its rate limits, one for each interval at most; `rate_limit` is the one
    of the shortest interval, for who has but one. Without a project, it is the workspace's own.
    """

    required: ClassVar[tuple[str, ...]] = ("name",)
    fixed: ClassVar[tuple[str, ...]] = ("project_id",)
    apart: ClassVar[tuple[str, ...]] = ("rate_limit", "rate_limits", "usage_quota")

    name: Name = ""
    project_id: IdOrNull = None
    description: Description = ""
    rate_limit: RateLimit | None = None
    rate_limits: list[RateLimit] = Field([], max_length=len(limits.Interval))
    usage_quota: UsageQuota | None = None
    watched: Flag = Field(False, alias="watch_only")
    legacy_headers: Flag = False


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


def create(*, by: Actor, given: PolicyInput) -> Saved[Policy]:
    """Make a policy, without a project the workspace's own; raises Invalid, NotFound, Forbidden."""
    given.check_complete()
    policy = Policy(project=_project(by, given.project_id))
    _fill(policy, given)
    with transaction.atomic():
        if policy.project_id is not None:
            project_quotas.check(policy.project_id, policies=1)
        _save(policy)
        _record(by, "create", policy)
        sequence = _announce(policy)
    return Saved(value=policy, sequence=sequence, warnings=_warnings(policy), adds=True)


def change(
    *, by: Actor, policy_id: int, given: PolicyInput, if_match: str | None = None
) -> Saved[Policy]:
    """Change what was sent of a policy, for every profile that has it; counts go on.

    Without `rate_limits`, those of longer intervals than the first stay: whoever knows of one
    alone must not take the others away.
    """
    with transaction.atomic():
        policy, before = _changed(by, policy_id, given, if_match)
        if before is None:
            return unchanged(policy, policy.epoch, _warnings(policy))
        _record(by, "change", policy, before=before)
        sequence = _announce(policy)
    return Saved(value=policy, sequence=sequence, warnings=_warnings(policy))


def _changed(
    by: Actor, policy_id: int, given: PolicyInput, if_match: str | None = None
) -> tuple[Policy, Mapping[str, object] | None]:
    """The policy, changed and saved in the caller's transaction, and what it was before.

    Without the latter, nothing was changed.
    """
    policy = _locked(by, policy_id)
    etags.check(policy, if_match)
    given.check_fixed(policy)
    before, stored = _shown(policy), snapshot(policy)
    _fill(policy, given)
    if snapshot(policy) == stored:
        return policy, None
    _save(policy)
    return policy, before


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A policy as a change would leave it."""

    policy: Policy
    warnings: tuple[str, ...]


def draft(*, by: Actor, policy_id: int, given: PolicyInput) -> Draft:
    """What `change` would save; raises as it does, and saves nothing."""
    with transaction.atomic():
        policy, _ = _changed(by, policy_id, given)
        transaction.set_rollback(True)
    return Draft(policy=policy, warnings=_warnings(policy))


def delete(*, by: Actor, policy_id: int, if_match: str | None = None) -> Saved[None]:
    """Delete a policy that no profile has; raises InUse."""
    with transaction.atomic():
        policy = _locked(by, policy_id)
        etags.check(policy, if_match)
        users = policy.profiles.count()
        if users:
            raise InUse(f"The policy is used by {users} access profile{'s' * (users > 1)}")
        following = policy.defaults.count()
        if following:
            raise InUse(
                f"The policy is in the defaults of {following} client{'s' * (following > 1)}"
            )
        deletions.keep(by, "policy", policy, project_id=policy.project_id)
        _record(by, "delete", policy)
        policy.delete()
    return Saved(value=None, sequence=0)


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
    problems = Problems(PolicyInput)
    keys.check(problems, policy)
    problems.raise_if_any()
    try:
        with transaction.atomic():
            policy.save()
    except IntegrityError:
        raise Invalid({"name": ["has already been taken"]}) from None


def check(policy: Policy, given: PolicyInput) -> None:
    """Whether input fits a policy that nobody saves; raises Invalid."""
    _fill(policy, given)


def _fill(policy: Policy, given: PolicyInput) -> None:
    given.assign(policy)
    rates = _rates(policy, given)
    first = rates[0] if rates else None
    policy.rate_limit = first.limit if first else None
    policy.rate_interval = first.interval.value if first else ""
    policy.more_rates = [{"limit": r.limit, "interval": r.interval.value} for r in rates[1:]]
    if given.has("usage_quota"):
        quota = given.usage_quota
        policy.quota_limit = quota.limit if quota else None
        policy.quota_interval = quota.interval.value if quota else ""


def _rates(policy: Policy, given: PolicyInput) -> list[RateLimit]:
    """All rate limits that the policy will have, the shortest interval first.

    Of the two fields that say them, the one that repeats what is stored says nothing new.
    """
    problems = Problems(PolicyInput)
    stored = [RateLimit(limit=each.limit, interval=each.interval) for each in rate_limits(policy)]
    one = [given.rate_limit] if given.rate_limit else []
    is_new, all_sent = policy.pk is None, sorted(given.rate_limits, key=_seconds)
    says_one = given.has("rate_limit") and (is_new or one != stored[:1])
    if given.has("rate_limits") and (is_new or all_sent != stored):
        rates = all_sent
        if says_one and one != rates[:1]:
            sentence = "is not the one of the shortest interval in rate_limits; give one of the two"
            problems.add("rate_limit", sentence, code="contradiction")
    elif says_one:
        rates = sorted([*one, *stored[1:]], key=_seconds)
    else:
        rates = stored
    for shorter, longer in pairwise(rate.interval for rate in rates):
        if shorter == longer:
            problems.add("rate_limits", f"has two limits for one {shorter}; give one", code="twice")
    problems.raise_if_any()
    return rates


def _seconds(rate: RateLimit) -> int:
    return rate.interval.seconds


def _shown(policy: Policy) -> dict[str, object]:
    return {
        **PolicyInput.stored(policy),
        "rate_limits": [[rate.limit, rate.interval.value] for rate in rate_limits(policy)],
        "usage_quota": [policy.quota_limit, policy.quota_interval],
    }


def _record(
    by: Actor, verb: str, policy: Policy, before: Mapping[str, object] | None = None
) -> None:
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
