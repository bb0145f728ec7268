"""Defaults of clients: method, collections, policy and rules of signed tokens of the profiles that follow.

A follower holds them in its own columns. Who changes the defaults writes them there in the same
transaction, so whatever reads a profile needs to know nothing of defaults (decision 37).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, NamedTuple

from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.utils import timezone
from pydantic import Field

from ostiary.access.methods import AuthMethod
from ostiary.directory.actor import Actor
from ostiary.directory.changes import audit_log, etags, feed
from ostiary.directory.changes.confirmation import Saved, unchanged
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.changes.inputs import BLANK, IdOrZero, IdType, ListOf, OneOf, Problems
from ostiary.directory.clients import clients, credentials, grants, token_rules
from ostiary.directory.models import AccessProfile, Client, ClientDefaults, Collection

FOLLOWS = "is the client's, which this access profile follows; change it there, or send follows_client: false"
#: In place of the name of a collection that the reader may not see.
UNSEEN = "one of another project"


class FollowedInput(token_rules.ProofInput):
    """Input for what a profile may have of its own, or follow its client in."""

    auth_type: Annotated[str | None, OneOf(AuthMethod)] = None
    collection_ids: Annotated[list[int], ListOf(each=IdType(), most=1000, required=True)] = Field(
        [], alias="api_collection_ids"
    )
    #: Null or 0: none.
    policy_id: IdOrZero = Field(None, alias="api_policy_id")


class WithDefaultsInput(FollowedInput, clients.ClientInput):
    """Input for a client with its defaults. Their method cannot be changed."""

    required: ClassVar[tuple[str, ...]] = ("name", "collection_ids", "auth_type")
    apart: ClassVar[tuple[str, ...]] = (
        *FollowedInput.model_fields, *clients.ClientInput.apart,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """What a follower has of its client, as far as a change can touch it."""

    collections: frozenset[int]
    policy_id: int | None
    rules: Mapping[str, object]

    @classmethod
    def of(cls, profile: AccessProfile, collections: Iterable[Collection] | None) -> "Followed":
        """Of a profile; `collections`: those that it will have, if it has others yet."""
        held: Iterable[Collection] | None = collections
        if held is None:
            held = [] if profile._state.adding else profile.collections.all()  # noqa: SLF001 - Django has no other word for it
        return cls(
            collections=frozenset(c.pk for c in held),
            policy_id=profile.policy_id,
            rules=token_rules.shown(profile),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a profile that begins to follow takes over beside its own columns."""

    collections: tuple[Collection, ...]
    hmac_secret: str = field(repr=False)


def follow(problems: Problems, profile: AccessProfile) -> Taken | None:
    """Put the client's defaults into a profile's columns, in the caller's transaction."""
    # Locked: a change at the same time would not find the new follower.
    defaults = ClientDefaults.objects.select_for_update().filter(pk=profile.client_id).first()
    if defaults is None:
        problems.add("follows_client", "the client has no defaults", code="unknown")
        return None
    if not profile.auth_type:
        profile.auth_type = defaults.auth_type
    if profile.auth_type != defaults.auth_type:
        sentence = f"the client's authentication method is {defaults.auth_type}, this one's is not"
        problems.add("follows_client", sentence, code="fixed")
        return None
    put_on(profile, defaults)
    return Taken(
        collections=tuple(defaults.collections.order_by("pk")),
        hmac_secret=token_rules.hmac_secret(defaults),
    )


def put_on(profile: AccessProfile, defaults: ClientDefaults) -> None:
    """Put defaults into a profile's columns; collections and an HMAC secret are kept elsewhere."""
    grants.put_policy(profile, defaults.policy)
    profile.proof, profile.custom_claim = dict(defaults.proof), defaults.custom_claim


def of(client_id: int) -> ClientDefaults | None:
    return ClientDefaults.objects.select_related("policy").filter(pk=client_id).first()


def create_client(*, by: Actor, given: WithDefaultsInput) -> Saved[Client]:
    """Make a client with defaults; raises Invalid, NotFound, Forbidden. No profile has them yet."""
    with transaction.atomic():
        client = clients.create(by=by, given=given)
        defaults, _ = _set(by, client, given)
    return Saved(value=client, sequence=0, warnings=_warnings(defaults), adds=True)


