"""Many credentials revoked at once, of however many access profiles: one transaction, confirmed once."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

from django.db import transaction
from django.utils import timezone

from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import audit_log, feed
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.inputs import IdType, Input, ListOf, Problems
from ostiary.directory.changes.permission import require
from ostiary.directory.models import AccessProfile, Credential
from ostiary.directory.webhooks import events

#: Credentials of one call.
MOST = 1000


class RevokeInput(Input):
    """Which credentials to revoke."""

    apart: ClassVar[tuple[str, ...]] = ("credential_ids",)

    credential_ids: Annotated[list[int], ListOf(each=IdType(), most=MOST, required=True)] = []


def revoke(*, by: Actor, given: RevokeInput) -> Saved[list[int]]:
    """Revoke credentials, all or none; returns the ids of those that were not revoked before.

    Raises Invalid, Forbidden.
    """
    given.check_complete()
    problems = Problems(RevokeInput)
    with transaction.atomic():
        seen = Credential.objects.visible_to(by).filter(trial=False, pk__in=given.credential_ids)
        owners = set(seen.values_list("profile_id", flat=True))
        # Profiles first, as whoever changes one locks it: nobody waits for the other.
        profiles = AccessProfile.objects.filter(pk__in=owners).select_related("client")
        profiles = profiles.defer("client__logo_small", "client__logo_medium")
        locked = {each.pk: each for each in profiles.select_for_update(of=("self",)).order_by("pk")}
        rows = {each.pk: each for each in seen.order_by("pk") if each.profile_id in locked}
        for missing in sorted(set(given.credential_ids) - set(rows)):
            problems.add("credential_ids", f"there is no credential {missing}", code="unknown")
        problems.raise_if_any()
        for project in sorted({each.client.project_id for each in locked.values()}):
            require(by, Role.EDITOR, project)
        revoked = [each for each in rows.values() if each.revoked_at is None]
        sequence = _revoke(by, revoked, locked)
    return Saved(value=[each.pk for each in revoked], sequence=sequence)


def _revoke(by: Actor, rows: Sequence[Credential], profiles: dict[int, AccessProfile]) -> int:
    now = timezone.now()
    Credential.objects.filter(pk__in=[each.pk for each in rows]).update(revoked_at=now)
    of_profiles: dict[int, list[Credential]] = {}
    for each in rows:
        each.revoked_at = now
        of_profiles.setdefault(each.profile_id, []).append(each)
    sequence = 0
    for profile_id, own in of_profiles.items():
        sequence = _announced(by, profiles[profile_id], own)
    return sequence


def _announced(by: Actor, profile: AccessProfile, own: Sequence[Credential]) -> int:
    events.of_credentials(events.EventType.CREDENTIAL_REVOKED, profile, lambda: own, by)
    for each in own:
        audit_log.record(
            by, "credential.cut_off", target_kind="profile", target_id=profile.pk,
            target_name=profile.name, project_id=profile.client.project_id,
            after={"credential_id": each.pk},
        )  # fmt: skip
    profile.epoch = feed.announce(feed.Kind.PROFILE, profile.pk)
    profile.save(update_fields=["epoch", "updated_at"])
    return profile.epoch
