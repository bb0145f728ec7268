"""`/api/v2/tokens`: management tokens."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema
from pydantic import Field, StrictInt

from ostiary.api import lists
from ostiary.api.answers import (
    ERRORS,
    ChangeBody,
    Id,
    Strict,
    Success,
    Time,
    actor,
    change,
    if_match,
    versioned,
)
from ostiary.directory import states
from ostiary.directory.changes.inputs import Flag, Moment
from ostiary.directory.changes.permission import visible_projects
from ostiary.directory.models import ManagementToken
from ostiary.directory.people import management_tokens
from ostiary.directory.states import StateCode
from ostiary.identity.tokens import masked

router = Router(tags=["Management tokens"])
M = TypeVar("M", bound=Model)

MOST_PROJECTS = 1000


class TokenIn(Strict):
    """An admin's token, or a role in the named projects, or with `all_projects` in every one.

    One that a token makes ends with that token, and no later. `expires_at`: if left out, as many days
    from now as the setting `token_default_days` says; null never, where `token_longest_days` is 0.
    """

    name: str
    admin: Flag = False
    role: Literal["viewer", "editor", "owner"] | None = None
    all_projects: Flag = False
    project_ids: list[Id] = []
    expires_at: Annotated[datetime | None, Moment()] = None


class RotateIn(Strict):
    #: For how long the secret so far works too.
    overlap_seconds: StrictInt = Field(0, ge=0, le=management_tokens.LONGEST_OVERLAP)


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
    updated_at: Time
    expires_at: Time | None
    #: Until when the secret before the last rotation works.
    overlap_until: Time | None
    revoked_at: Time | None
    effective_state: StateCode
    last_used_at: Time | None
    secret: str | None = None


class TokenData(Schema):
    data: TokenOut


class TokenProject(Schema):
    id: int
    name: str


class OwnTokenOut(TokenOut):
    #: The projects that it sees, at most a thousand.
    projects: list[TokenProject]


class OwnTokenData(Schema):
    data: OwnTokenOut


class TokenRevoked(Success):
    #: The token, and those that were made with it.
    revoked_ids: list[int]


class TokenQuery(lists.DatedQuery):
    conditions: ClassVar = staticmethod(states.token_conditions)
    searched: ClassVar[tuple[str, ...]] = ("name", "prefix", "last_four")
    columns: ClassVar[Mapping[str, str]] = {
        "all_projects": "everywhere",
        "project_id": "projects",
        "made_by_token_id": "made_by_id",
        "expires_before": "expires_at__lt",
    }

    admin: lists.FlagFilter = None
    role: Literal["viewer", "editor", "owner"] | None = None
    all_projects: lists.FlagFilter = None
    project_id: lists.IdFilter = Field(None, description="A project that they are for.")
    made_by_token_id: lists.IdFilter = None
    revoked: lists.FlagFilter = None
    effective_state: Annotated[str | None, lists.among(states.token_conditions)] = None
    expires_before: lists.TimeFilter = None

    def filtered(self, found: QuerySet[M], name: str, value: object) -> QuerySet[M]:
        if name != "revoked":
            return super().filtered(found, name, value)
        return found.filter(revoked_at__isnull=not value)


class TokenPage(lists.CursorPage[TokenOut]):
    """One page of the management tokens."""


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
        "updated_at": token.updated_at,
        "overlap_until": token.previous_until,
        "effective_state": states.of_token(token).code,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
        "last_used_at": token.last_used_at,
    }


@change(TokenOut, _shown)
class TokenChange(ChangeBody, management_tokens.TokenInput):
    """Omitted fields keep their values. `expires_at` null: never. A token that ended stays so."""


@router.get("/v2/tokens", response={200: TokenPage, **ERRORS})
def list_tokens(request: HttpRequest, query: Query[TokenQuery], response: HttpResponse) -> Any:
    found = management_tokens.management_tokens(actor(request))
    return lists.paged(request, response, found, query, _shown)


@router.post("/v2/tokens", response={200: TokenData, **ERRORS})
def create_token(request: HttpRequest, payload: TokenIn, response: HttpResponse) -> Any:
    """Make a token; `secret` is shown only once."""
    issued = management_tokens.create(
        by=actor(request),
        name=payload.name,
        admin=payload.admin,
        role=payload.role,
        everywhere=payload.all_projects,
        project_ids=payload.project_ids,
        expires_at=payload.expires_at,
        everlasting=payload.expires_at is None and "expires_at" in payload.model_fields_set,
    )
    versioned(response, issued.token)
    return {"data": _shown(issued.token) | {"secret": issued.secret.reveal()}}


@router.get("/v2/tokens/me", response={200: OwnTokenData, **ERRORS})
def show_own_token(request: HttpRequest, response: HttpResponse) -> Any:
    """What the token of this call is and may do: its role, its projects, its end."""
    by = actor(request)
    token = management_tokens.find(by, by.id or 0)
    versioned(response, token)
    seen = visible_projects(by).values("id", "name")[:MOST_PROJECTS]
    return {"data": _shown(token) | {"projects": list(seen)}}


@router.get("/v2/tokens/{int:token_id}", response={200: TokenData, **ERRORS})
def show_token(request: HttpRequest, token_id: int, response: HttpResponse) -> Any:
    """One token; a token that is not an admin's sees itself only."""
    token = management_tokens.find(actor(request), token_id)
    versioned(response, token)
    return {"data": _shown(token)}


@router.put("/v2/tokens/{int:token_id}", response={200: TokenData, **ERRORS})
def change_token(
    request: HttpRequest, token_id: int, payload: TokenChange, response: HttpResponse
) -> Any:
    """Change name and expiry. Tokens that it made end with it at the latest."""
    token = management_tokens.change(
        by=actor(request), token_id=token_id, given=payload, if_match=if_match(request)
    )
    versioned(response, token)
    return {"data": _shown(token)}


@router.post("/v2/tokens/me/rotate", response={200: TokenData, **ERRORS})
def rotate_own_token(
    request: HttpRequest, response: HttpResponse, payload: RotateIn | None = None
) -> Any:
    """Replace the secret of the token of this call; `secret` is shown only once."""
    return _rotated(request, actor(request).id or 0, payload, response)


@router.post("/v2/tokens/{int:token_id}/rotate", response={200: TokenData, **ERRORS})
def rotate_token(
    request: HttpRequest,
    token_id: int,
    response: HttpResponse,
    payload: RotateIn | None = None,
) -> Any:
    """Replace the secret, shown only once. For the token itself, and for the token that made it.

    The secret so far works for `overlap_seconds`, an older one no more. Role and expiry stay.
    """
    return _rotated(request, token_id, payload, response)


def _rotated(
    request: HttpRequest, token_id: int, payload: RotateIn | None, response: HttpResponse
) -> dict[str, Any]:
    issued = management_tokens.rotate(
        by=actor(request),
        token_id=token_id,
        overlap_seconds=payload.overlap_seconds if payload else 0,
        if_match=if_match(request),
    )
    versioned(response, issued.token)
    return {"data": _shown(issued.token) | {"secret": issued.secret.reveal()}}


@router.delete("/v2/tokens/{int:token_id}", response={200: TokenRevoked, **ERRORS})
def revoke_token(request: HttpRequest, token_id: int) -> Any:
    """Revoke a token, and those that were made with it."""
    revoked = management_tokens.revoke(
        by=actor(request), token_id=token_id, if_match=if_match(request)
    )
    return {"success": True, "revoked_ids": sorted(token.pk for token in revoked)}