def change_client(
    *, by: Actor, client_id: int, given: WithDefaultsInput, if_match: str | None = None
) -> Saved[Client]:
    """Change a client and its defaults, and all profiles that follow it; in force once confirmed."""
    with transaction.atomic():
        etags.check(clients.locked(by, client_id), if_match)
        client = clients.change(by=by, client_id=client_id, given=given)
        defaults, sequence = _set(by, client, given)
    if not sequence:
        return unchanged(client, client.epoch, _warnings(defaults))
    return Saved(value=client, sequence=sequence, warnings=_warnings(defaults))


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """Defaults as a change would leave them."""

    defaults: ClientDefaults | None
    collections: frozenset[int]
    warnings: tuple[str, ...]
    #: No profile that follows would have anything else than now.
    idle: bool


def draft(*, by: Actor, client_id: int, given: WithDefaultsInput) -> Draft:
    """What `change_client` would save of the defaults; raises as it does, and saves nothing."""
    with transaction.atomic():
        defaults, sequence = _set(by, clients.locked(by, client_id), given)
        collections = frozenset() if defaults is None else collection_ids(defaults)
        transaction.set_rollback(True)
    return Draft(
        defaults=defaults,
        collections=collections,
        warnings=_warnings(defaults),
        idle=sequence == 0,
    )


def adopt(by: Actor, client: Client) -> bool:
    """Give a client without defaults those that it is shown with; whether it had none.

    In the caller's transaction, in which the client is locked. Raises Invalid where its profiles have
    no collection, or different policies.
    """
    if of(client.pk) is not None:
        return False
    _set(by, client, WithDefaultsInput(), adopts=True)
    return True


def _set(
    by: Actor, client: Client, given: WithDefaultsInput, *, adopts: bool = False
) -> tuple[ClientDefaults | None, int]:
    """Set what was sent, in the client and its followers; the sequence to wait for, or 0."""
    defaults = ClientDefaults.objects.select_for_update().filter(pk=client.pk).first()
    if not adopts and not any(given.has(name) for name in FollowedInput.model_fields):
        return defaults, 0
    problems = Problems(WithDefaultsInput)
    before: Mapping[str, object] = {}
    if defaults is None:
        implied = _implied(client)
        if not adopts and _says(given, implied):
            return None, 0
        defaults = ClientDefaults(client=client, auth_type=given.auth_type or implied.auth_type)
        held, chosen = implied.collections, implied.collections
        _check_adopted(problems, implied, given)
        defaults.policy_id = next(iter(implied.policy_ids), None)
    else:
        before, held = shown(defaults), collection_ids(defaults)
        chosen = held
        if given.auth_type not in {None, defaults.auth_type}:
            problems.add("auth_type", "can't be changed", code="fixed")
    if given.has("collection_ids"):
        wanted = grants.collections(by, problems, given.collection_ids, held=held)
        chosen = frozenset(c.pk for c in wanted)
    if given.has("policy_id"):
        defaults.policy = grants.policy(by, problems, given.policy_id, client.project_id)
    secret = token_rules.fill(problems, defaults, given)
    problems.raise_if_any()
    defaults.save()
    defaults.collections.set(chosen)
    if secret:
        token_rules.seal(defaults, secret)
    after = shown(defaults)
    if before == after and not secret:
        return defaults, 0
    return defaults, _written(by, client, defaults, given, before, after, secret)


def check_rules(defaults: ClientDefaults, given: WithDefaultsInput) -> None:
    """Whether rules of signed tokens fit defaults that nobody saves; raises Invalid."""
    problems = Problems(WithDefaultsInput)
    if defaults._state.adding:  # noqa: SLF001 - Django has no other word for it
        defaults.auth_type = given.auth_type or ""
    if defaults.auth_type:
        token_rules.fill(problems, defaults, given)
    else:
        problems.add("auth_type", BLANK, code="blank")
    problems.raise_if_any()


def _written(
    by: Actor,
    client: Client,
    defaults: ClientDefaults,
    given: WithDefaultsInput,
    before: Mapping[str, object],
    after: Mapping[str, object],
    secret: str,
) -> int:
    written = _write_followers(defaults, given, secret)
    audit_log.record(
        by,
        "client.defaults",
        target_kind="client",
        target_id=client.pk,
        target_name=client.name,
        project_id=client.project_id,
        before=before,
        after={**after, "followers": written},
    )
    if not written:
        client.save(update_fields=["updated_at"])
        return 0
    # One row for all: every lease of the client's profiles rests on the client's epoch.
    client.epoch = feed.announce(feed.Kind.CLIENT, client.pk)
    client.save(update_fields=["epoch", "updated_at"])
    followers(client.pk).update(epoch=client.epoch)
    return client.epoch


