"""A member's second factors: authenticator apps, passkeys and recovery codes."""

import time
from dataclasses import dataclass

from django.db import transaction
from django.db.models import F, QuerySet
from django.utils import timezone

from ostiary import settings
from ostiary.directory.actor import Actor
from ostiary.directory.changes import audit_log, fields
from ostiary.directory.changes.errors import Forbidden, InUse, NotFound
from ostiary.directory.changes.permission import require_admin
from ostiary.directory.models import Member, MemberSession, RecoveryCode, SecondFactor
from ostiary.directory.models.sign_in import PASSKEY, TOTP
from ostiary.directory.workspace import workspace_settings
from ostiary.identity import one_time_codes, tokens
from ostiary.identity.passkeys import Passkey
from ostiary.identity.sealing import KeyRing
from ostiary.identity.secret import Secret

#: Most second factors of a member.
MOST = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """A new factor, and with the first one recovery codes, shown this once."""

    factor: SecondFactor
    recovery_codes: tuple[Secret, ...] = ()


def secret_context(factor_id: int) -> str:
    """Where the secret of an authenticator app is sealed to."""
    return f"second_factor:{factor_id}:sealed_secret"


def _ring() -> KeyRing:
    return KeyRing.load(settings.current().data / "keyring.json")


def of(member: Member) -> QuerySet[SecondFactor]:
    return SecondFactor.objects.filter(member=member).order_by("pk")


def are_required() -> bool:
    """Whether every member must have one."""
    return workspace_settings.read().require_second_factor


def find(member: Member, factor_id: int) -> SecondFactor:
    factor = of(member).filter(pk=factor_id).first()
    if factor is None:
        raise NotFound("second factor")
    return factor


def add_app(*, by: Actor, member: Member, name: object, secret: Secret, code: str) -> Added:
    """Add an authenticator app that shows the right code for `secret`; raises Invalid."""
    step = one_time_codes.step_of(secret, code, int(time.time()))
    problems = fields.Problems()
    if step is None:
        problems.add("code", "is not the one that the app shows now")
    factor = SecondFactor(member=member, kind=TOTP, last_step=step or 0)
    with transaction.atomic():
        added = _add(by, member, factor, name, problems)
        factor.sealed_secret = _ring().seal(secret.reveal(), secret_context(factor.pk))
        factor.save(update_fields=["sealed_secret"])
    return added


def add_passkey(*, by: Actor, member: Member, name: object, passkey: Passkey) -> Added:
    """Add a passkey whose registration was verified; raises Invalid."""
    problems = fields.Problems()
    fingerprint = tokens.digest(passkey.id)
    if SecondFactor.objects.filter(fingerprint=fingerprint).exists():
        problems.add("passkey", "is registered already")
    factor = SecondFactor(
        member=member,
        kind=PASSKEY,
        fingerprint=fingerprint,
        credential=passkey.credential,
        host=passkey.host,
        sign_count=passkey.sign_count,
    )
    with transaction.atomic():
        return _add(by, member, factor, name, problems)


def _add(
    by: Actor, member: Member, factor: SecondFactor, name: object, problems: fields.Problems
) -> Added:
    """Save it. With the first one, sessions that began without it end."""
    Member.objects.select_for_update().get(pk=member.pk)
    count = of(member).count()
    factor.name = fields.text(problems, "name", name, maximum=64)
    if of(member).filter(name__iexact=factor.name).exists():
        problems.add("name", "has already been taken")
    if count >= MOST:
        problems.add("name", f"can't be added: you already have {MOST}; remove one first")
    problems.raise_if_any()
    factor.save()
    _record(by, "second_factor_add", member, factor)
    if count:
        return Added(factor=factor)
    _end_sessions(member)
    return Added(factor=factor, recovery_codes=_new_codes(member))


def rename(*, by: Actor, member: Member, factor_id: int, name: object) -> None:
    problems = fields.Problems()
    with transaction.atomic():
        factor = find(member, factor_id)
        before, factor.name = factor.name, fields.text(problems, "name", name, maximum=64)
        if of(member).filter(name__iexact=factor.name).exclude(pk=factor.pk).exists():
            problems.add("name", "has already been taken")
        problems.raise_if_any()
        factor.save(update_fields=["name"])
        audit_log.record(
            by,
            "member.second_factor_rename",
            target_kind="member",
            target_id=member.pk,
            target_name=member.email,
            before={"name": before},
            after={"name": factor.name},
        )


