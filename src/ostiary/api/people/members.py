"""`/api/v2/members`: people who sign in, and their roles."""

from typing import Any, Literal

from django.http import HttpRequest
from ninja import Query, Router, Schema

from ostiary.api.answers import ERRORS, Paging, Strict, Success, Time, actor, page
from ostiary.directory.models import Member
from ostiary.directory.people import members
from ostiary.directory.projects import projects

router = Router(tags=["Members"])

RoleName = Literal["viewer", "editor", "owner"]


class MemberIn(Strict):
    email: str
    name: str = ""
    admin: bool = False


class MemberChange(Strict):
    admin: bool | None = None
    active: bool | None = None


class RoleIn(Strict):
    role: RoleName | None


class MemberOut(Schema):
    id: int
    email: str
    name: str
    admin: bool
    active: bool
    second_factor: bool
    roles: dict[int, str]
    last_sign_in_at: Time | None
    created_at: Time
    updated_at: Time


class MemberData(Schema):
    data: MemberOut


class MemberPage(Schema):
    data: list[MemberOut]
    count: int
    page: int
    per_page: int


def _shown(member: Member) -> dict[str, Any]:
    return {
        "id": member.pk,
        "email": member.email,
        "name": member.name,
        "admin": member.admin,
        "active": member.is_active,
        "second_factor": bool(member.second_factors.all()),
        "roles": {m.project_id: m.role for m in member.memberships.all()},
        "last_sign_in_at": member.last_login,
        "created_at": member.created_at,
        "updated_at": member.updated_at,
    }


@router.get("/v2/members", response={200: MemberPage, **ERRORS})
def list_members(request: HttpRequest, paging: Query[Paging]) -> Any:
    found = members.members(actor(request))
    counts = {"count": found.count(), "page": paging.page, "per_page": paging.per_page}
    return {"data": [_shown(member) for member in page(found, paging)], **counts}


@router.post("/v2/members", response={200: MemberData, **ERRORS})
def create_member(request: HttpRequest, payload: MemberIn) -> Any:
    """Add a member; a sign-in link comes from the command line or the console."""
    member = members.create(
        by=actor(request), email=payload.email, name=payload.name, admin=payload.admin
    )
    return {"data": _shown(member)}


@router.put("/v2/members/{int:member_id}", response={200: MemberData, **ERRORS})
def change_member(request: HttpRequest, member_id: int, payload: MemberChange) -> Any:
    member = members.change(
        by=actor(request), member_id=member_id, admin=payload.admin, active=payload.active
    )
    return {"data": _shown(member)}


class InvitedIn(Strict):
    email: str
    role: RoleName


@router.post("/v2/projects/{int:project_id}/members", response={200: Success, **ERRORS})
def invite_member(request: HttpRequest, project_id: int, payload: InvitedIn) -> Any:
    """Give the member with this email address a role in a project."""
    by = actor(request)
    projects.find(by, project_id)
    members.invite(by=by, project_id=project_id, email=payload.email, role=payload.role)
    return {"success": True}


@router.put(
    "/v2/members/{int:member_id}/projects/{int:project_id}", response={200: Success, **ERRORS}
)
def set_role(request: HttpRequest, member_id: int, project_id: int, payload: RoleIn) -> Any:
    """Change a role in a project; null takes it away. Only a workspace admin can give the first one by id."""
    by = actor(request)
    projects.find(by, project_id)
    members.set_role(by=by, member_id=member_id, project_id=project_id, role=payload.role)
    return {"success": True}
