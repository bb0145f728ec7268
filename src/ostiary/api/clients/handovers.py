"""`/api/v2/handovers`: links by which a consumer gets its credential."""

from typing import Annotated, Any, Literal

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema
from pydantic import Field, StrictInt

from ostiary.api import lists
from ostiary.api.answers import (
    ERRORS,
    Revocation,
    Strict,
    Time,
    actor,
    done,
    if_match,
    tagged,
)
from ostiary.directory.changes import etags
from ostiary.directory.clients import credentials, handovers
from ostiary.directory.models import Handover
from ostiary.identity import tokens

router = Router(tags=["Access profiles"])


class HandoverIn(Strict):
    """Without `secret`, a new credential is issued, and the old one works for `overlap_seconds`."""

    secret: str | None = Field(None, max_length=4096)
    valid_seconds: StrictInt = Field(handovers.USUAL, ge=handovers.LEAST, le=handovers.LONGEST)
    overlap_seconds: StrictInt = Field(handovers.OVERLAP, ge=0, le=credentials.LONGEST_OVERLAP)


class HandoverOut(Schema):
    id: int
    access_profile_id: int
    credential_id: int
    masked: str
    handover_state: Literal["waiting", "opened", "withdrawn", "expired"]
    made_by: str
    created_at: Time
    expires_at: Time
    opened_at: Time | None
    opened_from: str | None
    withdrawn_at: Time | None


class HandoverData(Schema):
    data: HandoverOut


class MadeHandoverOut(HandoverOut):
    handover_url: str


class MadeHandoverData(Schema):
    """The link is shown only here. `revocation` is the receipt of what a new credential replaced."""

    data: MadeHandoverOut
    revocation: Revocation | None = None
    warnings: list[str] = []


class HandoverQuery(lists.ListParameters):
    sort: Annotated[str, lists.sorts("id", "created_at")] = "-id"


class HandoverPage(lists.CursorPage[HandoverOut]):
    """One page of the hand-over links."""


def _shown(handover: Handover) -> dict[str, Any]:
    credential = handover.credential
    return {
        "id": handover.pk,
        "access_profile_id": handover.profile_id,
        "credential_id": handover.credential_id,
        "masked": tokens.masked(credential.prefix, credential.last_four),
        "handover_state": handovers.state(handover).value,
        "made_by": handover.made_by,
        "created_at": handover.created_at,
        "expires_at": handover.expires_at,
        "opened_at": handover.opened_at,
        "opened_from": handover.opened_from or None,
        "withdrawn_at": handover.withdrawn_at,
    }


@router.get(
    "/v2/access_profiles/{int:profile_id}/handovers", response={200: HandoverPage, **ERRORS}
)
def list_handovers(
    request: HttpRequest, profile_id: int, query: Query[HandoverQuery], response: HttpResponse
) -> Any:
    found = handovers.handovers(actor(request), profile_id)
    return lists.paged(request, response, found, query, _shown)


@router.post(
    "/v2/access_profiles/{int:profile_id}/handovers", response={200: MadeHandoverData, **ERRORS}
)
def create_handover(
    request: HttpRequest, profile_id: int, payload: HandoverIn | None = None
) -> Any:
    """Make a link that shows a credential once, to whoever holds it, without an account.

    The link is shown only here. With `secret`, it shows that one, which must be a secret of the
    profile that works; without, a new one. The secret is sealed under a key that only the link has.
    """
    given = payload or HandoverIn.model_validate({})
    saved = handovers.create(
        by=actor(request),
        profile_id=profile_id,
        valid_seconds=given.valid_seconds,
        overlap_seconds=given.overlap_seconds,
        secret=given.secret,
        if_match=if_match(request),
    )
    receipt, warnings = done(saved.sequence)
    made = saved.value
    return {
        "data": _shown(made.handover) | {"handover_url": made.url.reveal()},
        "revocation": receipt if saved.sequence else None,
        "warnings": warnings,
    }


@router.get("/v2/handovers/{int:handover_id}", response={200: HandoverData, **ERRORS})
def show_handover(request: HttpRequest, handover_id: int, response: HttpResponse) -> Any:
    shown = _shown(handovers.find(actor(request), handover_id))
    tagged(response, etags.of_value(shown))
    return {"data": shown}


@router.delete("/v2/handovers/{int:handover_id}", response={200: HandoverData, **ERRORS})
def withdraw_handover(request: HttpRequest, handover_id: int) -> Any:
    """Withdraw a link: it shows nothing from now on. One that was opened cannot be withdrawn (409)."""
    return {"data": _shown(handovers.withdraw(by=actor(request), handover_id=handover_id))}
