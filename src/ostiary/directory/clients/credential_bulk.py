"""Credentials revoked or given an end, also many of however many profiles: one transaction, confirmed once."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, ClassVar

from django.db import transaction
from django.utils import timezone

from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import audit_log, etags, feed
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import Invalid, Problem
from ostiary.directory.changes.inputs import IdType, Input, ListOf, Moment, Problems
from ostiary.directory.changes.permission import require
from ostiary.directory.clients import credentials
from ostiary.directory.models import AccessProfile, Credential
from ostiary.directory.webhooks import events

#: Credentials of one call.
MOST = 1000


class RevokeInput(Input):
    """Which credentials to revoke."""

    apart: ClassVar[tuple[str, ...]] = ("credential_ids",)

    credential_ids: Annotated[list[int], ListOf(each=IdType(), most=MOST, required=True)] = []


class CredentialInput(Input):
    """What can be changed of a credential."""

    apart: ClassVar[tuple[str, ...]] = ("expires_at",)

    #: Null: never.
    expires_at: Annotated[datetime | None, Moment()] = None


class ExpiryInput(CredentialInput):
    """Which credentials end, and when."""

    apart: ClassVar[tuple[str, ...]] = ("credential_ids", "expires_at")

    credential_ids: Annotated[list[int], ListOf(each=IdType(), most=MOST, required=True)] = []


def change(
    *, by: Actor, credential_id: int, given: CredentialInput, if_match: str | None = None
) -> Saved[list[int]]:
    """Give one credential an end, or lift it, as `set_expiry` does; its version is its profile's.

    Raises NotFound, Forbidden, Stale, and Invalid for one that is revoked.
    """
    with transaction.atomic():
        owner = credentials.find(by, credential_id).profile
        require(by, Role.EDITOR, owner.client.project_id)
        etags.check(AccessProfile.objects.select_for_update().get(pk=owner.pk), if_match)
        found = credentials.find(by, credential_id)
        given.check_fixed(found)
        if not given.has("expires_at") or given.expires_at == found.expires_at:
            return Saved(value=[], sequence=0)
        if found.revoked_at is not None:
            sentence = "can't be set: the credential is revoked"
            raise Invalid([Problem(field="expires_at", code="invalid", sentence=sentence)])
        end = ExpiryInput.of(credential_ids=[found.pk], expires_at=given.expires_at)
        return set_expiry(by=by, given=end)


def set_expiry(*, by: Actor, given: ExpiryInput) -> Saved[list[int]]:
    """Give credentials an end, or lift it, all or none; returns the ids of those that changed.

    One that has ended by its old expiry works again. A revoked one stays revoked. Raises Invalid, Forbidden.
    """
    given.check_complete()
    with transaction.atomic():
        rows, profiles = _locked(by, Problems(ExpiryInput), given.credential_ids)
        changed = [
            each for each in rows if each.revoked_at is None and each.expires_at != given.expires_at
        ]
        Credential.objects.filter(pk__in=[each.pk for each in changed]).update(
            expires_at=given.expires_at
        )
        sequence = 0
        for profile_id, own in _by_profile(changed).items():
            profile = profiles[profile_id]
            for each in own:
                _record(
                    by, "credential.expiry", profile, each,
                    before={"expires_at": _shown(each.expires_at)},
                    after={"expires_at": _shown(given.expires_at)},
                )  # fmt: skip
            sequence = _announced(profile)
    return Saved(value=[each.pk for each in changed], sequence=sequence)


def revoke(*, by: Actor, given: RevokeInput) -> Saved[list[int]]:
    """Revoke credentials, all or none; returns the ids of those that were not revoked before.

    Raises Invalid, Forbidden.
    """
    given.check_complete()
    with transaction.atomic():
        rows, profiles = _locked(by, Problems(RevokeInput), given.credential_ids)
        revoked = [each for each in rows if each.revoked_at is None]
        now = timezone.now()
        Credential.objects.filter(pk__in=[each.pk for each in revoked]).update(revoked_at=now)
        sequence = 0
        for profile_id, own in _by_profile(revoked).items():
            profile = profiles[profile_id]
            for each in own:
                each.revoked_at = now
            _say_revoked(by, profile, own)
            sequence = _announced(profile)
    return Saved(value=[each.pk for each in revoked], sequence=sequence)


def _locked(
    by: Actor, problems: Problems, ids: Sequence[int]
) -> tuple[list[Credential], Mapping[int, AccessProfile]]:
    """Credentials that `by` may change, and their profiles, locked."""
    seen = credentials.credentials(by).filter(pk__in=ids)
    owners = set(seen.values_list("profile_id", flat=True))
    # Profiles first, as whoever changes one locks it: nobody waits for the other.
    profiles = AccessProfile.objects.filter(pk__in=owners).select_related("client")
    profiles = profiles.defer("client__logo_small", "client__logo_medium")
    locked = {each.pk: each for each in profiles.select_for_update(of=("self",)).order_by("pk")}
    rows = {each.pk: each for each in seen.order_by("pk") if each.profile_id in locked}
    for missing in sorted(set(ids) - set(rows)):
        problems.add("credential_ids", f"there is no credential {missing}", code="unknown")
    problems.raise_if_any()
    for project in sorted({each.client.project_id for each in locked.values()}):
        require(by, Role.EDITOR, project)
    return list(rows.values()), locked


def _by_profile(rows: Iterable[Credential]) -> Mapping[int, list[Credential]]:
    found: dict[int, list[Credential]] = {}
    for each in rows:
        found.setdefault(each.profile_id, []).append(each)
    return found


def _say_revoked(by: Actor, profile: AccessProfile, own: Sequence[Credential]) -> None:
    events.of_credentials(events.EventType.CREDENTIAL_REVOKED, profile, lambda: own, by)
    for each in own:
        _record(by, "credential.cut_off", profile, each)


def _record(
    by: Actor,
    action: str,
    profile: AccessProfile,
    credential: Credential,
    *,
    before: Mapping[str, object] | None = None,
    after: Mapping[str, object] | None = None,
) -> None:
    audit_log.record(
        by, action, target_kind="profile", target_id=profile.pk, target_name=profile.name,
        project_id=profile.client.project_id, before=before,
        after={"credential_id": credential.pk, **(after or {})},
    )  # fmt: skip


def _shown(at: datetime | None) -> str | None:
    return at.isoformat() if at else None


def _announced(profile: AccessProfile) -> int:
    profile.epoch = feed.announce(feed.Kind.PROFILE, profile.pk)
    profile.save(update_fields=["epoch", "updated_at"])
    return profile.epoch
