"""`/api/v2/explain`: why a call was refused or admitted, or what a hypothetical call would get."""

from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import Field

from ostiary.access.stages import STAGES
from ostiary.api.answers import ERRORS, Id, Strict, Time, actor
from ostiary.api.idempotency import reads
from ostiary.directory import states
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.states import StateCode
from ostiary.review import hypothetical_calls, logged_calls
from ostiary.review.explanation import Explanation

router = Router(tags=["Explain"])


class ExplainIn(Strict):
    """`request_id` of a call that was made, or a made-up call of an access profile.

    `token` is a signed token that the call would present (JWT, OpenID Connect); it is kept nowhere.
    """

    request_id: str | None = Field(None, min_length=1, max_length=40)
    access_profile_id: Id | None = None
    method: str = "GET"
    path: str = ""
    ip: str = ""
    token: str = ""


class StepOut(Schema):
    check: str
    question: str
    outcome: str
    inputs: dict[str, str]
    reason: str | None


class CallOut(Schema):
    request_id: str
    at: Time
    method: str
    api_collection_id: int
    api_endpoint_id: int
    ip: str
    latency_ms: int


class ToldOut(Schema):
    message: str
    reason: str


class ChangeOut(Schema):
    id: int
    at: Time
    actor_name: str
    action: str
    target_kind: str
    target_id: int | None
    target_name: str


class VerdictOut(Schema):
    """`status` is 0 for an admitted call that is made up, and -1 where no answer was sent.

    `resolved_by`: who can usually resolve it (consumer, owner, operator or upstream).
    """

    verdict: str
    reason: str | None
    would: str | None
    status: int
    what: str
    remedy: str
    resolved_by: str | None


class ExplanationOut(VerdictOut):
    public_body: ToldOut | None
    steps: list[StepOut]
    access_profile_id: int | None
    #: Of the access profile, now.
    effective_state: StateCode | None
    api_client_id: int | None
    sequence: int | None
    call: CallOut | None
    changes_since: list[ChangeOut]
    now: VerdictOut | None


class ExplanationData(Schema):
    data: ExplanationOut


def _verdict(explanation: Explanation) -> dict[str, Any]:
    return {
        "verdict": explanation.verdict,
        "reason": explanation.reason,
        "would": explanation.would,
        "status": explanation.status,
        "what": explanation.what,
        "remedy": explanation.remedy,
        "resolved_by": explanation.described.resolved_by if explanation.described else None,
    }


def _shown(explanation: Explanation) -> dict[str, Any]:
    row, call, profile = explanation.described, explanation.call, explanation.profile
    return _verdict(explanation) | {
        "public_body": {"message": row.public.message, "reason": row.public.name} if row else None,
        "steps": [
            {
                "check": step.check,
                "question": STAGES[step.check].question,
                "outcome": step.outcome,
                "inputs": dict(step.inputs),
                "reason": step.reason,
            }
            for step in explanation.stages
        ],
        "access_profile_id": profile.pk if profile else None,
        "effective_state": states.of_profile(profile).code if profile else None,
        "api_client_id": profile.client_id if profile else None,
        "sequence": explanation.sequence,
        "call": {
            "request_id": call.request_id,
            "at": explanation.at,
            "method": call.method,
            "api_collection_id": call.collection_id,
            "api_endpoint_id": call.endpoint_id,
            "ip": call.address,
            "latency_ms": call.latency_ms,
        }
        if call
        else None,
        "changes_since": [
            {
                "id": event.pk,
                "at": event.at,
                "actor_name": event.actor_name,
                "action": event.action,
                "target_kind": event.target_kind,
                "target_id": event.target_id,
                "target_name": event.target_name,
            }
            for event in explanation.changes
        ],
        "now": _verdict(explanation.now) if explanation.now else None,
    }


@router.post("/v2/explain", response={200: ExplanationData, **ERRORS})
@reads
def explain(request: HttpRequest, payload: ExplainIn) -> Any:
    """The ordered checks with their inputs, the verdict, and the consumer's error.

    A call whose credential is known is shown to whoever sees its access profile; one whose token fits
    several, to whoever sees the collection. The others are for workspace admins. A collection that the
    reader does not see, and that the profile does not include, is explained as if it did not exist.
    """
    by = actor(request)
    if (payload.request_id is None) == (payload.access_profile_id is None):
        raise Invalid({"request_id": ["give a request_id or an access_profile_id, not both"]})
    if payload.request_id is not None:
        return {"data": _shown(logged_calls.explained(by=by, request_id=payload.request_id))}
    made_up = hypothetical_calls.MadeUp(
        profile_id=payload.access_profile_id or 0,
        method=payload.method,
        path=payload.path,
        address=payload.ip,
        token=payload.token,
    )
    return {"data": _shown(hypothetical_calls.explained(by=by, made_up=made_up))}
