"""Signing in, as the directory sees it: passwords, sessions, and what the audit log says of both."""

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from ostiary.directory.actor import Actor
from ostiary.directory.changes import audit_log
from ostiary.directory.changes.errors import Invalid, NotFound
from ostiary.directory.models import Member, MemberSession


def signed_in(*, by: Actor, member: Member, steps: list[str]) -> None:
    """Note that a member has passed every step."""
    with transaction.atomic():
        audit_log.record(
            by,
            "member.sign_in",
            target_kind="member",
            target_id=member.pk,
            target_name=member.email,
            after={"by": steps},
        )


def refused(*, email: str, address: str, step: str) -> None:
    """Note a wrong try of somebody who has to wait already.

    What was typed as an address is not kept unless it is a member's: it may be a password.
    """
    member = Member.objects.filter(email=email).first()
    stranger = Actor(kind="system", id=None, name="Somebody", address=address)
    with transaction.atomic():
        audit_log.record(
            stranger,
            "member.sign_in_refused",
            target_kind="member",
            target_id=member.pk if member else None,
            target_name=member.email if member else "no member",
            after={"step": step},
        )


def set_password(*, by: Actor, member: Member, password: str, again: str) -> None:
    """Give a member a new password, which ends all of their sessions; raises Invalid."""
    if password != again:
        raise Invalid({"again": ["The two passwords differ."]})
    try:
        validate_password(password, member)
    except ValidationError as error:
        raise Invalid({"password": error.messages}) from None
    with transaction.atomic():
        member.set_password(password)
        member.save(update_fields=["password", "updated_at"])
        MemberSession.objects.filter(member=member).delete()
        audit_log.record(
            by,
            "member.password",
            target_kind="member",
            target_id=member.pk,
            target_name=member.email,
        )


def sessions(member: Member) -> QuerySet[MemberSession]:
    """Where a member is signed in, the latest first."""
    found = MemberSession.objects.filter(member=member, expires_at__gt=timezone.now())
    return found.order_by("-signed_in_at")


def end_session(*, by: Actor, member: Member, digest: str) -> None:
    """End one of the member's own sessions; raises NotFound."""
    with transaction.atomic():
        gone, _ = MemberSession.objects.filter(member=member, digest=digest).delete()
        if not gone:
            raise NotFound("session")
        audit_log.record(
            by,
            "member.session_end",
            target_kind="member",
            target_id=member.pk,
            target_name=member.email,
        )
