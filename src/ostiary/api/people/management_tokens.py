"""`/api/v2/tokens`: management tokens."""

from datetime import datetime
from typing import Annotated, Any, Literal

from django.http import HttpRequest
from ninja import Query, Router, Schema

from ostiary.api.answers import ERRORS, Id, Paging, Strict, Success, Time, actor, page
from ostiary.directory.changes.inputs import Moment
from ostiary.directory.models import ManagementToken
from ostiary.directory.people import management_tokens
from ostiary.identity.tokens import masked

router = Router(tags=["Management tokens"])


class TokenIn(Strict):
    """An admin's token, or a role in the named projects, or with `all_projects` in every one.

    One that a token makes ends with that token, and no later.
    """

    name: str
    admin: bool = False
    role: Literal["viewer", "editor", "owner"] | None = None
    all_projects: bool = False
    project_ids: list[Id] = []
    expires_at: Annotated[datetime | None, Moment()] = None


class TokenOut(Schema):
    id: int
    name: str
    masked: str
    admin: bool
    role: str | None
    all_projects: bool
    project_ids: list[int]
    #: The token that made it, and with which it is revoked.
    made_by_token_id: int | None
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Time | None
    secret: str | None = None


class TokenData(Schema):
    data: TokenOut


class TokenRevoked(Success):
    #: The token, and those that were made with it.
    revoked_ids: list[int]


class TokenPage(Schema):
    data: list[TokenOut]
    count: int
    page: int
    per_page: int


def _shown(token: ManagementToken) -> dict[str, Any]:
    return {
        "id": token.pk,
        "name": token.name,
        "masked": masked(token.prefix, token.last_four),
        "admin": token.admin,
        "role": token.role or None,
        "all_projects": token.everywhere,
        "project_ids": sorted(project.pk for project in token.projects.all()),
        "made_by_token_id": token.made_by_id,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
        "last_used_at": token.last_used_at,
    }


@router.get("/v2/tokens", response={200: TokenPage, **ERRORS})
def list_tokens(request: HttpRequest, paging: Query[Paging]) -> Any:
    found = management_tokens.management_tokens(actor(request))
    counts = {"count": found.count(), "page": paging.page, "per_page": paging.per_page}
    return {"data": [_shown(token) for token in page(found, paging)], **counts}


@router.post("/v2/tokens", response={200: TokenData, **ERRORS})
def create_token(request: HttpRequest, payload: TokenIn) -> Any:
    """Make a token; `secret` is shown only once."""
    issued = management_tokens.create(
        by=actor(request),
        name=payload.name,
        admin=payload.admin,
        role=payload.role,
        everywhere=payload.all_projects,
        project_ids=payload.project_ids,
        expires_at=payload.expires_at,
    )
    return {"data": _shown(issued.token) | {"secret": issued.secret.reveal()}}


@router.delete("/v2/tokens/{int:token_id}", response={200: TokenRevoked, **ERRORS})
def revoke_token(request: HttpRequest, token_id: int) -> Any:
    """Revoke a token, and those that were made with it."""
    revoked = management_tokens.revoke(by=actor(request), token_id=token_id)
    return {"success": True, "revoked_ids": sorted(token.pk for token in revoked)}
