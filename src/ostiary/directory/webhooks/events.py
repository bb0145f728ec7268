"""Webhook events: written in the transaction of the change, sent later by `webhooks`.

The types of events are a closed set. No event holds a secret; of a credential it says what the
console shows of it.
"""

import enum
import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import Q
from django.utils import timezone

from ostiary.directory.actor import SYSTEM, Actor
from ostiary.directory.changes import audit_log
from ostiary.directory.models import (
    AccessProfile,
    AuditEvent,
    Client,
    ConfigurationSet,
    Credential,
    Handover,
    Webhook,
    WebhookDelivery,
    WebhookEvent,
)
from ostiary.identity import tokens

#: Batch size of the expiry scan.
AT_ONCE = 500


class EventType(enum.StrEnum):
    CREDENTIAL_ISSUED = "credential.issued"
    CREDENTIAL_REFRESHED = "credential.refreshed"
    CREDENTIAL_REVOKED = "credential.revoked"
    CREDENTIAL_EXPIRING = "credential.expiring"
    CREDENTIAL_AMBIGUOUS = "credential.ambiguous"
    PROFILE_ACTIVATED = "profile.activated"
    PROFILE_DEACTIVATED = "profile.deactivated"
    CLIENT_ACTIVATED = "client.activated"
    CLIENT_DEACTIVATED = "client.deactivated"
    QUOTA_WARNING = "quota.warning"
    QUOTA_REACHED = "quota.reached"
    HANDOVER_OPENED = "handover.opened"
    CONFIG_DRIFTED = "config.drifted"
    #: Sent when a member asks for it, to any webhook.
    TEST = "webhook.test"


#: When an event is sent, for documents and the description of the API.
MEANINGS: Mapping[EventType, str] = {
    EventType.CREDENTIAL_ISSUED: "A credential was made, with a new access profile.",
    EventType.CREDENTIAL_REFRESHED: "A credential was refreshed.",
    EventType.CREDENTIAL_REVOKED: (
        "A credential was revoked, or deleted with its access profile or client."
    ),
    EventType.CREDENTIAL_EXPIRING: (
        "A credential, its overlap or its access profile ends in `expiry_days`; sent once."
    ),
    EventType.CREDENTIAL_AMBIGUOUS: (
        "A signed token fits several active access profiles that include the collection, and is refused; "
        "sent once a day for each access profile."
    ),
    EventType.PROFILE_ACTIVATED: "An access profile was switched on.",
    EventType.PROFILE_DEACTIVATED: "An access profile was switched off.",
    EventType.CLIENT_ACTIVATED: "A client was switched on.",
    EventType.CLIENT_DEACTIVATED: "A client was switched off.",
    EventType.QUOTA_WARNING: "80 % of a usage quota is used; sent once in each period.",
    EventType.QUOTA_REACHED: "A usage quota is used up; sent once in each period.",
    EventType.HANDOVER_OPENED: "A hand-over link was opened, and has shown its credential.",
    EventType.CONFIG_DRIFTED: (
        "Objects of a set of configuration files were changed or deleted beside the files; sent again "
        "when others are."
    ),
    EventType.TEST: "A member asked for a test; any webhook gets it.",
}

#: What a webhook can ask for.
OFFERED = tuple(kind for kind in EventType if kind is not EventType.TEST)

Said = Mapping[str, object]


def listening(kind: EventType, project_id: int | None = None) -> list[Webhook]:
    """The active webhooks that want `kind`: of one project and the workspace's, or all."""
    found = Webhook.objects.filter(active=True)
    if project_id is not None:
        found = found.filter(Q(project=None) | Q(project_id=project_id))
    return [webhook for webhook in found if kind.value in webhook.events]


def tell(kind: EventType, data: Said, to: Iterable[Webhook], *, once: str | None = None) -> None:
    """Write one event for `to`, in the caller's transaction; with `once`, the first time only."""
    assert connection.in_atomic_block  # noqa: S101 - a programming error, not input
    now = timezone.now()
    content = {"type": kind.value, "timestamp": _moment(now), "data": data}
    try:
        with transaction.atomic():
            event = WebhookEvent.objects.create(
                uid=f"msg_{secrets.token_urlsafe(18)}",
                type=kind.value,
                payload=json.dumps(content, ensure_ascii=False, separators=(",", ":")),
                once=once,
            )
    except IntegrityError:
        # Only `once` can be there already; a `uid` has 144 random bits.
        return
    WebhookDelivery.objects.bulk_create(
        WebhookDelivery(webhook=webhook, event=event, next_at=now, since=now) for webhook in to
    )


def of_credentials(
    kind: EventType,
    profile: AccessProfile,
    found: Callable[[], Iterable[Credential]],
    by: Actor,
    **more: object,
) -> None:
    """Tell of each of a profile's credentials; `found` is asked only if somebody listens."""
    to = listening(kind, profile.client.project_id)
    if to:
        for credential in found():
            data = _profile(profile) | {"credential": _credential(credential)}
            tell(kind, data | _by(by) | more, to)


def of_profile(kind: EventType, profile: AccessProfile, by: Actor) -> None:
    """Tell that a profile was switched."""
    to = listening(kind, profile.client.project_id)
    if to:
        tell(kind, _profile(profile) | _by(by), to)


def of_client(kind: EventType, client: Client, by: Actor) -> None:
    """Tell that a client was switched."""
    to = listening(kind, client.project_id)
    if to:
        tell(kind, _client(client) | _by(by), to)


