"""Access profiles: which collections, how a consumer proves itself, from where, how often."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar

from django.db import transaction
from django.db.models import Manager, Model, Prefetch, Q, QuerySet
from django.utils import timezone
from pydantic import Field

from ostiary.access import addresses
from ostiary.directory.actor import SYSTEM, Actor, Role
from ostiary.directory.changes import audit_log, deletions, etags, feed, keys
from ostiary.directory.changes.confirmation import Saved, unchanged
from ostiary.directory.changes.errors import Invalid, NotFound, Problem
from ostiary.directory.changes.inputs import (
    BLANK,
    AnyTime,
    Checked,
    Flag,
    IdOrNull,
    IdType,
    ListOf,
    Moment,
    Name,
    Problems,
    refusal,
    same_time,
)
from ostiary.directory.changes.permission import require
from ostiary.directory.changes.snapshots import snapshot
from ostiary.directory.clients import (
    address_lists,
    client_defaults,
    clients,
    credentials,
    grants,
    listed_networks,
    pauses,
    token_rules,
)
from ostiary.directory.models import AccessProfile, AddressList, Client, Collection, Credential
from ostiary.directory.webhooks import events
from ostiary.directory.workspace import project_quotas
from ostiary.identity.secret import Secret

MOST_LISTS = 20
WATCHED = "The address lists are only watched: nobody is refused by them, every address may call"


class _Addresses(Checked):
    """Addresses and CIDR ranges: one text, or the entries."""

    def checked(self, value: object) -> list[str]:
        if not isinstance(value, str) and not (
            isinstance(value, Sequence) and all(isinstance(each, str) for each in value)
        ):
            raise refusal("type", "must be a list of addresses or CIDR ranges")
        parsed = addresses.parse_list(value)
        if parsed.problems:
            raise refusal("address", *parsed.problems)
        return [entry.text for entry in parsed.entries]


Addresses = Annotated[list[str], _Addresses()]
Lists = Annotated[list[int], ListOf(each=IdType(), most=MOST_LISTS)]


class OwnInput(keys.KeyedInput):
    """Input for what every profile has of its own, also one that follows its client."""

    apart: ClassVar[tuple[str, ...]] = (
        "follows_client", "allowed_lists", "denied_lists", "active",
    )  # fmt: skip

    name: Name = ""
    #: Whether collections, policy and rules of signed tokens are those of the client's defaults.
    follows_client: Flag = False
    active: Flag = True
    allow_list: Addresses = Field([], alias="ip_allow_list")
    deny_list: Addresses = Field([], alias="ip_deny_list")
    #: Ids of lists that profiles of the project share, beside the two.
    allowed_lists: Lists = Field([], alias="ip_allow_list_ids")
    denied_lists: Lists = Field([], alias="ip_deny_list_ids")
    #: Whether the lists are only watched: nobody is refused by them.
    addresses_watched: Flag = Field(False, alias="ip_watch_only")
    #: Null: never. In the future, but for one that is stored already.
    expires_at: Annotated[datetime | None, AnyTime()] = None


class ProfileInput(client_defaults.FollowedInput, OwnInput):
    """Input for an access profile. Its client and its method cannot be changed."""

    required: ClassVar[tuple[str, ...]] = ("name", "collection_ids")
    fixed: ClassVar[tuple[str, ...]] = ("client_id", "auth_type")
    apart: ClassVar[tuple[str, ...]] = (
        *client_defaults.FollowedInput.model_fields, *OwnInput.apart,
    )  # fmt: skip

    client_id: IdOrNull = Field(None, alias="api_client_id")


class NewProfileInput(ProfileInput):
    """Input for a new access profile, with a credential that its consumer may already have."""

    required: ClassVar[tuple[str, ...]] = ("name", "client_id", "collection_ids", "auth_type")
    apart: ClassVar[tuple[str, ...]] = (*ProfileInput.apart, "token", "token_sha256", "profile_key")

    token: str | None = None
    token_sha256: str | None = None
    profile_key: str | None = None


class NewFollowerInput(NewProfileInput):
    """Input for a new access profile that follows its client, and needs nothing that it follows."""

    required: ClassVar[tuple[str, ...]] = ("name", "client_id")


def profiles(by: Actor, client_id: int | None = None) -> QuerySet[AccessProfile]:
    found = AccessProfile.objects.visible_to(by).order_by("pk")
    if client_id is not None:
        # By `pk`, Django knows that no row has a number beyond the column's; by the foreign key, the
        # database raises.
        found = found.filter(client__pk=client_id)
    named = AddressList.objects.order_by("pk").defer("text", "packed")
    lasting = Prefetch("credentials", queryset=Credential.objects.filter(trial=False))
    found = found.select_related("client", "policy").prefetch_related("collections", lasting)
    return found.prefetch_related(
        Prefetch("allowed_lists", queryset=named), Prefetch("denied_lists", queryset=named)
    )


def named(by: Actor) -> QuerySet[AccessProfile]:
    """The profiles that `by` may see, to be named: without what they have."""
    found = AccessProfile.objects.visible_to(by).select_related("client").order_by("pk")
    return found.defer("client__logo_small", "client__logo_medium")


def including(by: Actor, collection_id: int, *, most: int) -> QuerySet[AccessProfile]:
    """The first profiles that include a collection, of however many."""
    # In the order of the index, which ends after a few: a join would first sort all of them.
    through = AccessProfile.collections.through.objects.filter(collection_id=collection_id)
    if not by.sees_all:
        through = through.filter(accessprofile__client__project_id__in=by.project_ids)
    ids = through.order_by("pk").values_list("accessprofile_id", flat=True)
    return named(by).filter(pk__in=list(ids[:most]))


def using(list_id: int) -> QuerySet[AccessProfile]:
    """The profiles with an address list, to allow or to deny."""
    return AccessProfile.objects.filter(
        Q(
            pk__in=AccessProfile.allowed_lists.through.objects.filter(
                addresslist_id=list_id
            ).values("accessprofile_id")
        )
        | Q(
            pk__in=AccessProfile.denied_lists.through.objects.filter(addresslist_id=list_id).values(
                "accessprofile_id"
            )
        )
    )


def find(by: Actor, profile_id: int) -> AccessProfile:
    profile = profiles(by).filter(pk=profile_id).first()
    if profile is None:
        raise NotFound("access profile")
    return profile


def create(*, by: Actor, given: NewProfileInput) -> tuple[Saved[AccessProfile], Secret]:
    """Make a profile with its first credential, and return what of it is shown once.

    That is empty if a token was imported, and for signed tokens. Raises Invalid with everything that does not fit, NotFound, Forbidden.
    """
    problems = Problems(NewProfileInput)
    with transaction.atomic():
        profile, chosen, hmac_secret = _drafted(by, given)
        project_quotas.check_in(profile.client.project, access_profiles=1)
        keys.check(problems, profile)
        problems.raise_if_any()
        profile.save()
        chosen.give_new(profile)
        listed_networks.put_new([profile])
        if hmac_secret:
            token_rules.seal(profile, hmac_secret)
        secret = credentials.add_first(
            profile, problems,
            token=given.token, digest=given.token_sha256, profile_key=given.profile_key,
        )  # fmt: skip
        problems.raise_if_any()
        issued = events.EventType.CREDENTIAL_ISSUED
        events.of_credentials(issued, profile, lambda: credentials.alive(profile), by)
        sequence = _announced(by, "create", profile, chosen=chosen)
    warnings = _warnings(profile)
    return Saved(value=profile, sequence=sequence, warnings=warnings, adds=True), secret


def check(*, by: Actor, given: NewProfileInput) -> tuple[str, ...]:
    """Whether a profile could be made, and sentences to show beside it; raises as `create` does."""
    with transaction.atomic():
        profile, _, _ = _drafted(by, given)
    return _warnings(profile)


def check_own(profile: AccessProfile, given: ProfileInput) -> None:
    """Whether what a profile has of its own fits one that nobody saves; raises Invalid."""
    problems = Problems(NewProfileInput)
    _check_expiry(problems, profile, given.expires_at)
    given.assign(profile)
    follows = given.follows_client if given.has("follows_client") else profile.follows_client
    if not profile.auth_type and not follows:
        problems.add("auth_type", BLANK, code="blank")
    elif not follows:
        token_rules.fill(problems, profile, given)
    # A follower may have its method from the client.
    if isinstance(given, NewProfileInput) and profile.auth_type:
        credentials.check_first(
            profile, problems,
            token=given.token, digest=given.token_sha256, profile_key=given.profile_key,
        )  # fmt: skip
    problems.raise_if_any()


def _drafted(by: Actor, given: NewProfileInput) -> tuple[AccessProfile, "_Chosen", str]:
    """A profile that fits and is not saved yet, what it will have, and an HMAC secret to be sealed."""
    given.check_complete()
    client = _client(by, given.client_id or 0)
    require(by, Role.EDITOR, client.project_id)
    profile = AccessProfile(
        client=client, active_since=timezone.now(), auth_type=given.auth_type or ""
    )
    problems = Problems(NewProfileInput)
    chosen, hmac_secret = _fill(by, problems, profile, given)
    problems.raise_if_any()
    return profile, chosen, hmac_secret


def _client(by: Actor, client_id: int) -> Client:
    try:
        return clients.find(by, client_id)
    except NotFound:
        sentence = f"there is no client {client_id}"
        problem = Problem(field="client_id", code="unknown", sentence=sentence)
        raise Invalid([problem], noun=NewProfileInput) from None


def change(
    *, by: Actor, profile_id: int, given: ProfileInput, if_match: str | None = None
) -> Saved[AccessProfile]:
    """Change what was sent; in force once confirmed."""
    with transaction.atomic():
        profile = credentials.locked_profile(by, profile_id)
        etags.check(profile, if_match)
        before, active, stored = shown(profile), profile.active, snapshot(profile)
        chosen, hmac_secret = _changed(by, profile, given)
        if snapshot(profile) == stored and not hmac_secret and not chosen.changes(profile):
            return unchanged(profile, profile.epoch, _warnings(profile))
        profile.save()
        if hmac_secret:
            token_rules.seal(profile, hmac_secret)
        chosen.set_on(profile)
        if given.has("allow_list") or given.has("deny_list"):
            listed_networks.put(profile)
        tell_switched(by, profile, active)
        sequence = _announced(by, "change", profile, before=before)
    return Saved(value=profile, sequence=sequence, warnings=_warnings(profile))


def _changed(by: Actor, profile: AccessProfile, given: ProfileInput) -> tuple["_Chosen", str]:
    """Fill in what was sent; what it will have, and an HMAC secret to be sealed."""
    given.check_fixed(profile)
    problems = Problems(ProfileInput)
    follows = profile.follows_client
    chosen, hmac_secret = _fill(by, problems, profile, given)
    keys.check(problems, profile)
    problems.raise_if_any()
    started = profile.follows_client and not follows
    if given.said or started:
        other = credentials.key_holder(profile, secret=hmac_secret)
        if other is not None:
            sentence = (
                f"with it, tokens would fit the access profile {other.name} of this project too"
            )
            field = "follows_client" if started else given.said[0]
            raise Invalid({field: [sentence]}, noun=ProfileInput)
    return chosen, hmac_secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A profile as a change would leave it; what stays is empty."""

    profile: AccessProfile
    collections: frozenset[int] | None
    allowed_lists: tuple[int, ...] | None
    denied_lists: tuple[int, ...] | None
    warnings: tuple[str, ...]


