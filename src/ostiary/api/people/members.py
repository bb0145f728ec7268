"""`/api/v2/members`: people who sign in, and their roles."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from ninja import Query, Router, Schema
from pydantic import Field

from ostiary.api import lists
from ostiary.api.answers import (
    ERRORS,
    ChangeBody,
    Strict,
    Success,
    Time,
    actor,
    change,
    if_match,
    versioned,
)
from ostiary.directory.actor import Actor
from ostiary.directory.changes.inputs import Flag
from ostiary.directory.models import Member, Membership
from ostiary.directory.people import members
from ostiary.directory.projects import projects
from ostiary.directory.workspace import public_urls

router = Router(tags=["Members"])

RoleName = Literal["viewer", "editor", "owner"]


class MemberIn(Strict):
    email: str
    name: str = ""
    admin: Flag = False
    #: Make a one-time sign-in link too, which the answer shows this once.
    sign_in_link: Flag = False


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


class SignInLinkOut(Schema):
    """Lets the member in, once. Without a password they set one; with one, they may set another."""

    url: str
    expires_at: Time


class SignInLinkData(Schema):
    data: SignInLinkOut


class MemberCreated(MemberData):
    sign_in_link: SignInLinkOut | None = None


class MemberDeleted(Success):
    #: Sessions that ended.
    ended_sessions: int
    #: Management tokens that the member had made, or that were made with those.
    revoked_token_ids: list[int]


class ProjectMemberOut(Schema):
    id: int
    email: str
    name: str
    active: bool
    role: RoleName


class ProjectMemberQuery(lists.ListParameters):
    searched: ClassVar[tuple[str, ...]] = ("member__email", "member__name")
    columns: ClassVar[Mapping[str, str]] = {
        "email": "member__email",
        "name": "member__name",
        "active": "member__is_active",
    }

    sort: Annotated[str, lists.sorts("email", "name")] = "email"
    role: RoleName | None = None
    active: lists.FlagFilter = None


class ProjectMemberPage(lists.CursorPage[ProjectMemberOut]):
    """One page of the members with a role in a project."""


class MemberQuery(lists.DatedQuery):
    searched: ClassVar[tuple[str, ...]] = ("email", "name")
    columns: ClassVar[Mapping[str, str]] = {
        "active": "is_active",
        "project_id": "memberships__project_id",
        "email": "email__iexact",
    }

    sort: Annotated[str, lists.sorts("id", "name", "created_at", "updated_at")] = "id"
    email: lists.TextFilter = None
    admin: lists.FlagFilter = None
    active: lists.FlagFilter = None
    project_id: lists.IdFilter = Field(None, description="A project that they have a role in.")


class MemberPage(lists.CursorPage[MemberOut]):
    """One page of the members."""


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


@change(MemberOut, _shown)
class MemberChange(ChangeBody, members.MemberInput):
    """Omitted fields keep their values."""


@router.get("/v2/members", response={200: MemberPage, **ERRORS})
def list_members(request: HttpRequest, query: Query[MemberQuery], response: HttpResponse) -> Any:
    found = members.members(actor(request))
    return lists.paged(request, response, found, query, _shown)


@router.post("/v2/members", response={200: MemberCreated, **ERRORS})
def create_member(request: HttpRequest, payload: MemberIn, response: HttpResponse) -> Any:
    """Add a member. They sign in by a one-time link, or by single sign-on."""
    by = actor(request)
    member = members.create(by=by, email=payload.email, name=payload.name, admin=payload.admin)
    versioned(response, member)
    link = _link(by, member) if payload.sign_in_link else None
    return {"data": _shown(member), "sign_in_link": link}


@router.get("/v2/members/{int:member_id}", response={200: MemberData, **ERRORS})
def show_member(request: HttpRequest, member_id: int, response: HttpResponse) -> Any:
    member = members.find(actor(request), member_id)
    versioned(response, member)
    return {"data": _shown(member)}


@router.put("/v2/members/{int:member_id}", response={200: MemberData, **ERRORS})
def change_member(
    request: HttpRequest, member_id: int, payload: MemberChange, response: HttpResponse
) -> Any:
    """Rename a member; make them an admin or not, active or not.

    Who is deactivated, or stops being an admin, loses sessions, unused links and management tokens.
    """
    member = members.change(
        by=actor(request), member_id=member_id, if_match=if_match(request), given=payload
    )
    versioned(response, member)
    return {"data": _shown(member)}


@router.delete("/v2/members/{int:member_id}", response={200: MemberDeleted, **ERRORS})
def delete_member(request: HttpRequest, member_id: int) -> Any:
    """Delete a member with sessions, links, second factors and roles; their tokens are revoked.

    What they did stays in the audit log. The last active workspace admin cannot be deleted.
    """
    deleted = members.delete(by=actor(request), member_id=member_id, if_match=if_match(request))
    return {
        "success": True,
        "ended_sessions": deleted.sessions,
        "revoked_token_ids": deleted.tokens,
    }


@router.post("/v2/members/{int:member_id}/sign_in_link", response={200: SignInLinkData, **ERRORS})
def create_sign_in_link(request: HttpRequest, member_id: int) -> Any:
    """Make a one-time sign-in link, shown only here; unused older ones stop working."""
    by = actor(request)
    return {"data": _link(by, members.find(by, member_id))}


def _link(by: Actor, member: Member) -> dict[str, object]:
    secret = members.create_link(by=by, member=member)
    return {
        "url": public_urls.sign_in_link(secret),
        "expires_at": timezone.now() + members.LINK_LIFE,
    }


@router.get(
    "/v2/projects/{int:project_id}/members",
    response={200: ProjectMemberPage, **ERRORS},
)
def list_project_members(
    request: HttpRequest, project_id: int, query: Query[ProjectMemberQuery], response: HttpResponse
) -> Any:
    """The members with a role in a project, for its owners. Workspace admins have every role unlisted."""
    by = actor(request)
    projects.find(by, project_id)
    found = members.of_project(by, project_id)
    return lists.paged(request, response, found, query, _of_project)


def _of_project(membership: Membership) -> dict[str, Any]:
    member = membership.member
    return {
        "id": member.pk,
        "email": member.email,
        "name": member.name,
        "active": member.is_active,
        "role": membership.role,
    }


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
    members.set_role(
        by=by,
        member_id=member_id,
        project_id=project_id,
        role=payload.role,
        if_match=if_match(request),
    )
    return {"success": True}
