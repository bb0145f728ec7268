"""Management tokens: what scripts use the management API with.

A token never has more rights than whoever made it, now or later: it ends with that member's or token's
own. An empty list of projects means none; a role in every project is a flag of its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import audit_log, fields
from ostiary.directory.changes.errors import Forbidden, NotFound
from ostiary.directory.changes.permission import require_admin
from ostiary.directory.models import ManagementToken, Member, Project
from ostiary.identity import tokens
from ostiary.identity.secret import Secret

#: How often, in seconds, the time of last use is written.
USE_RESOLUTION = 60

#: Makers whose tokens work: the command line, and members who are admins still.
_MAKER_MAY = Q(created_by=None) | Q(created_by__is_active=True, created_by__admin=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedManagementToken:
    """A new token and its secret, which is shown this once."""

    token: ManagementToken
    secret: Secret


def management_tokens(by: Actor, *, search: str = "") -> QuerySet[ManagementToken]:
    require_admin(by)
    found = ManagementToken.objects.order_by("pk").prefetch_related("projects")
    return found.filter(name__icontains=search) if search else found


def create(
    *,
    by: Actor,
    name: object,
    admin: bool = True,
    role: object = None,
    everywhere: bool = False,
    project_ids: Sequence[int] = (),
    expires_at: datetime | None = None,
) -> IssuedManagementToken:
    """Make an admin's token, or one with a role: in projects, or everywhere.

    One that a token makes ends with that token. Raises Invalid, Forbidden.
    """
    require_admin(by)
    problems = fields.Problems()
    token = ManagementToken(
        name=fields.text(problems, "name", name), admin=admin, everywhere=everywhere
    )
    if not admin:
        token.role = fields.choice(problems, "role", role, [r.value for r in Role])
    elif role:
        problems.add("role", "must be empty for an admin's token, which may do everything")
    with transaction.atomic():
        projects = _scope(problems, token, project_ids)
        _set_maker(problems, by, token, fields.moment(problems, "expires_at", expires_at))
        problems.raise_if_any()
        secret = tokens.issue_management_token()
        text = secret.reveal()
        token.fingerprint = tokens.fingerprint(text)
        token.prefix, token.last_four = tokens.prefix_of(text), tokens.last_four(text)
        token.save()
        token.projects.set(projects)
        _record(by, "create", token, after=_shown(token))
    return IssuedManagementToken(token=token, secret=secret)


def _scope(
    problems: fields.Problems, token: ManagementToken, project_ids: Sequence[int]
) -> list[Project]:
    """The projects that the token's role counts in, locked: none of them is deleted meanwhile."""
    if (token.admin or token.everywhere) and project_ids:
        kind = "an admin's token" if token.admin else "a role in all projects"
        problems.add("project_ids", f"must be empty for {kind}")
        return []
    if token.admin and token.everywhere:
        problems.add("all_projects", "must not be set for an admin's token, which sees all of them")
    if not (token.admin or token.everywhere or project_ids):
        problems.add("project_ids", "name at least one project, or choose all projects")
    projects = list(Project.objects.select_for_update().filter(pk__in=project_ids))
    missing = sorted(set(project_ids) - {project.pk for project in projects})
    if missing:
        problems.add("project_ids", f"there is no project {missing[0]}")
    return projects


def _set_maker(
    problems: fields.Problems, by: Actor, token: ManagementToken, expires_at: datetime | None
) -> None:
    """Say who made it; one that a token makes may not outlive that one."""
    token.expires_at = expires_at
    if by.kind == "member":
        # Locked and read anew: a member who is demoted meanwhile must not keep a token of an admin's.
        member = Member.objects.select_for_update().filter(
            pk=by.id or 0, is_active=True, admin=True
        )
        token.created_by = member.first()
        if token.created_by is None:
            raise Forbidden("Only a workspace admin may do this")
    if by.kind != "token":
        return
    maker = (
        ManagementToken.objects.select_for_update().filter(pk=by.id or 0, revoked_at=None).first()
    )
    if maker is None:
        raise NotFound("token")
    token.made_by, token.created_by_id = maker, maker.created_by_id
    if maker.expires_at is not None:
        token.expires_at = expires_at or maker.expires_at
        if token.expires_at > maker.expires_at:
            ends = maker.expires_at.strftime("%Y-%m-%d %H:%M:%S UTC")
            problems.add(
                "expires_at", f"must not be later than the end of the token in use, {ends}"
            )