def draft(*, by: Actor, profile_id: int, given: ProfileInput) -> Draft:
    """What `change` would save; raises as it does, and saves nothing."""
    with transaction.atomic():
        profile = credentials.locked_profile(by, profile_id)
        chosen, _ = _changed(by, profile, given)
        transaction.set_rollback(True)
    collections = chosen.collections
    return Draft(
        profile=profile,
        collections=None if collections is None else frozenset(c.pk for c in collections),
        allowed_lists=_ids(chosen.allowed_lists),
        denied_lists=_ids(chosen.denied_lists),
        warnings=_warnings(profile),
    )


def _ids(lists: list[AddressList] | None) -> tuple[int, ...] | None:
    return None if lists is None else tuple(each.pk for each in lists)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chosen:
    """What a profile will have of what others have too; empty: that stays."""

    collections: list[Collection] | None = None
    allowed_lists: list[AddressList] | None = None
    denied_lists: list[AddressList] | None = None

    def changes(self, profile: AccessProfile) -> bool:
        """Whether a profile has something else now."""
        pairs: tuple[tuple[Iterable[Model] | None, Manager[Any]], ...] = (
            (self.collections, profile.collections),
            (self.allowed_lists, profile.allowed_lists),
            (self.denied_lists, profile.denied_lists),
        )
        return any(
            {each.pk for each in chosen} != set(held.values_list("pk", flat=True))
            for chosen, held in pairs
            if chosen is not None
        )

    def give_new(self, profile: AccessProfile) -> None:
        """Give it to a profile that was just inserted, and has none of it; raises Invalid."""
        profile.collections.add(*(self.collections or ()))
        self._set_lists(profile)

    def set_on(self, profile: AccessProfile) -> None:
        """Give it to a profile, in the caller's transaction; raises Invalid."""
        if self.collections is not None:
            profile.collections.set(self.collections)
        self._set_lists(profile)

    def _set_lists(self, profile: AccessProfile) -> None:
        for name, manager, lists in (
            ("allowed_lists", profile.allowed_lists, self.allowed_lists),
            ("denied_lists", profile.denied_lists, self.denied_lists),
        ):
            if lists is None:
                continue
            # One that is being deleted must not leave a profile that is open to every address.
            wanted = AddressList.objects.select_for_update().filter(pk__in=_ids(lists) or ())
            if len(wanted.values_list("pk", flat=True)) < len(lists):
                sentence = "one of the address lists was deleted meanwhile"
                raise Invalid({name: [sentence]}, noun=ProfileInput)
            manager.set(lists)


