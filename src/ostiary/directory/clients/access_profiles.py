"""Access profiles: which collections, how a consumer proves itself, from where, how often."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction
from django.db.models import Prefetch, QuerySet
from django.utils import timezone

from ostiary.access import addresses
from ostiary.access.methods import AuthMethod
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import audit_log, etags, feed, fields
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import Invalid, NotFound
from ostiary.directory.changes.permission import require
from ostiary.directory.clients import address_lists, clients, credentials, policies, token_rules
from ostiary.directory.models import AccessProfile, AddressList, Collection, Credential
from ostiary.directory.webhooks import events
from ostiary.directory.workspace import project_quotas
from ostiary.identity.secret import Secret

WATCHED = "The address lists are only watched: nobody is refused by them, every address may call"


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What an owner may say of a profile; empty where it does not. `policy_id` 0: no policy."""

    name: object = None
    collection_ids: object = None
    policy_id: int | None = None
    allow_list: object = None
    deny_list: object = None
    #: Ids of lists that profiles of the project share, beside the two.
    allowed_lists: object = None
    denied_lists: object = None
    #: Whether the lists are only watched: nobody is refused by them.
    addresses_watched: bool | None = None
    active: bool | None = None
    expires_at: datetime | None = None
    proof: token_rules.Proof = field(default_factory=token_rules.Proof)


def profiles(by: Actor, client_id: int | None = None) -> QuerySet[AccessProfile]:
    found = AccessProfile.objects.visible_to(by).order_by("pk")
    if client_id is not None:
        found = found.filter(client_id=client_id)
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


def find(by: Actor, profile_id: int) -> AccessProfile:
    profile = profiles(by).filter(pk=profile_id).first()
    if profile is None:
        raise NotFound("access profile")
    return profile


def create(
    *,
    by: Actor,
    client_id: int,
    auth_type: object,
    given: Given,
    token: object = None,
    token_sha256: object = None,
    profile_key: object = None,
) -> tuple[Saved[AccessProfile], Secret]:
    """Make a profile with its first credential, and return what of it is shown once.

    That is empty if a token was imported, and for signed tokens. Raises Invalid with everything that does not fit, NotFound, Forbidden.
    """
    profile, chosen, hmac_secret = _drafted(by, client_id, auth_type, given)
    problems = fields.Problems()
    with transaction.atomic():
        project_quotas.check(profile.client.project_id, access_profiles=1)
        profile.save()
        chosen.set_on(profile)
        if hmac_secret:
            token_rules.seal(profile, hmac_secret)
        secret = credentials.add_first(
            profile, problems, token=token, digest=token_sha256, profile_key=profile_key
        )
        problems.raise_if_any()
        issued = events.EventType.CREDENTIAL_ISSUED
        events.of_credentials(issued, profile, lambda: credentials.alive(profile), by)
        sequence = _announced(by, "create", profile)
    warnings = _warnings(profile)
    return Saved(value=profile, sequence=sequence, warnings=warnings, adds=True), secret


def check(*, by: Actor, client_id: int, auth_type: object, given: Given) -> tuple[str, ...]:
    """Whether a profile could be made, and sentences to show beside it; raises as `create` does."""
    profile, _, _ = _drafted(by, client_id, auth_type, given)
    return _warnings(profile)


def _drafted(
    by: Actor, client_id: int, auth_type: object, given: Given
) -> tuple[AccessProfile, "_Chosen", str]:
    """A profile that fits and is not saved yet, what it will have, and an HMAC secret to be sealed."""
    client = clients.find(by, client_id)
    require(by, Role.EDITOR, client.project_id)
    profile = AccessProfile(client=client, active_since=timezone.now())
    problems = fields.Problems()
    profile.auth_type = fields.choice(
        problems, "auth_type", auth_type, [m.value for m in AuthMethod]
    )
    chosen = _fill(by, problems, profile, given)
    hmac_secret = token_rules.fill(problems, profile, given.proof) if profile.auth_type else ""
    problems.raise_if_any()
    return profile, chosen, hmac_secret


