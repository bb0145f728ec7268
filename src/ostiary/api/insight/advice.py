"""`/api/v2/advice`: access that could be narrower, based on real use."""

from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema

from ostiary.api.answers import ERRORS, actor
from ostiary.review import advice

router = Router(tags=["Advice"])


class AdviceOut(Schema):
    """`change` can be given to `/api/v2/preview`, and then to the PUT of the profile or policy."""

    kind: str
    title: str
    evidence: str
    access_profile_id: int | None
    api_client_id: int | None
    api_policy_id: int | None
    change: dict[str, Any]


class AdviceData(Schema):
    """`more`: kinds with more advice than this answer lists."""

    data: list[AdviceOut]
    count: int
    more: list[str]


@router.get("/v2/advice", response={200: AdviceData, **ERRORS})
def list_advice(request: HttpRequest) -> Any:
    """Advice on the access profiles that the token sees, and for admins on policies."""
    found = advice.advised(by=actor(request))
    shown = [
        {
            "kind": each.kind,
            "title": each.title,
            "evidence": each.evidence,
            "access_profile_id": each.profile.pk if each.profile else None,
            "api_client_id": each.profile.client_id if each.profile else None,
            "api_policy_id": each.policy.pk if each.policy else None,
            "change": dict(each.change),
        }
        for each in found.advice
    ]
    return {"data": shown, "count": len(shown), "more": sorted(found.more)}