def switch(
    *,
    by: Actor,
    profile_id: int,
    active: bool,
    until: datetime | None = None,
    if_match: str | None = None,
) -> Saved[AccessProfile]:
    """Switch a profile on, or off: for good, or `until` a moment. Raises Invalid."""
    pauses.check(active=active, until=until)
    with transaction.atomic():
        profile = credentials.locked_profile(by, profile_id)
        etags.check(profile, if_match)
        before, was = shown(profile), profile.active
        if was == active and profile.inactive_until == until:
            return unchanged(profile, profile.epoch)
        set_active(profile, active, until)
        profile.save()
        tell_switched(by, profile, was)
        sequence = _announced(by, "activate" if active else "deactivate", profile, before=before)
    return Saved(value=profile, sequence=sequence)


def set_active(profile: AccessProfile, active: bool, until: datetime | None = None) -> None:
    """Switch a profile that is not saved yet, and note since when it is on, or until when it is off."""
    if active and not profile.active:
        profile.active_since = timezone.now()
    profile.active, profile.inactive_until = active, until


def come_back(profile_id: int, now: datetime) -> None:
    """Switch a profile on whose time off is over, unless somebody has said something else meanwhile."""
    with transaction.atomic():
        profile = credentials.locked_profile(SYSTEM, profile_id)
        if profile.active or profile.inactive_until is None or profile.inactive_until > now:
            return
        before = shown(profile)
        set_active(profile, active=True)
        profile.save()
        tell_switched(SYSTEM, profile, was=False)
        _announced(SYSTEM, "activate", profile, before=before)


