"""`/api/v2/preview`: the effect that a change would have had on logged calls."""

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import Field

from ostiary.api.answers import ERRORS, Id, Strict, Time, actor
from ostiary.api.clients.access_profiles import ProfileChange
from ostiary.api.clients.client_defaults import ClientWithDefaultsChange
from ostiary.api.clients.policies import PolicyChange
from ostiary.api.idempotency import reads
from ostiary.directory.changes.inputs import AnyTime
from ostiary.review import preview

router = Router(tags=["Preview"])


class RangeIn(Strict):
    """The time whose calls are replayed: by default the last seven days."""

    start: Annotated[datetime | None, AnyTime()] = Field(None, alias="from")
    end: Annotated[datetime | None, AnyTime()] = Field(None, alias="to")


class ProfilePreviewIn(RangeIn):
    """`change` is what `PUT /api/api_access_profiles/{id}` takes."""

    access_profile_id: Id
    change: ProfileChange


class PolicyPreviewIn(RangeIn):
    """`change` is what `PUT /api/v2/api_policies/{id}` takes."""

    api_policy_id: Id
    change: PolicyChange


class ClientPreviewIn(RangeIn):
    """`change` is what `PUT /api/v2/api_clients/{id}` takes."""

    api_client_id: Id
    change: ClientWithDefaultsChange


class ExampleOut(Schema):
    """One recorded call with another result, and how many calls its log line stands for."""

    at: Time
    request_id: str
    method: str
    ip: str
    endpoint: str
    api_endpoint_id: int
    calls: int
    reason: str | None


class EffectOut(Schema):
    access_profile_id: int
    name: str
    api_client_id: int
    calls: int
    newly_refused: int
    newly_allowed: int
    would_refuse: int
    refused_for: dict[str, int]
    refused_examples: list[ExampleOut]
    allowed_examples: list[ExampleOut]
    would_examples: list[ExampleOut]


class PreviewOut(Schema):
    """`truncated`: only the newest calls were replayed. `sampled`: estimates.

    `from` is where the recorded calls begin; `counted_calls` were counted since the time asked for.
    """

    start: Time = Field(serialization_alias="from")
    end: Time = Field(serialization_alias="to")
    calls: int
    counted_calls: int | None
    access_profiles: int
    newly_refused: int
    newly_allowed: int
    would_refuse: int
    changes_nothing: bool
    truncated: bool
    access_profiles_left_out: int
    sampled: bool
    warnings: list[str]
    effects: list[EffectOut]


class PreviewData(Schema):
    data: PreviewOut


def _example(each: preview.Example) -> dict[str, Any]:
    return {
        "at": each.at,
        "request_id": each.call.request_id,
        "method": each.call.method,
        "ip": each.call.address,
        "endpoint": each.endpoint,
        "api_endpoint_id": each.call.endpoint_id,
        "calls": each.calls,
        "reason": each.reason,
    }


def _effect(effect: preview.Effect) -> dict[str, Any]:
    return {
        "access_profile_id": effect.profile.pk,
        "name": effect.profile.name,
        "api_client_id": effect.profile.client_id,
        "calls": effect.calls,
        "newly_refused": effect.newly_refused,
        "newly_allowed": effect.newly_allowed,
        "would_refuse": effect.would_refuse,
        "refused_for": {reason.value: calls for reason, calls in effect.refused_for.items()},
        "refused_examples": [_example(each) for each in effect.refused_examples],
        "allowed_examples": [_example(each) for each in effect.allowed_examples],
        "would_examples": [_example(each) for each in effect.would_examples],
    }


def _shown(found: preview.Preview) -> dict[str, Any]:
    return {
        "start": found.start,
        "end": found.end,
        "calls": found.calls,
        "counted_calls": found.counted,
        "access_profiles": found.profiles,
        "newly_refused": found.newly_refused,
        "newly_allowed": found.newly_allowed,
        "would_refuse": found.would_refuse,
        "changes_nothing": found.idle,
        "truncated": found.truncated,
        "access_profiles_left_out": found.left_out,
        "sampled": found.sampled,
        "warnings": list(found.warnings),
        "effects": [_effect(effect) for effect in found.effects],
    }


@router.post("/v2/preview", response={200: PreviewData, **ERRORS}, by_alias=True)
@reads
def preview_change(
    request: HttpRequest, payload: ProfilePreviewIn | PolicyPreviewIn | ClientPreviewIn
) -> Any:
    """The calls that a change of a profile, a policy or a client's defaults would have refused or let in.

    The change is checked as if it were saved, and nothing is saved.
    """
    by = actor(request)
    within = preview.ReplayRange(start=payload.start, end=payload.end)
    if isinstance(payload, ProfilePreviewIn):
        found = preview.of_profile(
            by=by, profile_id=payload.access_profile_id, given=payload.change, within=within
        )
    elif isinstance(payload, ClientPreviewIn):
        found = preview.of_defaults(
            by=by, client_id=payload.api_client_id, given=payload.change, within=within
        )
    else:
        found = preview.of_policy(
            by=by, policy_id=payload.api_policy_id, given=payload.change, within=within
        )
    return {"data": _shown(found)}