def revoke(*, by: Actor, token_id: int) -> list[ManagementToken]:
    """Revoke a token and those made with it; none of them works any more when this returns."""
    require_admin(by)
    with transaction.atomic():
        token = ManagementToken.objects.select_for_update().filter(pk=token_id).first()
        if token is None:
            raise NotFound("token")
        return _end(by, [token])


def end_those_of(member: Member, by: Actor, why: str) -> list[ManagementToken]:
    """Revoke what a member made, in the caller's transaction."""
    found = ManagementToken.objects.select_for_update().filter(created_by=member)
    return _end(by, found, why)


def leave_project(project: Project, by: Actor) -> list[ManagementToken]:
    """Take a project that goes from every token's scope; one that has no other is revoked.

    In the caller's transaction. Returns the revoked ones.
    """
    scoped = ManagementToken.objects.select_for_update().filter(projects=project, revoked_at=None)
    emptied = []
    for token in scoped:
        before = _shown(token)
        token.projects.remove(project)
        _record(by, "change", token, before=before, after=_shown(token))
        if not token.projects.exists():
            emptied.append(token)
    return _end(by, emptied, "its last project was deleted")


def _end(by: Actor, found: Iterable[ManagementToken], why: str = "") -> list[ManagementToken]:
    """Revoke tokens and what was made with them, each with an event; those that end now."""
    now, ended, waiting = timezone.now(), [], [(token, why) for token in found]
    seen = {token.pk for token, _ in waiting}
    while waiting:
        token, reason = waiting.pop()
        if token.revoked_at is None:
            token.revoked_at = now
            token.save(update_fields=["revoked_at"])
            _record(by, "revoke", token, after=_shown(token) | ({"why": reason} if reason else {}))
            ended.append(token)
        made = ManagementToken.objects.select_for_update().filter(made_by=token)
        for child in made.exclude(pk__in=seen):
            seen.add(child.pk)
            waiting.append((child, f"the token that made it, {token.name}, was revoked"))
    return ended


def authenticate(text: str, address: str) -> Actor | None:
    """Who a management token speaks for, or nothing if it is none that works."""
    now = timezone.now()
    token = (
        ManagementToken.objects.filter(fingerprint=tokens.fingerprint(text), revoked_at=None)
        .filter(Q(expires_at=None) | Q(expires_at__gt=now))
        .filter(_MAKER_MAY)
        .prefetch_related("projects")
        .first()
    )
    if token is None:
        return None
    used = token.last_used_at
    if used is None or now - used > timedelta(seconds=USE_RESOLUTION):
        ManagementToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return _actor(token, address)


def _actor(token: ManagementToken, address: str) -> Actor:
    role = Role(token.role) if token.role else None
    projects = [project.pk for project in token.projects.all()]
    return Actor(
        kind="token",
        id=token.pk,
        name=token.name,
        admin=token.admin,
        roles={pk: role for pk in projects if role is not None},
        everywhere=role if token.everywhere else None,
        address=address,
    )


def _shown(token: ManagementToken) -> dict[str, object]:
    """A token as the audit log shows it."""
    return {
        "admin": token.admin,
        "role": token.role,
        "all_projects": token.everywhere,
        "project_ids": sorted(token.projects.values_list("pk", flat=True)),
        "expires_at": token.expires_at.isoformat() if token.expires_at else None,
    }


def _record(
    by: Actor,
    verb: str,
    token: ManagementToken,
    *,
    before: dict[str, object] | None = None,
    after: dict[str, object],
) -> None:
    audit_log.record(
        by,
        f"token.{verb}",
        target_kind="token",
        target_id=token.pk,
        target_name=token.name,
        before=before,
        after=after,
    )