def followers(client_id: int) -> QuerySet[AccessProfile]:
    """The profiles that follow a client."""
    return AccessProfile.objects.filter(client_id=client_id, follows_client=True)


#: What is written in a follower.
_COLUMNS = (
    "policy", "policy_since", "raised_limits", "raised_until", "proof", "custom_claim",
    "sealed_secret", "updated_at",
)  # fmt: skip


def _write_followers(defaults: ClientDefaults, given: WithDefaultsInput, secret: str) -> int:
    """Put the defaults into all that follow, and return how many those are; raises Invalid."""
    found = followers(defaults.pk).select_for_update(of=("self",)).select_related("client")
    profiles, now = list(found.order_by("pk")), timezone.now()
    for profile in profiles:
        put_on(profile, defaults)
        profile.updated_at = now
        if given.said:
            _check_key(profile, given, secret)
        if secret:
            token_rules.seal(profile, secret)
    AccessProfile.objects.bulk_update(profiles, _COLUMNS, batch_size=200)
    _write_collections(profiles, defaults)
    return len(profiles)


def _check_key(profile: AccessProfile, given: WithDefaultsInput, secret: str) -> None:
    other = credentials.key_holder(profile, secret=secret)
    if other is not None:
        sentence = (
            f"with it, tokens of {profile.name} would fit the access profile {other.name} of this "
            "project too"
        )
        raise Invalid({given.said[0]: [sentence]}, noun=WithDefaultsInput)


def _write_collections(profiles: Sequence[AccessProfile], defaults: ClientDefaults) -> None:
    through = AccessProfile.collections.through
    wanted = collection_ids(defaults)
    held = through.objects.filter(accessprofile__in=[profile.pk for profile in profiles])
    held.exclude(collection_id__in=wanted).delete()
    there = set(held.values_list("accessprofile_id", "collection_id"))
    through.objects.bulk_create(
        [
            through(accessprofile_id=profile.pk, collection_id=collection_id)
            for profile in profiles
            for collection_id in sorted(wanted)
            if (profile.pk, collection_id) not in there
        ],
        batch_size=500,
    )


def collection_ids(defaults: ClientDefaults) -> frozenset[int]:
    """The collections of defaults."""
    return frozenset(defaults.collections.values_list("pk", flat=True))


def _warnings(defaults: ClientDefaults | None) -> tuple[str, ...]:
    endless = defaults is not None and token_rules.takes_endless_tokens(defaults)
    return (token_rules.WITHOUT_EXP,) if endless else ()


def shown(defaults: ClientDefaults) -> Mapping[str, object]:
    """Defaults as the audit log shows them."""
    return {
        "auth_type": defaults.auth_type,
        "collection_ids": sorted(collection_ids(defaults)),
        "policy_id": defaults.policy_id,
        **token_rules.shown(defaults),
    }


# -- a client without defaults


@dataclass(frozen=True, slots=True, kw_only=True)
class _Implied:
    """What a client without defaults is shown with: what its profiles have together."""

    collections: frozenset[int]
    policy_ids: frozenset[int | None]
    auth_type: str = AuthMethod.TOKEN.value


def _implied(client: Client) -> _Implied:
    through = AccessProfile.collections.through.objects.filter(accessprofile__client=client)
    return _Implied(
        collections=frozenset(through.values_list("collection_id", flat=True)),
        policy_ids=frozenset(client.profiles.values_list("policy_id", flat=True)),
    )


def _says(given: WithDefaultsInput, implied: _Implied) -> bool:
    """Whether a change repeats what a client without defaults is shown with, and no more."""
    return (
        given.auth_type in {None, implied.auth_type}
        and (not given.has("collection_ids") or set(given.collection_ids) == implied.collections)
        and (not given.has("policy_id") or given.policy_id == _only(implied.policy_ids))
        and not given.said
    )


def _only(ids: frozenset[int | None]) -> int | None:
    """The one policy that all profiles have, if they have one."""
    return next(iter(ids)) if len(ids) == 1 else None


