"""Offboarding: one step that ends all that a client may do, and leaves its objects to be looked at."""

from dataclasses import dataclass
from functools import partial

from django.db import transaction
from django.utils import timezone

from ostiary.directory.actor import Actor
from ostiary.directory.changes import audit_log, etags, feed
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.clients import clients
from ostiary.directory.models import AccessProfile, Client, Credential, Handover
from ostiary.directory.webhooks import events


@dataclass(frozen=True, slots=True, kw_only=True)
class Offboarded:
    """What an offboarding ended."""

    client: Client
    #: Access profiles that were active.
    profiles: int
    #: Credentials that worked.
    credentials: int
    #: Hand-over links that nobody had opened.
    handovers: int


def offboard(*, by: Actor, client_id: int, if_match: str | None = None) -> Saved[Offboarded]:
    """Switch a client off with all its profiles, revoke all its credentials, withdraw its links.

    Repeating is safe. Deleting the client afterwards is another step. Raises NotFound, Forbidden, Stale.
    """
    with transaction.atomic():
        client = clients.locked(by, client_id)
        etags.check(client, if_match)
        now = timezone.now()
        waiting = Handover.objects.filter(
            profile__client=client, opened_at=None, withdrawn_at=None, expires_at__gt=now
        )
        links = waiting.update(withdrawn_at=now, sealed="")
        revoked = _revoked(by, client)
        active = AccessProfile.objects.filter(client=client, active=True)
        profiles = active.update(active=False, inactive_until=None, updated_at=now)
        # Also those that would have come back by themselves.
        AccessProfile.objects.filter(client=client).update(inactive_until=None)
        done = Offboarded(client=client, profiles=profiles, credentials=revoked, handovers=links)
        if client.active or client.inactive_until is not None:
            clients.set_active(by, client, active=False)
        _record(by, done)
        # One row voids every lease of the client, whatever profile it is of.
        client.epoch = feed.announce(feed.Kind.CLIENT, client.pk)
        client.save(update_fields=["epoch", "updated_at"])
    return Saved(value=done, sequence=client.epoch)


def _revoked(by: Actor, client: Client) -> int:
    alive = Credential.objects.filter(profile__client=client, trial=False, revoked_at=None)
    kind = events.EventType.CREDENTIAL_REVOKED
    if events.listening(kind, client.project_id):
        for profile in client.profiles.filter(pk__in=alive.values("profile_id")):
            held = list(alive.filter(profile=profile))
            events.of_credentials(kind, profile, partial(list, held), by)
    return alive.update(revoked_at=timezone.now())


def _record(by: Actor, done: Offboarded) -> None:
    client = done.client
    audit_log.record(
        by,
        "client.offboard",
        target_kind="client",
        target_id=client.pk,
        target_name=client.name,
        project_id=client.project_id,
        after={
            "profiles": done.profiles,
            "credentials": done.credentials,
            "handovers": done.handovers,
        },
    )
