"""Many access profiles at once: switched, moved or labelled together, in one transaction that is confirmed once."""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar

from django.db import transaction
from pydantic import Field

from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import audit_log, feed, keys
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import Invalid, NotFound
from ostiary.directory.changes.inputs import (
    FlagOrNull,
    IdOrNull,
    IdType,
    Input,
    ListOf,
    Problems,
    Text,
)
from ostiary.directory.changes.permission import require
from ostiary.directory.clients import access_profiles, clients
from ostiary.directory.models import AccessProfile, Client

#: Profiles of one call.
MOST = 1000


class BulkInput(Input):
    """What to change of many access profiles: what is left out stays."""

    apart: ClassVar[tuple[str, ...]] = (
        "profile_ids", "active", "client_id", "labels", "without_labels",
    )  # fmt: skip

    profile_ids: Annotated[list[int], ListOf(each=IdType(), most=MOST, required=True)] = Field(
        [], alias="access_profile_ids"
    )
    #: Switch them on or off.
    active: FlagOrNull = None
    #: Move them to this client of their project.
    client_id: IdOrNull = Field(None, alias="api_client_id")
    #: Labels to give them; others stay.
    labels: keys.Labels = {}
    #: Names of labels to take from them.
    without_labels: Annotated[list[str], ListOf(each=Text(), most=keys.MOST_LABELS)] = []

    @property
    def is_empty(self) -> bool:
        return self.active is None and self.client_id is None and not self.sets_labels

    @property
    def sets_labels(self) -> bool:
        return bool(self.labels or self.without_labels)

    def labelled(self, before: Mapping[str, str]) -> dict[str, str]:
        """The labels of a profile with those that are given, and without those that are taken."""
        left = {name: text for name, text in before.items() if name not in self.without_labels}
        return {**left, **self.labels}


def change(*, by: Actor, given: BulkInput) -> Saved[list[int]]:
    """Switch, move or label access profiles, all or none; returns the ids of those that changed.

    Raises Invalid with each that does not fit, Forbidden, NotFound.
    """
    problems = Problems(BulkInput)
    if given.is_empty:
        sentence = "say what to change: active, api_client_id, labels or without_labels"
        problems.add("active", sentence, code="missing")
    problems.raise_if_any()
    with transaction.atomic():
        profiles = _locked(by, problems, given.profile_ids)
        client = _client(by, given.client_id)
        changed = [profile for profile in profiles if _is_changed(problems, profile, given, client)]
        problems.raise_if_any()
        sequence = 0
        for profile in changed:
            sequence = _save(by, profile, given, client)
    return Saved(value=[profile.pk for profile in changed], sequence=sequence)


def _locked(by: Actor, problems: Problems, ids: Sequence[int]) -> list[AccessProfile]:
    """The profiles by id, locked in one order: two who change the same do not wait for each other."""
    seen = AccessProfile.objects.visible_to(by).filter(pk__in=ids)
    rows = {each.pk: each for each in seen.select_for_update().order_by("pk")}
    for missing in sorted(set(ids) - set(rows)):
        problems.add("profile_ids", f"there is no access profile {missing}", code="unknown")
    problems.raise_if_any()
    named = Client.objects.defer("logo_small", "logo_medium").in_bulk(
        {each.client_id for each in rows.values()}
    )
    for each in rows.values():
        each.client = named[each.client_id]
    for project in sorted({each.client.project_id for each in rows.values()}):
        require(by, Role.EDITOR, project)
    return list(rows.values())


def _client(by: Actor, client_id: int | None) -> Client | None:
    if client_id is None:
        return None
    try:
        client = clients.find(by, client_id)
    except NotFound:
        raise Invalid({"client_id": [f"there is no client {client_id}"]}, noun=BulkInput) from None
    require(by, Role.EDITOR, client.project_id)
    return client


def _is_changed(
    problems: Problems, profile: AccessProfile, given: BulkInput, client: Client | None
) -> bool:
    moved = client is not None and client.pk != profile.client_id
    if client is not None and client.project_id != profile.client.project_id:
        # What limits and names it belongs to a project: move its client instead.
        problems.add(
            "client_id", f"the access profile {profile.name} is in another project than that client"
        )
    elif moved and profile.follows_client:
        problems.add("client_id", f"the access profile {profile.name} follows its client")
    labels = given.labelled(profile.labels)
    if len(labels) > keys.MOST_LABELS:
        problems.add("labels", f"{profile.name} would have more than {keys.MOST_LABELS}")
    return moved or given.active not in {None, profile.active} or labels != profile.labels


def _save(by: Actor, profile: AccessProfile, given: BulkInput, client: Client | None) -> int:
    """Save, record and announce one; few statements each, as other writers wait for all of them."""
    before = _shown(profile)
    if given.active is not None:
        access_profiles.set_active(profile, given.active)
    if client is not None:
        profile.client = client
    profile.labels = given.labelled(profile.labels)
    after = _shown(profile)
    access_profiles.tell_switched(by, profile, bool(before["active"]))
    verb = "activate" if profile.active else "deactivate"
    audit_log.record(
        by,
        "profile.change" if {**before, "active": profile.active} != after else f"profile.{verb}",
        target_kind="profile",
        target_id=profile.pk,
        target_name=profile.name,
        project_id=profile.client.project_id,
        before=before,
        after=after,
    )
    profile.epoch = feed.announce(feed.Kind.PROFILE, profile.pk)
    profile.save(
        update_fields=["active", "active_since", "client", "labels", "epoch", "updated_at"]
    )
    return profile.epoch


def _shown(profile: AccessProfile) -> Mapping[str, object]:
    """What can change, as the audit log shows it."""
    return {
        "active": profile.active,
        "client_id": profile.client_id,
        "labels": dict(profile.labels),
    }