def of_ambiguity(profile_ids: Iterable[int]) -> None:
    """Tell the owners of each profile that signed tokens fit it and others; once a day for each.

    Of a profile in another project its owners are told by an event of their own, and nobody else.
    """
    now = timezone.now()
    found = AccessProfile.objects.filter(pk__in=profile_ids).select_related("client")
    for profile in found.order_by("pk"):
        with transaction.atomic():
            known = AuditEvent.objects.filter(
                action="profile.ambiguous", target_id=profile.pk, at__gt=now - timedelta(days=1)
            )
            if known.exists():
                continue
            beside = [
                other.pk
                for other in found
                if other.pk != profile.pk and other.client.project_id == profile.client.project_id
            ]
            audit_log.record(
                SYSTEM,
                "profile.ambiguous",
                target_kind="profile",
                target_id=profile.pk,
                target_name=profile.name,
                project_id=profile.client.project_id,
                after={"profiles": len(found), "profile_ids_of_project": beside},
            )
            to = listening(EventType.CREDENTIAL_AMBIGUOUS, profile.client.project_id)
            if to:
                tell(
                    EventType.CREDENTIAL_AMBIGUOUS,
                    _profile(profile) | {"profiles": len(found), "profile_ids_of_project": beside},
                    to,
                )


def of_quota(
    kind: EventType, profile: AccessProfile, *, calls: int, percent: int, start: int, end: int
) -> None:
    """Tell that `percent` of a quota is used in the period from `start`; once in each."""
    policy = profile.policy
    to = listening(kind, profile.client.project_id)
    if to and policy is not None:
        quota = {
            "percent": percent,
            "calls": calls,
            "limit": policy.quota_limit,
            "interval": policy.quota_interval,
            "period_start": _moment(datetime.fromtimestamp(start, UTC)),
            "period_end": _moment(datetime.fromtimestamp(end, UTC)),
        }
        told = _profile(profile) | {"policy": {"id": policy.pk, "name": policy.name}}
        tell(kind, told | {"quota": quota}, to, once=quota_key(profile.pk, start, percent))


def quota_key(profile_id: int, start: int, percent: int) -> str:
    """What makes a quota's event happen once."""
    return f"quota:{profile_id}:{start}:{percent}"


def of_handover(handover: Handover) -> None:
    """Tell that a hand-over link was opened."""
    profile = handover.profile
    to = listening(EventType.HANDOVER_OPENED, profile.client.project_id)
    if to:
        opened = {"id": handover.pk, "opened_from": handover.opened_from}
        data = _profile(profile) | {"credential": _credential(handover.credential)}
        tell(EventType.HANDOVER_OPENED, data | {"handover": opened}, to)


def of_drift(
    row: ConfigurationSet, *, drifted: int, objects: Sequence[Mapping[str, object]]
) -> None:
    """Tell that objects of a set are not as its files said; names of fields, no values."""
    to = listening(EventType.CONFIG_DRIFTED, row.project_id)
    if to:
        data = {
            "project_id": row.project_id,
            "set": {"name": row.name, "commit": row.commit, "applied_by": row.applied_by},
            "drifted": drifted,
            "objects": objects,
        }
        tell(EventType.CONFIG_DRIFTED, data, to)


def tell_expiring(now: datetime) -> int:
    """Tell every webhook of the credentials that end within its days, once; returns how many."""
    told = 0
    for webhook in listening(EventType.CREDENTIAL_EXPIRING):
        until = now + timedelta(days=webhook.expiry_days)
        soon = Q(expires_at__range=(now, until)) | Q(overlap_until__range=(now, until))
        soon |= Q(profile__expires_at__range=(now, until))
        found = Credential.objects.filter(soon, revoked_at=None).select_related("profile__client")
        if webhook.project_id is not None:
            found = found.filter(profile__client__project_id=webhook.project_id)
        known = f"expiring:{webhook.pk}:"
        had = set(
            WebhookEvent.objects.filter(once__startswith=known).values_list("once", flat=True)
        )
        for credential in found.order_by("pk").iterator(chunk_size=AT_ONCE):
            ends = min(_ends(credential))
            once = f"{known}{credential.pk}:{int(ends.timestamp())}"
            if now < ends <= until and once not in had:
                data = _profile(credential.profile) | {"credential": _credential(credential)}
                with transaction.atomic():
                    tell(EventType.CREDENTIAL_EXPIRING, data, [webhook], once=once)
                told += 1
    return told


def _ends(credential: Credential) -> list[datetime]:
    ends = (credential.expires_at, credential.overlap_until, credential.profile.expires_at)
    return [end for end in ends if end is not None]


def _client(client: Client) -> dict[str, Any]:
    return {
        "project_id": client.project_id,
        "client": {"id": client.pk, "name": client.name},
    }


def _profile(profile: AccessProfile) -> dict[str, Any]:
    shown = {"id": profile.pk, "name": profile.name, "auth_type": profile.auth_type}
    return _client(profile.client) | {"access_profile": shown}


def _credential(credential: Credential) -> dict[str, Any]:
    ends = _ends(credential)
    return {
        "id": credential.pk,
        "masked": tokens.masked(credential.prefix, credential.last_four),
        "created_at": _moment(credential.created_at),
        "expires_at": _moment(min(ends)) if ends else None,
    }


def _by(by: Actor) -> dict[str, Any]:
    return {"by": {"kind": by.kind, "id": by.id, "name": by.name}}


def _moment(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
