"""`/api/v2/tokens`: management tokens."""

from datetime import datetime
from typing import Any, Literal

from django.http import HttpRequest
from ninja import Query, Router, Schema

from ostiary.api.answers import ERRORS, Id, Paging, Strict, Success, Time, actor, page
from ostiary.directory import management_tokens
from ostiary.directory.models import ManagementToken
from ostiary.identity.tokens import masked

router = Router(tags=["Management tokens"])


class TokenIn(Strict):
    """An admin's token, or a role in the named projects (in all, if none is named)."""

    name: str
    admin: bool = False
    role: Literal["viewer", "editor", "owner"] | None = None
    project_ids: list[Id] = []
    expires_at: datetime | None = None


class TokenOut(Schema):
    id: int
    name: str
    masked: str
    admin: bool
    role: str | None
    project_ids: list[int]
    created_at: Time
    expires_at: Time | None
    revoked_at: Time | None
    last_used_at: Time | None
    secret: str | None = None


class TokenData(Schema):
    data: TokenOut


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
        "project_ids": sorted(project.pk for project in token.projects.all()),
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
    """Make a token; `secret` is shown this once."""
    issued = management_tokens.create(
        by=actor(request),
        name=payload.name,
        admin=payload.admin,
        role=payload.role,
        project_ids=payload.project_ids,
        expires_at=payload.expires_at,
    )
    return {"data": _shown(issued.token) | {"secret": issued.secret.reveal()}}


@router.delete("/v2/tokens/{int:token_id}", response={200: Success, **ERRORS})
def revoke_token(request: HttpRequest, token_id: int) -> Any:
    management_tokens.revoke(by=actor(request), token_id=token_id)
    return {"success": True}
