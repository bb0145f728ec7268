"""`/api/v2/api_policies`: rate limits and usage quotas."""

from typing import Any, Literal

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema
from pydantic import Field

from ostiary.api.answers import (
    ERRORS,
    Id,
    Paging,
    Strict,
    Success,
    Time,
    actor,
    added,
    if_match,
    in_force,
    page,
    versioned,
)
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.clients import policies
from ostiary.directory.models import Policy

router = Router(tags=["Policies"])

Interval = Literal["second", "minute", "hour", "day"]
Period = Literal["day", "week", "month", "30 days", "60 days", "90 days"]


class RateLimit(Strict):
    limit: int
    interval: Interval


class UsageQuota(Strict):
    limit: int
    interval: Period


class PolicyIn(Strict):
    """With `watch_only` the limits are counted, and nothing is refused by them.

    `rate_limits` are all rate limits, one for each interval at most; all of them count. A policy
    with one may be given it as `rate_limit`, which in answers is the one of the shortest interval.
    If both are given they must agree. A change without `rate_limits` leaves those of longer
    intervals as they are. `legacy_headers`: also send the older `X-RateLimit-Limit`, `-Remaining`
    and `-Reset` headers to every admitted call; one that a limit refuses always gets them.
    """

    name: str
    #: Said when it is made: the policy is for the project's profiles, and its editors change it. Without
    #: it, the policy is the workspace's own, and for admins to change.
    project_id: Id | None = None
    description: str = ""
    rate_limit: RateLimit | None = None
    rate_limits: list[RateLimit] | None = Field(None, max_length=4)
    usage_quota: UsageQuota | None = None
    watch_only: bool = False
    legacy_headers: bool | None = None


class PolicyOut(Schema):
    id: int
    name: str
    project_id: int | None
    description: str
    rate_limit: RateLimit | None
    rate_limits: list[RateLimit]
    usage_quota: UsageQuota | None
    watch_only: bool
    legacy_headers: bool
    epoch: int
    created_at: Time
    updated_at: Time


class PolicyChanged(PolicyOut):
    warnings: list[str] = []


class PolicyData(Schema):
    data: PolicyChanged


class PolicyPage(Schema):
    data: list[PolicyOut]
    count: int
    page: int
    per_page: int


def _shown(policy: Policy) -> dict[str, Any]:
    rates = [
        {"limit": rate.limit, "interval": rate.interval.value}
        for rate in policies.rate_limits(policy)
    ]
    quota = {"limit": policy.quota_limit, "interval": policy.quota_interval}
    return {
        "id": policy.pk,
        "name": policy.name,
        "project_id": policy.project_id,
        "description": policy.description,
        "rate_limit": rates[0] if rates else None,
        "rate_limits": rates,
        "usage_quota": quota if policy.quota_limit else None,
        "watch_only": policy.watched,
        "legacy_headers": policy.legacy_headers,
        "epoch": policy.epoch,
        "created_at": policy.created_at,
        "updated_at": policy.updated_at,
    }


def limits_of(payload: PolicyIn) -> dict[str, Any]:
    """What a request says of a policy, as the directory takes it."""
    return {
        "name": payload.name,
        "description": payload.description,
        "rate_limit": payload.rate_limit.dict() if payload.rate_limit else None,
        "rate_limits": None
        if payload.rate_limits is None
        else [rate.dict() for rate in payload.rate_limits],
        "usage_quota": payload.usage_quota.dict() if payload.usage_quota else None,
        "watched": payload.watch_only,
        "legacy_headers": payload.legacy_headers,
    }


def _check_project(policy: Policy, payload: PolicyIn) -> None:
    if payload.project_id not in {None, policy.project_id}:
        raise Invalid({"project_id": ["can't be changed"]})


@router.get("/v2/api_policies", response={200: PolicyPage, **ERRORS})
def list_policies(request: HttpRequest, paging: Query[Paging]) -> Any:
    found = policies.policies(actor(request))
    return {
        "data": [_shown(policy) for policy in page(found, paging)],
        "count": found.count(),
        "page": paging.page,
        "per_page": paging.per_page,
    }


@router.post("/v2/api_policies", response={200: PolicyData, **ERRORS})
def create_policy(request: HttpRequest, payload: PolicyIn) -> Any:
    policy, warnings = added(
        policies.create(by=actor(request), project_id=payload.project_id, **limits_of(payload))
    )
    return {"data": _shown(policy) | {"warnings": warnings}}


@router.get("/v2/api_policies/{int:policy_id}", response={200: PolicyData, **ERRORS})
def show_policy(request: HttpRequest, policy_id: int, response: HttpResponse) -> Any:
    policy = policies.find(actor(request), policy_id)
    versioned(response, policy)
    return {"data": _shown(policy)}


@router.put("/v2/api_policies/{int:policy_id}", response={200: PolicyData, **ERRORS})
def change_policy(
    request: HttpRequest, policy_id: int, payload: PolicyIn, response: HttpResponse
) -> Any:
    _check_project(policies.find(actor(request), policy_id), payload)
    saved = policies.change(
        by=actor(request), policy_id=policy_id, if_match=if_match(request), **limits_of(payload)
    )
    policy, _ = in_force(saved)
    versioned(response, policy)
    return {"data": _shown(policy) | {"warnings": list(saved.warnings)}}


@router.delete("/v2/api_policies/{int:policy_id}", response={200: Success, **ERRORS})
def delete_policy(request: HttpRequest, policy_id: int) -> Any:
    policies.delete(by=actor(request), policy_id=policy_id, if_match=if_match(request))
    return {"success": True}
