"""Management tokens: what scripts use the management API with."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from ostiary.directory import audit, fields
from ostiary.directory.actor import Actor, Role
from ostiary.directory.errors import NotFound
from ostiary.directory.models import ManagementToken, Project
from ostiary.directory.permission import require_admin
from ostiary.identity import tokens
from ostiary.identity.secret import Secret

#: How often, in seconds, the time of last use is written.
USE_RESOLUTION = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
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
    project_ids: Sequence[int] = (),
    expires_at: datetime | None = None,
) -> Issued:
    """Make a token; without projects a role counts in all of them. Raises Invalid, Forbidden."""
    require_admin(by)
    problems = fields.Problems()
    token = ManagementToken(name=fields.text(problems, "name", name), admin=admin)
    if not admin:
        token.role = fields.choice(problems, "role", role, [r.value for r in Role])
    projects = list(Project.objects.filter(pk__in=project_ids))
    if len(projects) != len(set(project_ids)) or (admin and project_ids):
        problems.add("project_ids", "must be ids of projects, and none for an admin's token")
    token.expires_at = fields.moment(problems, "expires_at", expires_at)
    problems.raise_if_any()
    secret = tokens.issue_management_token()
    text = secret.reveal()
    token.fingerprint = tokens.fingerprint(text)
    token.prefix, token.last_four = tokens.prefix_of(text), tokens.last_four(text)
    token.created_by_id = by.id if by.kind == "member" else None
    with transaction.atomic():
        token.save()
        token.projects.set(projects)
        _record(by, "create", token)
    return Issued(token=token, secret=secret)


def revoke(*, by: Actor, token_id: int) -> None:
    """Revoke a token; it does not work any more when this returns."""
    require_admin(by)
    with transaction.atomic():
        token = ManagementToken.objects.select_for_update().filter(pk=token_id).first()
        if token is None:
            raise NotFound("token")
        if token.revoked_at is None:
            token.revoked_at = timezone.now()
            token.save(update_fields=["revoked_at"])
            _record(by, "revoke", token)


def authenticate(text: str, address: str) -> Actor | None:
    """Who a management token speaks for, or nothing if it is none that works."""
    now = timezone.now()
    token = (
        ManagementToken.objects.filter(fingerprint=tokens.fingerprint(text), revoked_at=None)
        .filter(Q(expires_at=None) | Q(expires_at__gt=now))
        .filter(Q(created_by=None) | Q(created_by__is_active=True))
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
        everywhere=role if not projects else None,
        address=address,
    )


def _record(by: Actor, verb: str, token: ManagementToken) -> None:
    audit.record(
        by,
        f"token.{verb}",
        target_kind="token",
        target_id=token.pk,
        target_name=token.name,
        after={"admin": token.admin, "role": token.role},
    )
