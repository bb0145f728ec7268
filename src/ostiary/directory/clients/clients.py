"""Clients: groups of an API's consumers, with a logo."""

import secrets
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import ClassVar

from django.db import transaction
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from ostiary.directory.actor import SYSTEM, Actor, Role
from ostiary.directory.changes import audit_log, deletions, etags, feed, finding, keys
from ostiary.directory.changes.confirmation import Saved, unchanged
from ostiary.directory.changes.errors import NotFound
from ostiary.directory.changes.inputs import Description, IdOrNull, Name, Problems
from ostiary.directory.changes.permission import project_of, require
from ostiary.directory.changes.snapshots import snapshot
from ostiary.directory.clients import credentials, logo, pauses, token_rules
from ostiary.directory.models import AccessProfile, Client, ClientDefaults, Project
from ostiary.directory.webhooks import events
from ostiary.directory.workspace import project_quotas


class ClientInput(keys.KeyedInput):
    """Input for a client. Its project can change, together with all its objects."""

    required: ClassVar[tuple[str, ...]] = ("name",)
    apart: ClassVar[tuple[str, ...]] = ("project_id",)

    name: Name = ""
    description: Description = ""
    #: Null: the project that is meant where none is named; not at a change.
    project_id: IdOrNull = None


def clients(by: Actor, *, project_id: int | None = None, search: str = "") -> QuerySet[Client]:
    """The clients that `by` may see, without their logos' bytes."""
    visible = Client.objects.visible_to(by)
    found: QuerySet[Client] = visible.defer("logo_small", "logo_medium")
    if project_id is not None:
        found = found.filter(project_id=project_id)
    if search:
        found = finding.with_words(found, search, ("name", "key"), labelled=True)
    return found.select_related("project").order_by("pk")


def with_counts(found: QuerySet[Client]) -> QuerySet[Client]:
    """The same clients, each with `profile_count`."""
    # Not a join: that would count the profiles of every client, to show a page of them.
    counted = (
        AccessProfile.objects.filter(client=OuterRef("pk"))
        .order_by()
        .values("client")
        .annotate(count=Count("pk"))
        .values("count")
    )
    return found.annotate(profile_count=Coalesce(Subquery(counted), 0))


def find(by: Actor, client_id: int) -> Client:
    client = clients(by).filter(pk=client_id).first()
    if client is None:
        raise NotFound("client")
    return client


def create(*, by: Actor, given: ClientInput, logo_file: bytes | None = None) -> Client:
    """Make a client, active; raises Invalid, NotFound, Forbidden. Nothing has to be confirmed."""
    given.check_complete()
    project = project_of(by, given.project_id)
    require(by, Role.EDITOR, project.pk)
    client = Client(project=project)
    given.assign(client)
    problems = Problems(ClientInput)
    if logo_file is not None:
        _draw(problems, client, logo_file)
    problems.raise_if_any()
    with transaction.atomic():
        project_quotas.check_in(project, clients=1)
        keys.check(problems, client)
        problems.raise_if_any()
        client.save()
        _record(by, "create", client)
    return client


def change(
    *,
    by: Actor,
    client_id: int,
    given: ClientInput,
    logo_file: bytes | None = None,
    without_logo: bool = False,
    if_match: str | None = None,
) -> Client:
    """Change what was sent, all or nothing; a new logo counts more than none.

    None of it touches what a consumer may do.
    """
    with transaction.atomic():
        client = locked(by, client_id)
        etags.check(client, if_match)
        given.check_fixed(client)
        before, stored = _shown(client), snapshot(client)
        problems = Problems(ClientInput)
        given.assign(client)
        if given.has("project_id") and given.project_id is None:
            problems.add("project_id", "can't be null", code="null")
        elif given.project_id not in {None, client.project_id}:
            _move(by, problems, client, project_of(by, given.project_id))
        keys.check(problems, client)
        if logo_file is not None:
            _draw(problems, client, logo_file)
        elif without_logo:
            _remove_logo(client)
        problems.raise_if_any()
        if snapshot(client) == stored:
            return client
        client.save()
        _record(by, "change", client, before=before)
        if logo_file is not None or without_logo:
            _record(by, "logo", client)
    return client


def _move(by: Actor, problems: Problems, client: Client, project: Project) -> None:
    require(by, Role.EDITOR, project.pk)
    _refuse_shared_lists(problems, client)
    project_quotas.check(project.pk, clients=1, access_profiles=client.profiles.count())
    client.project = project
    _check_own_keys(problems, client)
    _check_keys(problems, client)
    _check_policies(problems, client, project.pk)


def switch(
    *,
    by: Actor,
    client_id: int,
    active: bool,
    until: datetime | None = None,
    if_match: str | None = None,
) -> Saved[Client]:
    """Switch a client, and with it every profile that it has, on, or off: for good, or `until` a moment."""
    pauses.check(active=active, until=until)
    with transaction.atomic():
        client = locked(by, client_id)
        etags.check(client, if_match)
        if client.active == active and client.inactive_until == until:
            return unchanged(client, client.epoch)
        sequence = set_active(by, client, active=active, until=until)
    return Saved(value=client, sequence=sequence)


def set_active(by: Actor, client: Client, *, active: bool, until: datetime | None = None) -> int:
    """Switch a locked client in the caller's transaction; returns the sequence of the change."""
    before = _shown(client)
    kinds = events.EventType
    if client.active != active:
        kind = kinds.CLIENT_ACTIVATED if active else kinds.CLIENT_DEACTIVATED
        events.of_client(kind, client, by)
    client.active, client.inactive_until = active, until
    _record(by, "activate" if active else "deactivate", client, before=before)
    client.epoch = feed.announce(feed.Kind.CLIENT, client.pk)
    client.save(update_fields=["active", "inactive_until", "epoch", "updated_at"])
    return client.epoch


