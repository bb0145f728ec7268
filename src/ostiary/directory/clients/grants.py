"""What lets consumers in: choosing collections and a policy, with the right to grant them."""

from collections.abc import Collection as Ids
from collections.abc import Sequence

from django.utils import timezone

from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes.inputs import Problems
from ostiary.directory.clients import policies
from ostiary.directory.models import AccessProfile, Collection, Policy


def collections(
    by: Actor, problems: Problems, wanted: Sequence[int], *, held: Ids[int]
) -> list[Collection]:
    """The chosen collections. Those that are `held` already may be out of the editor's sight."""
    ids = set(wanted)
    kept = {c.pk: c for c in Collection.objects.filter(pk__in=ids & set(held))}
    seen = {c.pk: c for c in Collection.objects.visible_to(by).filter(pk__in=ids)}
    found = seen | kept
    missing = sorted(ids - set(found))
    if missing:
        problems.add("collection_ids", f"there is no API collection {missing[0]}", code="unknown")
    for pk in sorted(set(seen) - set(kept)):
        # To call is more than to read: who may read a collection must not let consumers in.
        if not by.may(Role.EDITOR, seen[pk].project_id):
            problems.add(
                "collection_ids",
                f"granting the API collection {pk} needs the role editor in its project",
                code="forbidden",
            )
    return list(found.values())


def policy(by: Actor, problems: Problems, policy_id: int | None, project_id: int) -> Policy | None:
    """A policy that objects of a project may have; none for null."""
    if policy_id is None:
        return None
    found = policies.usable_in(by, project_id).filter(pk=policy_id).first()
    if found is None:
        problems.add("policy_id", "there is no such policy", code="unknown")
    return found


def set_policy(
    by: Actor, problems: Problems, profile: AccessProfile, policy_id: int | None
) -> None:
    """Give a profile the policy that was chosen, or none; the one that it has may stay anyway."""
    if policy_id == profile.policy_id:
        return
    chosen = policy(by, problems, policy_id, profile.client.project_id)
    if chosen is not None or policy_id is None:
        put_policy(profile, chosen)


def put_policy(profile: AccessProfile, chosen: Policy | None) -> None:
    """Give a profile a policy; periods of its quota count from now."""
    if (chosen.pk if chosen else None) != profile.policy_id:
        # What was raised was a limit of the policy before.
        profile.raised_limits, profile.raised_until = {}, None
    if chosen is None:
        profile.policy = profile.policy_since = None
    elif chosen.pk != profile.policy_id:
        profile.policy, profile.policy_since = chosen, timezone.now()
