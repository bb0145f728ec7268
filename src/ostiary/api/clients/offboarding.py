"""`/api/v2/api_clients/{id}/offboard`: ends all that a client may do."""

from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema

from ostiary.api.answers import ERRORS, Revocation, Time, actor, if_match, in_force
from ostiary.directory.clients import offboarding
from ostiary.review import offboarding_reports
from ostiary.review.offboarding_reports import OffboardingReport

router = Router(tags=["Clients"])


class ReportedCredentialOut(Schema):
    masked: str
    created_at: Time
    last_used_at: Time | None
    revoked_at: Time | None
    expires_at: Time | None


class ReportedProfileOut(Schema):
    id: int
    name: str
    auth_type: str
    active: bool
    requests: int
    credentials: list[ReportedCredentialOut]


class OffboardingOut(Schema):
    api_client_id: int
    active: bool
    offboarded: bool
    requests: int
    access_profiles: list[ReportedProfileOut]


class OffboardingData(Schema):
    """What the client has, with the requests of the last seven days."""

    data: OffboardingOut


class OffboardedData(OffboardingData):
    revocation: Revocation


def _shown(report: OffboardingReport) -> dict[str, Any]:
    return {
        "api_client_id": report.client.pk,
        "active": report.client.active,
        "offboarded": report.is_done,
        "requests": report.calls,
        "access_profiles": [
            {
                "id": each.id,
                "name": each.name,
                "auth_type": each.auth_type,
                "active": each.active,
                "requests": each.calls,
                "credentials": [
                    {
                        "masked": one.masked,
                        "created_at": one.created_at,
                        "last_used_at": one.last_used_at,
                        "revoked_at": one.revoked_at,
                        "expires_at": one.expires_at,
                    }
                    for one in each.credentials
                ],
            }
            for each in report.profiles
        ],
    }


@router.get(
    "/v2/api_clients/{int:client_id}/offboarding", response={200: OffboardingData, **ERRORS}
)
def show_offboarding(request: HttpRequest, client_id: int) -> Any:
    """What an offboarding would end; afterwards, the report of what it ended."""
    return {"data": _shown(offboarding_reports.of_client(actor(request), client_id))}


@router.post("/v2/api_clients/{int:client_id}/offboard", response={200: OffboardedData, **ERRORS})
def offboard_client(request: HttpRequest, client_id: int) -> Any:
    """Deactivate a client with all its profiles, revoke all its credentials, withdraw its links.

    When this answers, nothing of the client can call. Repeating is safe.
    """
    by = actor(request)
    _, receipt = in_force(
        offboarding.offboard(by=by, client_id=client_id, if_match=if_match(request))
    )
    return {"data": _shown(offboarding_reports.of_client(by, client_id)), "revocation": receipt}
