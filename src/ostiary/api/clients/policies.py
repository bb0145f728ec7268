"""`/api/v2/api_policies`: rate limits and usage quotas."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema
from pydantic import Field

from ostiary.api import lists
from ostiary.api.answers import (
    ERRORS,
    ChangeBody,
    Revocation,
    RevokedAnswer,
    Time,
    actor,
    added,
    body,
    change,
    if_match,
    in_force,
    revoked,
    showing,
    shown,
    versioned,
)
from ostiary.directory.clients import policies
from ostiary.directory.models import Policy

router = Router(tags=["Policies"])


@body("name")
class PolicyIn(policies.PolicyInput):
    """With `watch_only` the limits are counted, and nothing is refused by them.

    `rate_limits` are all rate limits, one for each interval at most; all of them count. A policy
    with one may be given it as `rate_limit`, which in answers is the one of the shortest interval.
    If both are given they must agree. `legacy_headers`: also send the older `X-RateLimit-Limit`, `-Remaining`
    and `-Reset` headers to every admitted call; one that a limit refuses always gets them.
    `project_id` is said when it is made: the policy is for the project's profiles, and its editors
    change it. Without it, the policy is the workspace's own, and for admins to change.
    """


@showing(policies.PolicyInput)
class PolicyOut(Schema):
    id: int
    project_id: int | None
    rate_limit: policies.RateLimit | None
    rate_limits: list[policies.RateLimit]
    usage_quota: policies.UsageQuota | None
    epoch: int
    created_at: Time
    updated_at: Time


class PolicyChanged(PolicyOut):
    warnings: list[str] = []
    revocation: Revocation | None = None


class PolicyData(Schema):
    data: PolicyChanged


class PolicyQuery(lists.LabelledQuery):
    columns: ClassVar[Mapping[str, str]] = {
        "workspace": "project_id__isnull",
        "watch_only": "watched",
    }

    sort: Annotated[str, lists.BY_NAME] = "name"
    project_id: lists.IdFilter = None
    workspace: lists.FlagFilter = Field(None, description="Whether they are the workspace's own.")
    watch_only: lists.FlagFilter = None


class PolicyPage(lists.CursorPage[PolicyOut]):
    """One page of the policies."""


def _shown(policy: Policy) -> dict[str, Any]:
    rates = [
        {"limit": rate.limit, "interval": rate.interval.value}
        for rate in policies.rate_limits(policy)
    ]
    quota = {"limit": policy.quota_limit, "interval": policy.quota_interval}
    return shown(policies.PolicyInput, policy) | {
        "project_id": policy.project_id,
        "rate_limit": rates[0] if rates else None,
        "rate_limits": rates,
        "usage_quota": quota if policy.quota_limit else None,
        "epoch": policy.epoch,
    }


@change(PolicyChanged, _shown)
class PolicyChange(ChangeBody, policies.PolicyInput):
    """Omitted fields keep their values; without `rate_limits`, `rate_limit` sets the limit of the
    shortest interval and leaves the others. Null takes a limit or the quota away.
    """


@router.get("/v2/api_policies", response={200: PolicyPage, **ERRORS})
def list_policies(request: HttpRequest, query: Query[PolicyQuery], response: HttpResponse) -> Any:
    found = policies.policies(actor(request))
    return lists.paged(request, response, found, query, _shown)


@router.post("/v2/api_policies", response={200: PolicyData, **ERRORS})
def create_policy(request: HttpRequest, payload: PolicyIn, response: HttpResponse) -> Any:
    policy, warnings = added(policies.create(by=actor(request), given=payload))
    versioned(response, policy)
    return {"data": _shown(policy) | {"warnings": warnings}}


@router.get("/v2/api_policies/{int:policy_id}", response={200: PolicyData, **ERRORS})
def show_policy(request: HttpRequest, policy_id: int, response: HttpResponse) -> Any:
    policy = policies.find(actor(request), policy_id)
    versioned(response, policy)
    return {"data": _shown(policy)}


@router.put("/v2/api_policies/{int:policy_id}", response={200: PolicyData, **ERRORS})
def change_policy(
    request: HttpRequest, policy_id: int, payload: PolicyChange, response: HttpResponse
) -> Any:
    saved = policies.change(
        by=actor(request), policy_id=policy_id, given=payload, if_match=if_match(request)
    )
    policy, receipt = in_force(saved)
    versioned(response, policy)
    return {"data": _shown(policy) | {"warnings": list(saved.warnings), "revocation": receipt}}


@router.delete("/v2/api_policies/{int:policy_id}", response={200: RevokedAnswer, **ERRORS})
def delete_policy(request: HttpRequest, policy_id: int) -> Any:
    """Delete a policy that no profile has."""
    return revoked(
        policies.delete(by=actor(request), policy_id=policy_id, if_match=if_match(request))
    )