def change(
    *, by: Actor, profile_id: int, given: Given, if_match: str | None = None
) -> Saved[AccessProfile]:
    """Change what is given; in force once confirmed. The authentication method stays."""
    with transaction.atomic():
        profile = credentials.locked_profile(by, profile_id)
        etags.check(profile, if_match)
        before, active = shown(profile), profile.active
        chosen, hmac_secret = _changed(by, profile, given)
        profile.save()
        if hmac_secret:
            token_rules.seal(profile, hmac_secret)
        chosen.set_on(profile)
        _tell_switched(by, profile, active)
        sequence = _announced(by, "change", profile, before=before)
    return Saved(value=profile, sequence=sequence, warnings=_warnings(profile))


def _changed(by: Actor, profile: AccessProfile, given: Given) -> tuple["_Chosen", str]:
    """Fill in what is given; what it will have, and an HMAC secret to be sealed."""
    problems = fields.Problems()
    chosen = _fill(by, problems, profile, given)
    hmac_secret = token_rules.fill(problems, profile, given.proof)
    problems.raise_if_any()
    if given.proof.given:
        other = credentials.key_holder(profile, secret=hmac_secret)
        if other is not None:
            sentence = (
                f"with it, tokens would fit the access profile {other.name} of this project too"
            )
            raise Invalid({given.proof.given[0]: [sentence]})
    return chosen, hmac_secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A profile as a change would leave it; what stays is empty."""

    profile: AccessProfile
    collections: frozenset[int] | None
    allowed_lists: tuple[int, ...] | None
    denied_lists: tuple[int, ...] | None
    warnings: tuple[str, ...]


def draft(*, by: Actor, profile_id: int, given: Given) -> Draft:
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

    def set_on(self, profile: AccessProfile) -> None:
        """Give it to a profile, in the caller's transaction; raises Invalid."""
        if self.collections is not None:
            profile.collections.set(self.collections)
        for name, manager, lists in (
            ("ip_allow_list_ids", profile.allowed_lists, self.allowed_lists),
            ("ip_deny_list_ids", profile.denied_lists, self.denied_lists),
        ):
            if lists is None:
                continue
            # One that is being deleted must not leave a profile that is open to every address.
            wanted = AddressList.objects.select_for_update().filter(pk__in=_ids(lists) or ())
            if len(wanted.values_list("pk", flat=True)) < len(lists):
                raise Invalid({name: ["one of the address lists was deleted meanwhile"]})
            manager.set(lists)


def switch(*, by: Actor, profile_id: int, active: bool) -> Saved[AccessProfile]:
    """Switch a profile on or off."""
    with transaction.atomic():
        profile = credentials.locked_profile(by, profile_id)
        before, was = shown(profile), profile.active
        if active and not was:
            profile.active_since = timezone.now()
        profile.active = active
        profile.save()
        _tell_switched(by, profile, was)
        sequence = _announced(by, "activate" if active else "deactivate", profile, before=before)
    return Saved(value=profile, sequence=sequence)


def delete(*, by: Actor, profile_id: int, if_match: str | None = None) -> Saved[None]:
    """Delete a profile and its credentials."""
    with transaction.atomic():
        profile = credentials.locked_profile(by, profile_id)
        etags.check(profile, if_match)
        revoked = events.EventType.CREDENTIAL_REVOKED
        events.of_credentials(revoked, profile, lambda: credentials.alive(profile), by)
        sequence = _announced(by, "delete", profile, before=shown(profile))
        profile.delete()
    return Saved(value=None, sequence=sequence)


def _fill(by: Actor, problems: fields.Problems, profile: AccessProfile, given: Given) -> _Chosen:
    new = profile.pk is None
    if given.name is not None or new:
        profile.name = fields.text(problems, "name", given.name)
    chosen = None
    if given.collection_ids is not None or new:
        chosen = _collections(by, problems, profile, given.collection_ids)
    if given.policy_id is not None:
        _set_policy(by, problems, profile, given.policy_id)
    if given.allow_list is not None:
        profile.allow_list = _addresses(problems, "ip_allow_list", given.allow_list)
    if given.deny_list is not None:
        profile.deny_list = _addresses(problems, "ip_deny_list", given.deny_list)
    if given.addresses_watched is not None:
        profile.addresses_watched = given.addresses_watched
    if given.active is not None:
        if given.active and not profile.active:
            profile.active_since = timezone.now()
        profile.active = given.active
    if given.expires_at is not None:
        profile.expires_at = fields.moment(problems, "expires_at", given.expires_at)
    return _Chosen(
        collections=chosen,
        allowed_lists=_lists(problems, profile, "ip_allow_list_ids", given.allowed_lists),
        denied_lists=_lists(problems, profile, "ip_deny_list_ids", given.denied_lists),
    )


