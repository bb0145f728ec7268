"""Policies: rate limit and usage quota that profiles are given. The workspace's, so for admins."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from ostiary.access import limits
from ostiary.directory import audit, feed, fields, versions
from ostiary.directory.actor import Actor
from ostiary.directory.enforcement import Saved
from ostiary.directory.errors import InUse, Invalid, NotFound
from ostiary.directory.models import Policy
from ostiary.directory.permission import require_admin

WATCHED = "The limits are only watched: they are counted, and nothing is refused by them"


def policies() -> QuerySet[Policy]:
    """Every policy, by name; members of any project may choose among them."""
    return Policy.objects.order_by("name")


def find(policy_id: int) -> Policy:
    policy = Policy.objects.filter(pk=policy_id).first()
    if policy is None:
        raise NotFound("policy")
    return policy


def create(
    *,
    by: Actor,
    name: object,
    description: object = "",
    rate_limit: Mapping[str, object] | None = None,
    usage_quota: Mapping[str, object] | None = None,
    watched: bool = False,
) -> Saved[Policy]:
    """Make a policy; raises Invalid, Forbidden."""
    require_admin(by)
    policy = Policy()
    _fill(
        policy, name=name, description=description, rate_limit=rate_limit,
        usage_quota=usage_quota, watched=watched,
    )  # fmt: skip
    with transaction.atomic():
        _save(policy)
        _record(by, "create", policy)
        sequence = _announce(policy)
    return Saved(value=policy, sequence=sequence, warnings=_warnings(policy))


def change(
    *,
    by: Actor,
    policy_id: int,
    name: object,
    description: object = "",
    rate_limit: Mapping[str, object] | None = None,
    usage_quota: Mapping[str, object] | None = None,
    watched: bool = False,
    if_match: str | None = None,
) -> Saved[Policy]:
    """Change a policy for every profile that has it; counts go on."""
    require_admin(by)
    with transaction.atomic():
        policy = _locked(policy_id)
        versions.check(policy, if_match)
        before = _shown(policy)
        _fill(
            policy, name=name, description=description, rate_limit=rate_limit,
            usage_quota=usage_quota, watched=watched,
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
    usage_quota: Mapping[str, object] | None = None,
    watched: bool = False,
) -> Draft:
    """What `change` would save; raises as it does, and saves nothing."""
    require_admin(by)
    with transaction.atomic():
        policy = _locked(policy_id)
        _fill(
            policy, name=name, description=description, rate_limit=rate_limit,
            usage_quota=usage_quota, watched=watched,
        )  # fmt: skip
        _save(policy)
        transaction.set_rollback(True)
    return Draft(policy=policy, warnings=_warnings(policy))


def delete(*, by: Actor, policy_id: int, if_match: str | None = None) -> None:
    """Delete a policy that no profile has; raises InUse."""
    require_admin(by)
    with transaction.atomic():
        policy = _locked(policy_id)
        versions.check(policy, if_match)
        users = policy.profiles.count()
        if users:
            raise InUse(f"The policy is used by {users} access profile{'s' * (users > 1)}")
        _record(by, "delete", policy)
        policy.delete()


def _warnings(policy: Policy) -> tuple[str, ...]:
    return (WATCHED,) if policy.watched else ()


def _announce(policy: Policy) -> int:
    sequence = feed.announce(feed.Kind.POLICY, policy.pk)
    Policy.objects.filter(pk=policy.pk).update(epoch=sequence)
    policy.epoch = sequence
    return sequence


def _locked(policy_id: int) -> Policy:
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
    usage_quota: Mapping[str, object] | None,
    watched: bool,
) -> None:
    problems = fields.Problems()
    policy.name = fields.text(problems, "name", name)
    policy.description = fields.text(
        problems, "description", description, maximum=4000, required=False, lines=True
    )
    policy.rate_limit, policy.rate_interval = _limit(
        problems, "rate_limit", rate_limit, limits.Interval
    )
    policy.quota_limit, policy.quota_interval = _limit(
        problems, "usage_quota", usage_quota, limits.Period
    )
    policy.watched = watched
    problems.raise_if_any()


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
        value.get("limit", 0),
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
        "rate_limit": [policy.rate_limit, policy.rate_interval],
        "usage_quota": [policy.quota_limit, policy.quota_interval],
        "watched": policy.watched,
    }


def _record(by: Actor, verb: str, policy: Policy, before: dict[str, object] | None = None) -> None:
    audit.record(
        by,
        f"policy.{verb}",
        target_kind="policy",
        target_id=policy.pk,
        target_name=policy.name,
        before=before,
        after=_shown(policy),
    )
