"""`/api/v2/access_profiles/{id}/limits`: what a profile has used of its limits, reset and raised."""

import time
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from django.http import HttpRequest, HttpResponse
from ninja import Router, Schema
from pydantic import Field, StrictInt

from ostiary.api.answers import (
    ERRORS,
    Revocation,
    Strict,
    Time,
    actor,
    if_match,
    in_force,
    versioned,
)
from ostiary.directory.actor import Actor
from ostiary.directory.changes.inputs import AnyTime
from ostiary.directory.clients import access_profiles, profile_limits
from ostiary.review import limits_used

router = Router(tags=["Access profiles"])

Window = Literal["second", "minute", "hour", "day", "quota"]


class LimitUsed(Schema):
    """One limit in the window that holds now.

    `used` counts calls by the weight of their endpoint. It is null if the gateway does not answer and
    the count is stored nowhere else. `counted_since` is the window's start, or when it was reset.
    """

    window: Window
    per: str
    limit: int
    policy_limit: int
    used: int | None
    remaining: int | None
    counted_since: Time
    resets_at: Time


class Raised(Schema):
    limits: dict[Window, StrictInt]
    until: Time


class LimitsOut(Schema):
    api_policy_id: int | None
    watch_only: bool
    windows: list[LimitUsed]
    raised: Raised | None


class LimitsData(Schema):
    data: LimitsOut


class LimitsChanged(LimitsData):
    revocation: Revocation


class ResetIn(Strict):
    """The limits to reset; without `windows`, all of them."""

    windows: list[Window] | None = Field(None, max_length=5)


class RaiseIn(Strict):
    """Limits above the policy's until a moment; they replace earlier raised limits."""

    limits: dict[Window, StrictInt]
    until: Annotated[datetime, AnyTime()]


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _shown(by: Actor, profile_id: int, response: HttpResponse) -> dict[str, Any]:
    profile = access_profiles.find(by, profile_id)
    versioned(response, profile)
    wider = profile_limits.raised(profile)
    return {
        "api_policy_id": profile.policy_id,
        "watch_only": profile.policy is not None and profile.policy.watched,
        "windows": [
            {
                "window": each.window,
                "per": each.per,
                "limit": each.limit,
                "policy_limit": each.policy_limit,
                "used": each.used,
                "remaining": each.remaining,
                "counted_since": _moment(each.since),
                "resets_at": _moment(each.ends),
            }
            for each in limits_used.read(profile, int(time.time()))
        ],
        "raised": {"limits": wider, "until": profile.raised_until} if wider else None,
    }


@router.get("/v2/access_profiles/{int:profile_id}/limits", response={200: LimitsData, **ERRORS})
def show_limits(request: HttpRequest, profile_id: int, response: HttpResponse) -> Any:
    """The used part of each rate limit and of the quota now, as the gateway counts it."""
    return {"data": _shown(actor(request), profile_id, response)}


@router.post(
    "/v2/access_profiles/{int:profile_id}/limits/reset", response={200: LimitsChanged, **ERRORS}
)
def reset_limits(
    request: HttpRequest,
    profile_id: int,
    response: HttpResponse,
    payload: ResetIn | None = None,
) -> Any:
    """Reset to zero from now on. Windows and periods end when they would have ended."""
    by = actor(request)
    chosen = payload.windows if payload else None
    _, receipt = in_force(
        profile_limits.reset(
            by=by, profile_id=profile_id, chosen=chosen, if_match=if_match(request)
        )
    )
    return {"data": _shown(by, profile_id, response), "revocation": receipt}


@router.put(
    "/v2/access_profiles/{int:profile_id}/limits/raise", response={200: LimitsChanged, **ERRORS}
)
def raise_limits(
    request: HttpRequest, profile_id: int, payload: RaiseIn, response: HttpResponse
) -> Any:
    """Raise limits of this profile alone until a moment; then the policy's apply again."""
    by = actor(request)
    saved = profile_limits.raise_limits(
        by=by,
        profile_id=profile_id,
        wider={str(k): v for k, v in payload.limits.items()},
        until=payload.until,
        if_match=if_match(request),
    )
    _, receipt = in_force(saved)
    return {"data": _shown(by, profile_id, response), "revocation": receipt}


@router.delete(
    "/v2/access_profiles/{int:profile_id}/limits/raise", response={200: LimitsChanged, **ERRORS}
)
def end_raise(request: HttpRequest, profile_id: int, response: HttpResponse) -> Any:
    """Apply the policy's limits again now."""
    by = actor(request)
    _, receipt = in_force(
        profile_limits.end_raise(by=by, profile_id=profile_id, if_match=if_match(request))
    )
    return {"data": _shown(by, profile_id, response), "revocation": receipt}