def remove(*, by: Actor, member: Member, factor_id: int) -> None:
    """Take a factor away; the last one stays where the workspace asks for one. Raises InUse."""
    with transaction.atomic():
        Member.objects.select_for_update().get(pk=member.pk)
        factor = find(member, factor_id)
        if of(member).count() == 1:
            if are_required():
                raise InUse("This workspace asks for a second factor; add another one first")
            RecoveryCode.objects.filter(member=member).delete()
        _record(by, "second_factor_remove", member, factor)
        factor.delete()


def new_recovery_codes(*, by: Actor, member: Member) -> tuple[Secret, ...]:
    """Ten new codes; the older ones die."""
    with transaction.atomic():
        Member.objects.select_for_update().get(pk=member.pk)
        if not of(member).exists():
            raise InUse("Recovery codes go with a second factor; add one first")
        codes = _new_codes(member)
        _record(by, "recovery_codes", member)
    return codes


def _new_codes(member: Member) -> tuple[Secret, ...]:
    codes = one_time_codes.recovery_codes()
    RecoveryCode.objects.filter(member=member).delete()
    for code in codes:
        plain = one_time_codes.plain_recovery_code(code.reveal())
        RecoveryCode.objects.create(member=member, fingerprint=tokens.fingerprint(str(plain)))
    return codes


def codes_left(member: Member) -> int:
    return RecoveryCode.objects.filter(member=member, used_at=None).count()


def reset(*, by: Actor, member: Member) -> None:
    """Take every second factor from somebody who has lost them, and end their sessions.

    For admins and the command line; for oneself there is `remove`, which asks who is there.
    """
    require_admin(by)
    if by.kind == "member" and by.id == member.pk:
        raise Forbidden("Remove your own second factor on your account page")
    with transaction.atomic():
        Member.objects.select_for_update().get(pk=member.pk)
        gone = [f"{factor.kind}: {factor.name}" for factor in of(member)]
        of(member).delete()
        RecoveryCode.objects.filter(member=member).delete()
        _end_sessions(member)
        audit_log.record(
            by,
            "member.second_factor_reset",
            target_kind="member",
            target_id=member.pk,
            target_name=member.email,
            before={"second_factors": gone},
        )


def _end_sessions(member: Member) -> None:
    Member.objects.filter(pk=member.pk).update(session_version=F("session_version") + 1)
    MemberSession.objects.filter(member=member).delete()
    member.refresh_from_db(fields=["session_version"])


def use_code(member: Member, text: str) -> str | None:
    """Take a code of an app, or a recovery code, once; says which it was, or nothing."""
    now = timezone.now()
    plain = one_time_codes.plain_recovery_code(text)
    if plain is not None:
        unused = RecoveryCode.objects.filter(member=member, used_at=None)
        taken = unused.filter(fingerprint=tokens.fingerprint(plain)).update(used_at=now)
        return "recovery code" if taken else None
    ring = _ring()
    for factor in of(member).filter(kind=TOTP):
        secret = Secret(ring.open(factor.sealed_secret, secret_context(factor.pk)))
        step = one_time_codes.step_of(secret, text, int(now.timestamp()))
        # In SQL: of two who send the same code at once, one gets in.
        fresh = SecondFactor.objects.filter(pk=factor.pk, last_step__lt=step or 0)
        if step is not None and fresh.update(last_step=step, last_used_at=now):
            return "authenticator app"
    return None


def passkeys(member: Member, host: str) -> list[bytes]:
    """The member's passkeys that were made for a host."""
    return [bytes(f.credential) for f in of(member).filter(kind=PASSKEY, host=host)]


def any_passkey(host: str) -> bool:
    """Whether any member has a passkey for a host."""
    return SecondFactor.objects.filter(kind=PASSKEY, host=host).exists()


def passkey(passkey_id: bytes, host: str) -> SecondFactor | None:
    """The passkey with this id, of an active member."""
    return (
        SecondFactor.objects.filter(
            fingerprint=tokens.digest(passkey_id), host=host, member__is_active=True
        )
        .select_related("member")
        .first()
    )


def use_passkey(factor: SecondFactor, sign_count: int) -> bool:
    """Note that a passkey signed; false if its count says that there is a copy of it."""
    found = SecondFactor.objects.filter(pk=factor.pk)
    if sign_count or factor.sign_count:
        # WebAuthn level 3, section 7.2, step 22.
        found = found.filter(sign_count__lt=sign_count)
    return bool(found.update(sign_count=sign_count, last_used_at=timezone.now()))


def _record(by: Actor, verb: str, member: Member, factor: SecondFactor | None = None) -> None:
    after = {"kind": factor.kind, "name": factor.name} if factor else {}
    audit_log.record(
        by,
        f"member.{verb}",
        target_kind="member",
        target_id=member.pk,
        target_name=member.email,
        after=after,
    )