def delete(*, by: Actor, profile_id: int, if_match: str | None = None) -> Saved[None]:
    """Delete a profile and its credentials."""
    with transaction.atomic():
        profile = credentials.locked_profile(by, profile_id)
        etags.check(profile, if_match)
        revoked = events.EventType.CREDENTIAL_REVOKED
        events.of_credentials(revoked, profile, lambda: credentials.alive(profile), by)
        deletions.keep_profile(by, profile)
        sequence = _announced(by, "delete", profile, before=shown(profile))
        profile.delete()
    return Saved(value=None, sequence=sequence)


def _fill(
    by: Actor, problems: Problems, profile: AccessProfile, given: ProfileInput
) -> tuple[_Chosen, str]:
    """Fill in what was sent; what it will have of what others have too, and an HMAC secret."""
    _check_expiry(problems, profile, given.expires_at)
    given.assign(profile)
    if given.has("active") and given.active != profile.active:
        set_active(profile, given.active)
    found, hmac_secret = _fill_followed(by, problems, profile, given)
    chosen = _Chosen(
        collections=found,
        allowed_lists=_lists(problems, profile, given, "allowed_lists"),
        denied_lists=_lists(problems, profile, given, "denied_lists"),
    )
    return chosen, hmac_secret


def _fill_followed(
    by: Actor, problems: Problems, profile: AccessProfile, given: ProfileInput
) -> tuple[list[Collection] | None, str]:
    """Fill in what a follower has of its client: from the defaults, or for others from what was sent."""
    follows = given.follows_client if given.has("follows_client") else profile.follows_client
    followed = None
    if follows and not profile.follows_client:
        followed = client_defaults.follow(problems, profile)
        if followed is None:
            return None, ""
    profile.follows_client = follows
    before = client_defaults.Followed.of(profile, followed.collections if followed else None)
    found = None
    if given.has("collection_ids"):
        found = grants.collections(by, problems, given.collection_ids, held=before.collections)
    if given.has("policy_id"):
        grants.set_policy(by, problems, profile, given.policy_id)
    hmac_secret = token_rules.fill(problems, profile, given)
    if not follows:
        return found, hmac_secret
    if found is not None and {c.pk for c in found} != before.collections:
        problems.add("collection_ids", client_defaults.FOLLOWS, code="follows")
    if profile.policy_id != before.policy_id:
        problems.add("policy_id", client_defaults.FOLLOWS, code="follows")
    if hmac_secret or before.rules != token_rules.shown(profile):
        problems.add(
            given.said[0] if given.said else "jwt_method", client_defaults.FOLLOWS, code="follows"
        )
    if followed is None:
        return None, ""
    return list(followed.collections), followed.hmac_secret