def come_back(client_id: int, now: datetime) -> None:
    """Switch a client on whose time off is over, unless somebody has said something else meanwhile."""
    with transaction.atomic():
        client = locked(SYSTEM, client_id)
        if not client.active and client.inactive_until and client.inactive_until <= now:
            set_active(SYSTEM, client, active=True)


def set_logo(
    *, by: Actor, client_id: int, content: bytes | None, if_match: str | None = None
) -> Client:
    """Set the logo, or with nothing remove it; raises Invalid."""
    with transaction.atomic():
        client = locked(by, client_id)
        etags.check(client, if_match)
        problems = Problems(ClientInput)
        if content is None:
            _remove_logo(client)
        else:
            _draw(problems, client, content)
        problems.raise_if_any()
        client.save()
        _record(by, "logo", client)
    return client


def delete(*, by: Actor, client_id: int, if_match: str | None = None) -> Saved[None]:
    """Delete a client with its profiles and their credentials."""
    with transaction.atomic():
        client = locked(by, client_id)
        etags.check(client, if_match)
        deletions.keep_client(by, client)
        _record(by, "delete", client, before=_shown(client))
        revoked = events.EventType.CREDENTIAL_REVOKED
        if events.listening(revoked, client.project_id):
            for profile in client.profiles.all():
                events.of_credentials(revoked, profile, partial(credentials.alive, profile), by)
        # The profiles are gone when the change is followed, so each is announced by itself.
        sequence = feed.announce(feed.Kind.CLIENT, client.pk)
        own = client.profiles.values_list("pk", flat=True)
        sequence = feed.announce_all(feed.Kind.PROFILE, own) or sequence
        client.delete()
    return Saved(value=None, sequence=sequence)


def _check_own_keys(problems: Problems, client: Client) -> None:
    """Refuse a move to where another profile has the key of one of the client's."""
    own = client.profiles.exclude(key=None)
    there = AccessProfile.objects.filter(
        client__project_id=client.project_id, key__in=own.values("key")
    ).exclude(client=client)
    taken = there.order_by("pk").values_list("key", flat=True).first()
    if taken is not None:
        problems.add("project_id", f"an access profile there has the key {taken} too", code="taken")


def _check_keys(problems: Problems, client: Client) -> None:
    """Refuse a move to where signed tokens of the client's consumers fit another profile."""
    for profile in client.profiles.filter(
        auth_type__in=[method.value for method in token_rules.SIGNED]
    ):
        profile.client = client
        other = credentials.key_holder(profile)
        if other is not None and other.client_id != client.pk:
            problems.add(
                "project_id", f"the profile key of {profile.name} belongs to {other.name} there"
            )


def _refuse_shared_lists(problems: Problems, client: Client) -> None:
    """Address lists belong to a project: a client's profiles cannot use those of the one it leaves."""
    using = client.profiles.filter(Q(allowed_lists__isnull=False) | Q(denied_lists__isnull=False))
    profile = using.order_by("pk").first()
    if profile is not None:
        sentence = f"can't be changed while {profile.name} uses an address list of the present one"
        problems.add("project_id", sentence)


def _check_policies(problems: Problems, client: Client, project_id: int) -> None:
    """Refuse a move away from the project whose policy a profile has: its limits would not hold there."""
    theirs = client.profiles.exclude(policy=None).exclude(policy__project=None)
    left = theirs.exclude(policy__project_id=project_id).select_related("policy").first()
    if left is not None and left.policy is not None:
        problems.add(
            "project_id",
            f"the access profile {left.name} has the policy {left.policy.name} of the project it leaves",
        )
    defaults = ClientDefaults.objects.filter(pk=client.pk).select_related("policy").first()
    policy = defaults.policy if defaults else None
    if policy is not None and policy.project_id not in {None, project_id}:
        problems.add(
            "project_id", f"its defaults have the policy {policy.name} of the project it leaves"
        )


def locked(by: Actor, client_id: int) -> Client:
    """The client, locked for a change by an editor; raises NotFound, Forbidden."""
    found = find(by, client_id)
    require(by, Role.EDITOR, found.project_id)
    client = Client.objects.select_for_update().filter(pk=found.pk).first()
    if client is None:
        raise NotFound("client")
    return client


def _remove_logo(client: Client) -> None:
    client.logo_small = client.logo_medium = b""
    client.logo_version = 0


def _draw(problems: Problems, client: Client, content: bytes) -> None:
    try:
        drawn = logo.read(content)
    except logo.BadLogo as error:
        problems.add("logo", str(error))
        return
    client.logo_small, client.logo_medium = drawn.small, drawn.medium
    # A number that no earlier logo had: browsers keep what they got at an address for a year.
    client.logo_version = secrets.randbelow(2**31 - 1) + 1


def _shown(client: Client) -> Mapping[str, object]:
    return {
        **ClientInput.stored(client),
        "project_id": client.project_id,
        "active": client.active,
        **pauses.shown(client),
    }


def _record(
    by: Actor, verb: str, client: Client, before: Mapping[str, object] | None = None
) -> None:
    audit_log.record(
        by,
        f"client.{verb}",
        target_kind="client",
        target_id=client.pk,
        target_name=client.name,
        project_id=client.project_id,
        before=before,
        after=_shown(client),
    )
