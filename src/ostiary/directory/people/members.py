"""Members: people who sign in, their roles, and the one-time links that let them in."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, ClassVar

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import audit_log, etags, fields
from ostiary.directory.changes.errors import InUse, Invalid, NotFound
from ostiary.directory.changes.inputs import Flag, Input, Text
from ostiary.directory.changes.permission import require, require_admin
from ostiary.directory.changes.snapshots import snapshot
from ostiary.directory.models import Member, MemberSession, Membership, Project, SignInLink
from ostiary.directory.people import management_tokens
from ostiary.identity import tokens
from ostiary.identity.secret import Secret

LINK_LIFE = timedelta(hours=24)
LAST_ADMIN = "This is the last workspace admin"


class MemberInput(Input):
    """What a workspace admin changes of a member."""

    apart: ClassVar[tuple[str, ...]] = ("active", "email")

    name: Annotated[str, Text(required=False)] = ""
    email: Annotated[str, Text(maximum=254)] = ""
    admin: Flag = False
    active: Flag = True


def members(by: Actor, *, search: str = "") -> QuerySet[Member]:
    require_admin(by)
    found = Member.objects.order_by("pk").prefetch_related("memberships", "second_factors")
    if search:
        found = found.filter(Q(email__icontains=search) | Q(name__icontains=search))
    return found


def find(by: Actor, member_id: int) -> Member:
    member = members(by).filter(pk=member_id).first()
    if member is None:
        raise NotFound("member")
    return member


def create(*, by: Actor, email: object, name: object = "", admin: bool = False) -> Member:
    """Add a member without a password; a sign-in link lets them in. Raises Invalid, Forbidden."""
    require_admin(by)
    problems = fields.Problems()
    address = _email(problems, email)
    shown = fields.text(problems, "name", name, required=False)
    problems.raise_if_any()
    member = Member(email=address, name=shown, admin=admin)
    member.set_unusable_password()
    try:
        with transaction.atomic():
            member.save()
            _record(by, "create", member)
    except IntegrityError:
        raise Invalid({"email": ["has already been taken"]}) from None
    return member


def _email(problems: fields.Problems, email: object) -> str:
    address = fields.text(problems, "email", email, maximum=254).lower()
    try:
        validate_email(address)
    except ValidationError:
        problems.add("email", "isn't a valid email address")
    return address


def change(
    *,
    by: Actor,
    member_id: int,
    given: MemberInput,
    if_match: str | None = None,
) -> Member:
    """Rename a member; make them an admin or not, active or not. One active admin always remains.

    Who loses a right loses with it the sessions, and the management tokens that rest on it, for good.
    Raises Invalid, Forbidden, NotFound, InUse, Stale.
    """
    require_admin(by)
    with transaction.atomic():
        member, others = _locked(member_id)
        etags.check(member, if_match)
        given.check_fixed(member)
        before, was, stored = _named(member), (member.admin, member.is_active), snapshot(member)
        given.assign(member)
        if given.has("active"):
            member.is_active = given.active
        if given.has("email"):
            problems = fields.Problems()
            member.email = _email(problems, given.email)
            problems.raise_if_any()
        if snapshot(member) == stored:
            return member
        if not others and was == (True, True) and not (member.admin and member.is_active):
            raise InUse(LAST_ADMIN)
        if Member.objects.filter(email=member.email).exclude(pk=member.pk).exists():
            raise Invalid({"email": ["has already been taken"]})
        member.save(update_fields=["name", "email", "admin", "is_active", "updated_at"])
        _record(by, "change", member, before=before)
        if (was[0] and not member.admin) or (was[1] and not member.is_active):
            _end_rights(by, member)
    return member


def _locked(member_id: int) -> tuple[Member, bool]:
    """A member, and whether there is another active admin; locked, so that one remains."""
    admins = list(Member.objects.select_for_update().filter(admin=True, is_active=True))
    member = Member.objects.select_for_update().filter(pk=member_id).first()
    if member is None:
        raise NotFound("member")
    return member, any(admin.pk != member.pk for admin in admins)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeletedMember:
    """What ended with a member."""

    sessions: int
    tokens: Sequence[int]


def delete(*, by: Actor, member_id: int, if_match: str | None = None) -> DeletedMember:
    """Delete a member with all that is theirs alone: sessions, links, second factors and roles.

    Management tokens that they made, or that were made with those, are revoked. What they did stays
    in the audit log, under their name. Raises Forbidden, NotFound, InUse, Stale.
    """
    require_admin(by)
    with transaction.atomic():
        member, others = _locked(member_id)
        etags.check(member, if_match)
        if member.admin and member.is_active and not others:
            raise InUse(LAST_ADMIN)
        revoked = management_tokens.end_those_of(
            member, by, f"{member.email}, who made it, was deleted"
        )
        sessions = MemberSession.objects.filter(member=member, expires_at__gt=timezone.now())
        deleted = DeletedMember(
            sessions=sessions.count(), tokens=sorted(token.pk for token in revoked)
        )
        _record(by, "delete", member)
        member.delete()
    return deleted


def _end_rights(by: Actor, member: Member) -> None:
    """End what was made or begun with a right that the member has lost, lest it come back with it."""
    MemberSession.objects.filter(member=member).delete()
    SignInLink.objects.filter(member=member, used_at=None).delete()
    lost = "is no longer a workspace admin" if member.is_active else "was deactivated"
    management_tokens.end_those_of(member, by, f"{member.email}, who made it, {lost}")


def set_role(
    *, by: Actor, member_id: int, project_id: int, role: object, if_match: str | None = None
) -> None:
    """Give a member a role in a project, or with nothing take it away.

    An owner changes the roles of those who have one; others are invited by their address. Raises
    NotFound, Invalid, Forbidden.
    """
    require(by, Role.OWNER, project_id)
    problems = fields.Problems()
    chosen = role and fields.choice(problems, "role", role, [r.value for r in Role])
    problems.raise_if_any()
    with transaction.atomic():
        member = Member.objects.filter(pk=member_id).first()
        project = Project.objects.filter(pk=project_id).first()
        if member is None or project is None:
            raise NotFound("member")
        if not (by.admin or Membership.objects.filter(member=member, project=project).exists()):
            # Ids can be tried one by one, and the audit log names the member.
            raise NotFound("member")
        etags.check(member, if_match)
        _set_role(by, member, project, str(chosen or ""))


def _set_role(by: Actor, member: Member, project: Project, role: str) -> None:
    found = Membership.objects.filter(member=member, project=project)
    if role == (found.values_list("role", flat=True).first() or ""):
        return
    if role:
        Membership.objects.update_or_create(member=member, project=project, defaults={"role": role})
    else:
        found.delete()
    # The roles are shown with the member, so they are part of its version.
    Member.objects.filter(pk=member.pk).update(updated_at=timezone.now())
    _record(by, "role", member, project_id=project.pk, role=role or "none")


def of_project(by: Actor, project_id: int) -> QuerySet[Membership]:
    """Who has a role in a project, for its owners; admins have every role and are not among them."""
    require(by, Role.OWNER, project_id)
    found = Membership.objects.filter(project_id=project_id)
    return found.select_related("member").order_by("member__email")


def invite(*, by: Actor, project_id: int, email: str, role: object) -> None:
    """Give the member with this address a role in a project, or with nothing take it away.

    Raises Invalid if there is no such member.
    """
    require(by, Role.OWNER, project_id)
    problems = fields.Problems()
    chosen = role and fields.choice(problems, "role", role, [r.value for r in Role])
    member = Member.objects.filter(email=email.strip().lower()).first()
    if member is None:
        problems.add("email", "isn't a member's; a workspace admin can add them")
    problems.raise_if_any()
    with transaction.atomic():
        project = Project.objects.filter(pk=project_id).first()
        if member is None or project is None:
            raise NotFound("project")
        _set_role(by, member, project, str(chosen or ""))


def actor_of(member: Member, address: str) -> Actor:
    """What a signed-in member may do."""
    roles = {m.project_id: Role(m.role) for m in member.memberships.all()}
    return Actor(
        kind="member",
        id=member.pk,
        name=member.name or member.email,
        admin=member.admin,
        roles=roles,
        address=address,
    )


def end_sessions(*, by: Actor, member: Member) -> Member:
    """Sign a member out everywhere; members may do so for themselves."""
    if by.kind != "member" or by.id != member.pk:
        require_admin(by)
    with transaction.atomic():
        Member.objects.filter(pk=member.pk).update(session_version=F("session_version") + 1)
        MemberSession.objects.filter(member=member).delete()
        _record(by, "end_sessions", member)
    member.refresh_from_db(fields=["session_version"])
    return member


def create_link(*, by: Actor, member: Member) -> Secret:
    """A one-time sign-in secret, good for 24 hours; older unused ones die."""
    require_admin(by)
    secret = tokens.issue_sign_in()
    with transaction.atomic():
        SignInLink.objects.filter(member=member, used_at=None).delete()
        SignInLink.objects.create(
            member=member,
            fingerprint=tokens.fingerprint(secret.reveal()),
            expires_at=timezone.now() + LINK_LIFE,
        )
        _record(by, "link", member)
    return secret


def issue_link(*, by: Actor, email: str) -> Secret:
    """A new sign-in secret for the member with this address; raises NotFound."""
    return create_link(by=by, member=by_email(email))


def by_email(email: str) -> Member:
    """The member with this address; raises NotFound."""
    member = Member.objects.filter(email=email.strip().lower()).first()
    if member is None:
        raise NotFound("member")
    return member


def redeem_link(text: str) -> Member | None:
    """Use a sign-in secret up; of two who try at once, one gets in."""
    now = timezone.now()
    with transaction.atomic():
        link = (
            SignInLink.objects.select_for_update(of=("self",))
            .filter(fingerprint=tokens.fingerprint(text), used_at=None, expires_at__gt=now)
            .select_related("member")
            .first()
        )
        if link is None or not link.member.is_active:
            return None
        taken = SignInLink.objects.filter(pk=link.pk, used_at=None).update(used_at=now)
        return link.member if taken else None


def _named(member: Member) -> dict[str, object]:
    return {
        "name": member.name,
        "email": member.email,
        "admin": member.admin,
        "active": member.is_active,
    }


def _record(
    by: Actor,
    verb: str,
    member: Member,
    project_id: int | None = None,
    role: str = "",
    before: dict[str, object] | None = None,
) -> None:
    after: dict[str, object] = {"admin": member.admin, "active": member.is_active}
    if before is not None:
        after = _named(member)
    audit_log.record(
        by,
        f"member.{verb}",
        target_kind="member",
        target_id=member.pk,
        target_name=member.email,
        project_id=project_id,
        before=before,
        after=after | ({"role": role} if role else {}),
    )