def _check_expiry(problems: Problems, profile: AccessProfile, sent: datetime | None) -> None:
    if sent is not None and not same_time(sent, profile.expires_at):
        problems.check("expires_at", lambda: Moment().checked(sent))


def _lists(
    problems: Problems, profile: AccessProfile, given: ProfileInput, field: str
) -> list[AddressList] | None:
    if not given.has(field):
        return None
    return address_lists.chosen(problems, field, getattr(given, field), profile.client.project_id)


def has_lists(profile: AccessProfile) -> bool:
    """Whether its decisions depend on the caller's address."""
    return bool(
        profile.allow_list
        or profile.deny_list
        or profile.allowed_lists.all()
        or profile.denied_lists.all()
    )


def _warnings(profile: AccessProfile) -> tuple[str, ...]:
    lists = (profile.allow_list, profile.deny_list)
    found = tuple(warning for each in lists for warning in addresses.parse_list(each).warnings)
    if token_rules.takes_endless_tokens(profile):
        found = (token_rules.WITHOUT_EXP, *found)
    return (WATCHED, *found) if profile.addresses_watched and any(lists) else found


def shown(profile: AccessProfile, chosen: _Chosen | None = None) -> Mapping[str, object]:
    """A profile as the audit log shows it; `chosen`: what one that was just made has been given."""
    has = _stored(profile) if chosen is None else chosen
    return {
        **ProfileInput.stored(profile),
        "client_id": profile.client_id,
        "active": profile.active,
        **pauses.shown(profile),
        "follows_client": profile.follows_client,
        "collection_ids": sorted(each.pk for each in has.collections or ()),
        "policy_id": profile.policy_id,
        "allowed_lists": sorted(_ids(has.allowed_lists) or ()),
        "denied_lists": sorted(_ids(has.denied_lists) or ()),
        "expires_at": profile.expires_at.isoformat() if profile.expires_at else None,
        **token_rules.shown(profile),
    }


def _stored(profile: AccessProfile) -> _Chosen:
    """What a profile has of what others have too; their ids alone are read."""
    return _Chosen(
        collections=list(profile.collections.only("pk")),
        allowed_lists=list(profile.allowed_lists.only("pk")),
        denied_lists=list(profile.denied_lists.only("pk")),
    )


def tell_switched(by: Actor, profile: AccessProfile, was: bool) -> None:
    """Tell webhooks of a switch, in the caller's transaction; `was`: whether it was active."""
    kinds = events.EventType
    if profile.active != was:
        kind = kinds.PROFILE_ACTIVATED if profile.active else kinds.PROFILE_DEACTIVATED
        events.of_profile(kind, profile, by)


def _announced(
    by: Actor,
    verb: str,
    profile: AccessProfile,
    before: Mapping[str, object] | None = None,
    chosen: _Chosen | None = None,
) -> int:
    audit_log.record(
        by,
        f"profile.{verb}",
        target_kind="profile",
        target_id=profile.pk,
        target_name=profile.name,
        project_id=profile.client.project_id,
        before=before,
        after=shown(profile, chosen) if verb != "delete" else None,
    )
    profile.epoch = feed.announce(feed.Kind.PROFILE, profile.pk)
    AccessProfile.objects.filter(pk=profile.pk).update(epoch=profile.epoch)
    return profile.epoch
