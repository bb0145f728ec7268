"""Many access profiles at once: each way to change them together, in one transaction that is confirmed once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, ClassVar

from django.db import DatabaseError, transaction
from django.utils import timezone
from pydantic import Field

from ostiary.directory import database
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import audit_log, feed, keys
from ostiary.directory.changes.confirmation import Saved, Unfinished
from ostiary.directory.changes.errors import Invalid, NotFound, Refused
from ostiary.directory.changes.inputs import (
    Flag,
    FlagOrNull,
    IdOrNull,
    IdOrZero,
    IdType,
    Input,
    ListOf,
    Moment,
    Problems,
    Text,
)
from ostiary.directory.changes.permission import require
from ostiary.directory.clients import access_profiles, clients, credentials, grants, pauses
from ostiary.directory.models import AccessProfile, Client, Collection, Credential, Policy
from ostiary.directory.webhooks import events

#: Profiles of one call.
MOST = 1000
#: Collections that one call adds or removes.
MOST_COLLECTIONS = 100

_Collections = Annotated[list[int], ListOf(each=IdType(), most=MOST_COLLECTIONS)]


class BulkInput(Input):
    """What to change of many access profiles: what is left out stays."""

    apart: ClassVar[tuple[str, ...]] = (
        "profile_ids", "active", "client_id", "labels", "without_labels", "policy_id", "added",
        "removed", "expires_at", "revoke_credentials",
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
    #: Give them this policy. Null or 0: none.
    policy_id: IdOrZero = Field(None, alias="api_policy_id")
    #: Ids of collections that they get, and that they lose.
    added: _Collections = Field([], alias="add_api_collection_ids")
    removed: _Collections = Field([], alias="remove_api_collection_ids")
    #: When they end. Null: never.
    expires_at: Annotated[datetime | None, Moment()] = None
    #: Revoke every credential that they have.
    revoke_credentials: Flag = False

    @property
    def is_empty(self) -> bool:
        said = self.active is not None or self.client_id is not None or self.revoke_credentials
        granted = self.added or self.removed or self.has("policy_id") or self.has("expires_at")
        return not (said or granted or self.labels or self.without_labels)

    def labelled(self, before: Mapping[str, str]) -> dict[str, str]:
        """The labels of a profile with those that are given, and without those that are taken."""
        left = {name: text for name, text in before.items() if name not in self.without_labels}
        return {**left, **self.labels}


@dataclass(slots=True, kw_only=True)
class BulkDraft:
    """One profile as the change would leave it."""

    #: With its new columns, not saved.
    profile: AccessProfile
    before: Mapping[str, object]
    held: frozenset[int]
    collections: frozenset[int]
    #: Credentials that would be revoked.
    revoked: Sequence[Credential] = ()
    #: Why it cannot be changed like this, by the field that is about it.
    problems: Sequence[tuple[str, str]] = ()

    @property
    def is_changed(self) -> bool:
        return bool(self.revoked) or _shown(self.profile, self.collections) != self.before


@dataclass(frozen=True, slots=True, kw_only=True)
class _BulkChoice:
    """What the change names, found."""

    client: Client | None
    policy: Policy | None
    added: frozenset[int]
    removed: frozenset[int]
    now: datetime


def change(*, by: Actor, given: BulkInput) -> Saved[list[int]]:
    """Change access profiles, all or none; returns the ids of those that changed.

    Raises Invalid with each that does not fit, Forbidden, NotFound.
    """
    problems = Problems(BulkInput)
    with transaction.atomic():
        drafts = _drafted(by, given)
        for each in drafts:
            for field, sentence in each.problems:
                problems.add(field, sentence)
        problems.raise_if_any()
        changed = [each for each in drafts if each.is_changed]
        _save_collections(changed)
        sequence = 0
        for each in changed:
            sequence = _save(by, each)
    return Saved(value=[each.profile.pk for each in changed], sequence=sequence)


def change_all(*, by: Actor, given: BulkInput, ids: Sequence[int]) -> Saved[list[int]]:
    """`change` for more than fit in one call: in parts of MOST, each all or none.

    Raises as `change` does where nothing was changed, and Unfinished where earlier parts were.
    """
    done: list[int] = []
    sequence = 0
    for start in range(0, len(ids), MOST):
        part = given.model_copy(update={"profile_ids": list(ids[start : start + MOST])})
        try:
            saved = change(by=by, given=part)
        except (Refused, DatabaseError) as error:
            if not done:
                raise
            raise Unfinished(Saved(value=done, sequence=sequence), _why(error)) from error
        done += saved.value
        sequence = saved.sequence or sequence
    return Saved(value=done, sequence=sequence)


def _why(error: Refused | DatabaseError) -> str:
    """A sentence without its full stop."""
    match error:
        case Invalid():
            return error.sentences
        case Refused():
            return str(error) or "Your role does not allow this"
        case _:
            return database.trouble(error).rstrip(".")


def draft(*, by: Actor, given: BulkInput) -> list[BulkDraft]:
    """What `change` would save of each profile, or why it could not; raises as it does for the rest."""
    with transaction.atomic():
        drafts = _drafted(by, given)
        transaction.set_rollback(True)
    return drafts


def _drafted(by: Actor, given: BulkInput) -> list[BulkDraft]:
    problems = Problems(BulkInput)
    if given.is_empty:
        sentence = "say what to change: active, api_client_id, labels or another field"
        problems.add("active", sentence, code="missing")
    problems.raise_if_any()
    profiles = _locked(by, problems, given.profile_ids)
    chosen = _chosen(by, problems, given, profiles)
    problems.raise_if_any()
    held = _held(profiles)
    alive = _alive(profiles) if given.revoke_credentials else {}
    return [
        _drafted_one(profile, given, chosen, held.get(profile.pk, frozenset()), alive)
        for profile in profiles
    ]


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
    policies = Policy.objects.in_bulk({each.policy_id for each in rows.values()} - {None})
    for each in rows.values():
        each.client = named[each.client_id]
        each.policy = policies.get(each.policy_id or 0)
    for project in sorted({each.client.project_id for each in rows.values()}):
        require(by, Role.EDITOR, project)
    return list(rows.values())


def _chosen(
    by: Actor, problems: Problems, given: BulkInput, profiles: Sequence[AccessProfile]
) -> _BulkChoice:
    policy = None
    for project in sorted({each.client.project_id for each in profiles}):
        if given.has("policy_id"):
            policy = grants.policy(by, problems, given.policy_id or None, project)
    seen = set(
        Collection.objects.visible_to(by)
        .filter(pk__in=[*given.added, *given.removed])
        .values_list("pk", flat=True)
    )
    for field, wanted in (("added", given.added), ("removed", given.removed)):
        for missing in sorted(set(wanted) - seen):
            problems.add(field, f"there is no API collection {missing}", code="unknown")
    if both := set(given.added) & set(given.removed):
        problems.add("removed", f"the API collection {min(both)} can't be both added and removed")
    grants.collections(by, problems, sorted(set(given.added) & seen), held=())
    return _BulkChoice(
        client=_client(by, given.client_id), policy=policy, added=frozenset(given.added),
        removed=frozenset(given.removed), now=timezone.now(),
    )  # fmt: skip


def _client(by: Actor, client_id: int | None) -> Client | None:
    if client_id is None:
        return None
    try:
        client = clients.find(by, client_id)
    except NotFound:
        raise Invalid({"client_id": [f"there is no client {client_id}"]}, noun=BulkInput) from None
    require(by, Role.EDITOR, client.project_id)
    return client


def _held(profiles: Sequence[AccessProfile]) -> Mapping[int, frozenset[int]]:
    """The collections of each profile, asked for once."""
    through = AccessProfile.collections.through.objects
    rows = through.filter(accessprofile_id__in=[each.pk for each in profiles])
    found: dict[int, set[int]] = {}
    for profile, collection in rows.values_list("accessprofile_id", "collection_id"):
        found.setdefault(profile, set()).add(collection)
    return {profile: frozenset(ids) for profile, ids in found.items()}


def _alive(profiles: Sequence[AccessProfile]) -> Mapping[int, list[Credential]]:
    found: dict[int, list[Credential]] = {}
    for each in credentials.working(timezone.now()).filter(profile__in=profiles).order_by("-pk"):
        found.setdefault(each.profile_id, []).append(each)
    return found


def _drafted_one(
    profile: AccessProfile,
    given: BulkInput,
    chosen: _BulkChoice,
    held: frozenset[int],
    alive: Mapping[int, list[Credential]],
) -> BulkDraft:
    problems: list[tuple[str, str]] = []
    drafted = BulkDraft(
        profile=profile,
        before=_shown(profile, held),
        held=held,
        collections=(held | chosen.added) - chosen.removed,
        revoked=alive.get(profile.pk, ()),
        problems=problems,
    )
    follows = f"the access profile {profile.name} follows its client"
    if chosen.client is not None:
        if chosen.client.project_id != profile.client.project_id:
            # What limits and names it belongs to a project: move its client instead.
            sentence = f"the access profile {profile.name} is in another project than that client"
            problems.append(("client_id", sentence))
        elif chosen.client.pk != profile.client_id and profile.follows_client:
            problems.append(("client_id", follows))
        profile.client = chosen.client
    if given.active is not None:
        access_profiles.set_active(profile, given.active)
    profile.labels = given.labelled(profile.labels)
    if len(profile.labels) > keys.MOST_LABELS:
        sentence = f"{profile.name} would have more than {keys.MOST_LABELS}"
        problems.append(("labels", sentence))
    if drafted.collections != held:
        field = "added" if drafted.collections - held else "removed"
        if profile.follows_client:
            problems.append((field, follows))
        elif not drafted.collections:
            sentence = f"the access profile {profile.name} would have no API collection"
            problems.append((field, sentence))
    if (
        given.has("policy_id")
        and (chosen.policy.pk if chosen.policy else None) != profile.policy_id
    ):
        if profile.follows_client:
            problems.append(("policy_id", follows))
        grants.put_policy(profile, chosen.policy)
    if given.has("expires_at"):
        profile.expires_at = given.expires_at
    return drafted


def _save_collections(drafts: Sequence[BulkDraft]) -> None:
    through = AccessProfile.collections.through
    lost: dict[frozenset[int], list[int]] = {}
    for each in drafts:
        if gone := each.held - each.collections:
            lost.setdefault(gone, []).append(each.profile.pk)
    for gone, ids in lost.items():
        rows = through.objects.filter(accessprofile_id__in=ids, collection_id__in=gone)
        rows.delete()
    through.objects.bulk_create(
        (
            through(accessprofile_id=each.profile.pk, collection_id=collection)
            for each in drafts
            for collection in sorted(each.collections - each.held)
        ),
        batch_size=500,
    )


def _save(by: Actor, each: BulkDraft) -> int:
    """Save, record and announce one; few statements each, as other writers wait for all of them."""
    profile, before = each.profile, each.before
    after = _shown(profile, each.collections)
    access_profiles.tell_switched(by, profile, bool(before["active"]))
    if before != after:
        verb = "activate" if profile.active else "deactivate"
        switched = _besides_switch(before) == _besides_switch(after)
        _record(by, f"profile.{verb}" if switched else "profile.change", profile, before, after)
    if each.revoked:
        Credential.objects.filter(pk__in=[one.pk for one in each.revoked]).update(
            revoked_at=timezone.now()
        )
        revoked = events.EventType.CREDENTIAL_REVOKED
        events.of_credentials(revoked, profile, lambda: each.revoked, by)
        for one in each.revoked:
            _record(by, "credential.cut_off", profile, None, {"credential_id": one.pk})
    profile.epoch = feed.announce(feed.Kind.PROFILE, profile.pk)
    profile.save(
        update_fields=[
            "active", "inactive_until", "active_since", "client", "labels", "policy", "policy_since", "raised_limits",
            "raised_until", "expires_at", "epoch", "updated_at",
        ]
    )  # fmt: skip
    return profile.epoch


def _besides_switch(shown: Mapping[str, object]) -> Mapping[str, object]:
    return {name: each for name, each in shown.items() if name not in {"active", "inactive_until"}}


def _record(
    by: Actor,
    action: str,
    profile: AccessProfile,
    before: Mapping[str, object] | None,
    after: Mapping[str, object],
) -> None:
    audit_log.record(
        by, action, target_kind="profile", target_id=profile.pk, target_name=profile.name,
        project_id=profile.client.project_id, before=before, after=after,
    )  # fmt: skip


def _shown(profile: AccessProfile, collections: frozenset[int]) -> Mapping[str, object]:
    """What can change, as the audit log shows it."""
    return {
        "active": profile.active,
        **pauses.shown(profile),
        "client_id": profile.client_id,
        "labels": dict(profile.labels),
        "collection_ids": sorted(collections),
        "policy_id": profile.policy_id,
        "expires_at": profile.expires_at.isoformat() if profile.expires_at else None,
    }