def _check_adopted(problems: Problems, implied: _Implied, given: WithDefaultsInput) -> None:
    if not given.has("collection_ids") and not implied.collections:
        problems.add("collection_ids", BLANK, code="missing")
    if not given.has("policy_id") and len(implied.policy_ids) > 1:
        sentence = "is missing: the client's access profiles have different policies"
        problems.add("policy_id", sentence, code="missing")


# -- what is shown


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A client's defaults, or what its profiles have together; and how many those are."""

    auth_type: str = AuthMethod.TOKEN.value
    #: Ids and names, of other projects without the name.
    collections: tuple[tuple[int, str], ...] = ()
    policies: tuple[tuple[int, str], ...] = ()
    #: The policy of the defaults, or the one that all profiles have.
    policy_id: int | None = None
    #: Empty for methods without signed tokens.
    rules: Mapping[str, object] = field(default_factory=dict)
    #: Whether there are defaults.
    stored: bool = False
    #: Profiles, those that are active, and those with settings of their own.
    profiles: int = 0
    active_profiles: int = 0
    own_profiles: int = 0

    @property
    def followers(self) -> int:
        return self.profiles - self.own_profiles


def views(by: Actor, found: Sequence[Client]) -> Mapping[int, View]:
    """What is shown of clients, in as many statements as for one."""
    ids = [client.pk for client in found]
    rows = ClientDefaults.objects.filter(pk__in=ids).select_related("policy")
    stored = {defaults.pk: defaults for defaults in rows}
    granted = _granted(by, stored, [pk for pk in ids if pk not in stored])
    profiles: dict[int, list[_Counted]] = {}
    for each in _counted(ids):
        profiles.setdefault(each.client_id, []).append(each)
    return {pk: _view(stored.get(pk), granted.get(pk, []), profiles.get(pk, [])) for pk in ids}


class _Counted(NamedTuple):
    """How many profiles of a client have a policy, or none."""

    client_id: int
    policy_id: int | None
    policy_name: str | None
    profiles: int
    active: int
    own: int


def _counted(ids: Sequence[int]) -> list[_Counted]:
    grouped = (
        AccessProfile.objects.filter(client_id__in=ids)
        .order_by("client_id", "policy_id")
        .values("client_id", "policy_id", "policy__name")
        .annotate(
            total=Count("pk"),
            switched_on=Count("pk", filter=Q(active=True)),
            own=Count("pk", filter=Q(follows_client=False)),
        )
    )
    columns = ("client_id", "policy_id", "policy__name", "total", "switched_on", "own")
    return [_Counted(*row) for row in grouped.values_list(*columns)]


def _view(
    defaults: ClientDefaults | None,
    granted: list[tuple[int, str]],
    profiles: list[_Counted],
) -> View:
    together = [(each.policy_id, each.policy_name) for each in profiles]
    if defaults is not None:
        together = [(defaults.policy.pk, defaults.policy.name)] if defaults.policy else []
    return View(
        auth_type=defaults.auth_type if defaults else AuthMethod.TOKEN.value,
        collections=tuple(granted),
        policies=tuple((pk, name) for pk, name in together if pk and name),
        policy_id=_only(frozenset(pk for pk, _ in together)),
        rules=token_rules.shown(defaults) if defaults else {},
        stored=defaults is not None,
        profiles=sum(each.profiles for each in profiles),
        active_profiles=sum(each.active for each in profiles),
        own_profiles=sum(each.own for each in profiles),
    )


def _granted(
    by: Actor, stored: Iterable[int], others: Iterable[int]
) -> Mapping[int, list[tuple[int, str]]]:
    """The collections of clients with defaults, and of others, by the client's id."""
    declared = ClientDefaults.collections.through.objects.filter(clientdefaults__in=stored)
    together = AccessProfile.collections.through.objects.filter(
        accessprofile__client__in=list(others)
    )
    columns = ("collection_id", "collection__name", "collection__project_id")
    rows = [
        *declared.values_list("clientdefaults_id", *columns),
        *together.order_by().values_list("accessprofile__client_id", *columns).distinct(),
    ]
    found: dict[int, list[tuple[int, str]]] = {}
    for client_id, pk, name, project_id in sorted(rows):
        seen = name if by.sees(project_id) else UNSEEN
        found.setdefault(client_id, []).append((pk, seen))
    return found