def _lists(
    problems: fields.Problems, profile: AccessProfile, field: str, value: object
) -> list[AddressList] | None:
    if value is None:
        return None
    return address_lists.chosen(problems, field, value, profile.client.project_id)


def _collections(
    by: Actor, problems: fields.Problems, profile: AccessProfile, value: object
) -> list[Collection]:
    """The chosen collections. Those that the profile has already may be out of the editor's sight."""
    if not isinstance(value, Sequence) or isinstance(value, str) or not value:
        problems.add("api_collection_ids", "can't be blank")
        return []
    if not all(isinstance(v, int) and not isinstance(v, bool) for v in value) or len(value) > 1000:
        problems.add("api_collection_ids", "must be a list of at most 1000 ids")
        return []
    wanted = set(value)
    held: dict[int, Collection] = {}
    if profile.pk is not None:
        held = {c.pk: c for c in profile.collections.filter(pk__in=wanted)}
    seen = {c.pk: c for c in Collection.objects.visible_to(by).filter(pk__in=wanted)}
    found = seen | held
    missing = sorted(wanted - set(found))
    if missing:
        problems.add("api_collection_ids", f"there is no API collection {missing[0]}")
    for pk in sorted(set(seen) - set(held)):
        # To call is more than to read: who may read a collection must not let consumers in.
        if not by.may(Role.EDITOR, seen[pk].project_id):
            problems.add(
                "api_collection_ids",
                f"granting the API collection {pk} needs the role editor in its project",
            )
    return list(found.values())


def _set_policy(
    by: Actor, problems: fields.Problems, profile: AccessProfile, policy_id: int
) -> None:
    if policy_id != profile.policy_id:
        # What was raised was a limit of the policy before.
        profile.raised_limits, profile.raised_until = {}, None
    if policy_id == 0:
        profile.policy = profile.policy_since = None
        return
    usable = policies.usable_in(by, profile.client.project_id)
    policy = usable.filter(pk=policy_id).first()
    if policy is None:
        problems.add("api_policy_id", "there is no such policy")
    elif profile.policy_id != policy.pk:
        profile.policy, profile.policy_since = policy, timezone.now()


def _addresses(problems: fields.Problems, field: str, value: object) -> list[str]:
    if isinstance(value, str) or (
        isinstance(value, Sequence) and all(isinstance(v, str) for v in value)
    ):
        parsed = addresses.parse_list(value)
    else:
        problems.add(field, "must be a list of addresses or CIDR ranges")
        return []
    problems.add(field, *parsed.problems)
    return [entry.text for entry in parsed.entries]


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


def shown(profile: AccessProfile) -> Mapping[str, object]:
    """A profile as the audit log shows it."""
    return {
        "name": profile.name,
        "active": profile.active,
        "collection_ids": sorted(profile.collections.values_list("pk", flat=True)),
        "policy_id": profile.policy_id,
        "allow_list": json.loads(json.dumps(profile.allow_list)),
        "deny_list": json.loads(json.dumps(profile.deny_list)),
        "allowed_lists": sorted(profile.allowed_lists.values_list("pk", flat=True)),
        "denied_lists": sorted(profile.denied_lists.values_list("pk", flat=True)),
        "addresses_watched": profile.addresses_watched,
        "expires_at": profile.expires_at.isoformat() if profile.expires_at else None,
        **token_rules.shown(profile),
    }


def _tell_switched(by: Actor, profile: AccessProfile, was: bool) -> None:
    kinds = events.EventType
    if profile.active != was:
        kind = kinds.PROFILE_ACTIVATED if profile.active else kinds.PROFILE_DEACTIVATED
        events.of_profile(kind, profile, by)


def _announced(
    by: Actor, verb: str, profile: AccessProfile, before: Mapping[str, object] | None = None
) -> int:
    audit_log.record(
        by,
        f"profile.{verb}",
        target_kind="profile",
        target_id=profile.pk,
        target_name=profile.name,
        project_id=profile.client.project_id,
        before=before,
        after=shown(profile) if verb != "delete" else None,
    )
    profile.epoch = feed.announce(feed.Kind.PROFILE, profile.pk)
    AccessProfile.objects.filter(pk=profile.pk).update(epoch=profile.epoch)
    return profile.epoch
