"""Management tokens: what scripts use the management API with.

A token never has more rights than whoever made it, now or later: it ends with that member's or token's
own. An empty list of projects means none; a role in every project is a flag of its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, ClassVar

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from ostiary.directory import states
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import audit_log, etags, fields, inputs
from ostiary.directory.changes.errors import Forbidden, InUse, Invalid, NotFound
from ostiary.directory.changes.permission import require_admin
from ostiary.directory.changes.snapshots import snapshot
from ostiary.directory.models import ManagementToken, Member, Project
from ostiary.directory.workspace import workspace_settings
from ostiary.identity import tokens
from ostiary.identity.secret import Secret

#: How often, in seconds, the time of last use is written.
USE_RESOLUTION = 60
#: Seconds that a rotated secret may go on working.
LONGEST_OVERLAP = 30 * 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedManagementToken:
    """A new token and its secret, which is shown this once."""

    token: ManagementToken
    secret: Secret


class TokenInput(inputs.Input):
    """What can be changed of a token; `expires_at` null: it does not expire."""

    required: ClassVar[tuple[str, ...]] = ("name",)

    name: inputs.Name = ""
    #: In the future, but for one that is stored already.
    expires_at: Annotated[datetime | None, inputs.AnyTime()] = None


def management_tokens(by: Actor, *, search: str = "") -> QuerySet[ManagementToken]:
    require_admin(by)
    found = ManagementToken.objects.order_by("pk").select_related("created_by")
    found = found.prefetch_related("projects")
    return found.filter(name__icontains=search) if search else found


def find(by: Actor, token_id: int) -> ManagementToken:
    """A token, for admins, and for the token itself; raises NotFound, Forbidden."""
    if not _is(by, token_id):
        require_admin(by)
    token = ManagementToken.objects.filter(pk=token_id).prefetch_related("projects").first()
    if token is None:
        raise NotFound("token")
    return token


def _is(by: Actor, token_id: int) -> bool:
    return by.kind == "token" and by.id == token_id


def _require_current(by: Actor) -> None:
    """Raise Forbidden for an old secret: what it issues would outlive its overlap."""
    if by.superseded:
        raise Forbidden("The secret of this call was replaced; use the newer one for this")


def create(
    *,
    by: Actor,
    name: object,
    admin: bool = True,
    role: object = None,
    everywhere: bool = False,
    project_ids: Sequence[int] = (),
    expires_at: datetime | None = None,
    everlasting: bool = False,
) -> IssuedManagementToken:
    """Make an admin's token, or one with a role: in projects, or everywhere.

    It expires as the workspace says if no end is named, unless it is to be everlasting. One that a
    token makes ends with that token. Raises Invalid, Forbidden.
    """
    require_admin(by)
    _require_current(by)
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
        token.expires_at = fields.moment(problems, "expires_at", expires_at)
        _set_maker(problems, by, token, defaulted=expires_at is None and not everlasting)
        problems.raise_if_any()
        secret = _issue(token)
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


def _issue(token: ManagementToken) -> Secret:
    secret = tokens.issue_management_token()
    text = secret.reveal()
    token.fingerprint = tokens.fingerprint(text)
    token.prefix, token.last_four = tokens.prefix_of(text), tokens.last_four(text)
    return secret


def _set_maker(
    problems: fields.Problems, by: Actor, token: ManagementToken, *, defaulted: bool
) -> None:
    """Note who made it, and check its end; one that a token makes may not outlive that one."""
    maker = None
    if by.kind == "member":
        # Locked and read again: a member who is demoted meanwhile must not keep an admin's token.
        member = Member.objects.select_for_update().filter(
            pk=by.id or 0, is_active=True, admin=True
        )
        token.created_by = member.first()
        if token.created_by is None:
            raise Forbidden("Only a workspace admin may do this")
    if by.kind == "token":
        maker = _locked(by.id or 0)
        if maker.revoked_at is not None:
            raise NotFound("token")
        token.made_by, token.created_by_id = maker, maker.created_by_id
    if defaulted:
        days = workspace_settings.read().token_default_days
        ends = [maker.expires_at] if maker and maker.expires_at else []
        token.expires_at = min([timezone.now() + timedelta(days=days), *ends])
    _check_end(problems, by, token.expires_at, (maker,))


def _check_end(
    problems: fields.Problems,
    by: Actor,
    expires_at: datetime | None,
    makers: Iterable[ManagementToken | None],
) -> None:
    """Note a problem if a token would outlive what it rests on, or live longer than any may.

    Whoever has the machine may exceed the longest life: there is no higher right.
    """
    for maker in makers:
        latest = maker.expires_at if maker else None
        if latest is not None and (expires_at is None or expires_at > latest):
            ends = latest.strftime("%Y-%m-%d %H:%M:%S UTC")
            problems.add(
                "expires_at", f"must not be later than the end of the token in use, {ends}"
            )
    days = workspace_settings.read().token_longest_days
    if not days or by.kind == "system":
        return
    # A minute for the caller's clock: "in as many days" is what scripts calculate.
    if expires_at is None or expires_at > timezone.now() + timedelta(days=days, minutes=1):
        problems.add(
            "expires_at", f"must be at most {days} days from now, the longest life of a token here"
        )


def _locked(token_id: int) -> ManagementToken:
    token = ManagementToken.objects.select_for_update().filter(pk=token_id).first()
    if token is None:
        raise NotFound("token")
    return token


def _end_of(token: ManagementToken) -> str:
    """How it has ended, a sentence: it must not come back. Empty: it has not."""
    if token.revoked_at is not None:
        return "The token was revoked; make another one"
    if token.expires_at is not None and token.expires_at <= timezone.now():
        return "The token has expired; make another one"
    return ""


def _check_alive(token: ManagementToken) -> None:
    if ended := _end_of(token):
        raise InUse(ended)


def change(
    *, by: Actor, token_id: int, given: TokenInput, if_match: str | None = None
) -> ManagementToken:
    """Change name and expiry. Tokens that it made end no later than it.

    A token that has ended stays so. Raises Invalid, Forbidden, NotFound, InUse, Stale.
    """
    require_admin(by)
    with transaction.atomic():
        token = _locked(token_id)
        etags.check(token, if_match)
        given.check_fixed(token)
        stored, ended = snapshot(token), _end_of(token)
        before = _shown(token) | {"name": token.name}
        problems = inputs.Problems(TokenInput)
        sent = given.expires_at
        if sent is not None and not inputs.same_time(sent, token.expires_at):
            problems.check("expires_at", lambda: inputs.Moment().checked(sent))
        if given.has("expires_at") and not inputs.same_time(sent, token.expires_at):
            caller = _locked(by.id or 0) if by.kind == "token" else None
            _check_end(problems, by, given.expires_at, (token.made_by, caller))
        problems.raise_if_any()
        given.assign(token)
        if snapshot(token) == stored:
            return find(by, token_id)
        if ended:
            raise InUse(ended)
        token.save(update_fields=["name", "expires_at", "updated_at"])
        _record(by, "change", token, before=before, after=_shown(token) | {"name": token.name})
        _shorten(by, token)
    return find(by, token_id)


def _shorten(by: Actor, token: ManagementToken) -> None:
    """Let what a token made end with it."""
    if token.expires_at is None:
        return
    later = Q(expires_at=None) | Q(expires_at__gt=token.expires_at)
    for made in ManagementToken.objects.select_for_update().filter(later, made_by=token):
        before = _shown(made)
        made.expires_at = token.expires_at
        made.save(update_fields=["expires_at", "updated_at"])
        _record(by, "change", made, before=before, after=_shown(made))
        _shorten(by, made)


def rotate(
    *, by: Actor, token_id: int, overlap_seconds: int = 0, if_match: str | None = None
) -> IssuedManagementToken:
    """Give a token a new secret; the one before works for the overlap, and an older one no more.

    For the token itself and whoever made it: to others the secret would be a right that does not end
    with their own. Its role and expiry stay. Raises Invalid, Forbidden, NotFound, InUse, Stale.
    """
    if not 0 <= overlap_seconds <= LONGEST_OVERLAP:
        raise Invalid({"overlap_seconds": [f"must be from 0 to {LONGEST_OVERLAP}"]})
    if not _is(by, token_id):
        require_admin(by)
    _require_current(by)
    with transaction.atomic():
        token = _locked(token_id)
        etags.check(token, if_match)
        if not _made(by, token):
            raise Forbidden(
                "Only whoever made a token may rotate it; make another one, and revoke this one"
            )
        _check_alive(token)
        token.previous_fingerprint = token.previous_until = None
        if overlap_seconds:
            token.previous_fingerprint = token.fingerprint
            token.previous_until = timezone.now() + timedelta(seconds=overlap_seconds)
        secret = _issue(token)
        token.save()
        _record(by, "rotate", token, after={"overlap_seconds": overlap_seconds})
    return IssuedManagementToken(token=find(by, token_id), secret=secret)


def _made(by: Actor, token: ManagementToken) -> bool:
    match by.kind:
        case "token":
            return by.id in {token.pk, token.made_by_id}
        case "member":
            return by.id == token.created_by_id
    return True


def revoke(*, by: Actor, token_id: int, if_match: str | None = None) -> list[ManagementToken]:
    """Revoke a token and those made with it; none of them works any more when this returns."""
    require_admin(by)
    with transaction.atomic():
        token = _locked(token_id)
        etags.check(token, if_match)
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
        token.save(update_fields=["updated_at"])
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
            token.save(update_fields=["revoked_at", "updated_at"])
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
        ManagementToken.objects.filter(_has(tokens.fingerprint(text), now), revoked_at=None)
        .filter(Q(expires_at=None) | Q(expires_at__gt=now))
        .filter(states.MAKER_MAY)
        .prefetch_related("projects")
        .first()
    )
    if token is None:
        return None
    used = token.last_used_at
    if used is None or now - used > timedelta(seconds=USE_RESOLUTION):
        ManagementToken.objects.filter(pk=token.pk).update(last_used_at=now)
    superseded = bytes(token.fingerprint) != tokens.fingerprint(text)
    return replace(_actor(token, address), superseded=superseded)


def _has(fingerprint: bytes, now: datetime) -> Q:
    """Tokens with this secret, or with it as the one before a rotation that still works."""
    return Q(fingerprint=fingerprint) | Q(previous_fingerprint=fingerprint, previous_until__gt=now)


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
