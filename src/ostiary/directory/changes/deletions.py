"""Keeps a copy of what is deleted, for seven days, so that it can be put back.

Written in the transaction of the deletion, by the use case that deletes. The copy has no secret: neither
sealed ones, nor digests of credentials. Rights end with the deletion, as before.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta

from django.core import serializers
from django.db import connection, models
from django.utils import timezone

from ostiary.directory.actor import Actor
from ostiary.directory.models import (
    AccessProfile,
    Client,
    ClientDefaults,
    Connection,
    Credential,
    DeletedObject,
    Webhook,
)

#: For how long a deleted object can be put back.
KEPT = timedelta(days=7)
#: Columns that hold a secret, and what stands there in a copy.
_SECRETS: Mapping[type[models.Model], tuple[str, ...]] = {
    AccessProfile: ("sealed_secret",),
    ClientDefaults: ("sealed_secret",),
    Connection: ("auth_secret",),
    Webhook: ("secret", "old_secret"),
}
#: Methods whose credential is a name that tokens carry, and no secret.
_SIGNED = ("jwt", "oidc")


def keep(
    by: Actor,
    kind: str,
    row: models.Model,
    *,
    project_id: int | None,
    besides: Iterable[models.Model] = (),
    name: str = "",
    takes: Mapping[str, int] | None = None,
) -> None:
    """Keep a copy of a row and of those that go with it; in the order in which they can be written again."""
    assert connection.in_atomic_block  # noqa: S101 - a programming error, not input
    rows = [row, *besides]
    text = serializers.serialize("json", map(_without_secrets, rows))
    DeletedObject.objects.create(
        kind=kind,
        object_id=row.pk,
        name=(name or str(getattr(row, "name", "")))[:255],
        project_id=project_id,
        takes=dict(takes or {}),
        content=text,
        deleted_by=by.name[:255],
    )


def keep_profile(by: Actor, profile: AccessProfile) -> None:
    """Keep a copy of an access profile."""
    keep(
        by,
        "access_profile",
        profile,
        project_id=profile.client.project_id,
        besides=_names(AccessProfile.objects.filter(pk=profile.pk)),
        takes={"credentials": profile.credentials.filter(revoked_at=None, trial=False).count()},
    )


def keep_client(by: Actor, client: Client) -> None:
    """Keep a copy of a client with its defaults and profiles."""
    profiles = AccessProfile.objects.filter(client=client).order_by("pk")
    alive = Credential.objects.filter(profile__client=client, revoked_at=None, trial=False)
    keep(
        by,
        "client",
        client,
        project_id=client.project_id,
        besides=[
            *ClientDefaults.objects.filter(client=client),
            *profiles.prefetch_related("collections", "allowed_lists", "denied_lists"),
            *_names(profiles),
        ],
        takes={"access_profiles": profiles.count(), "credentials": alive.count()},
    )


def _names(profiles: models.QuerySet[AccessProfile]) -> list[models.Model]:
    """The profile keys of signed tokens: tokens that carry one prove themselves by a key of the issuer."""
    signed = profiles.filter(auth_type__in=_SIGNED).order_by()
    held = Credential.objects.filter(profile__in=signed, revoked_at=None, trial=False)
    return list(held.order_by("pk"))


def _without_secrets(row: models.Model) -> models.Model:
    for name in _SECRETS.get(type(row), ()):
        setattr(row, name, "")
    return row


def restorable() -> models.QuerySet[DeletedObject]:
    """What can be put back still, the newest first."""
    return DeletedObject.objects.filter(deleted_at__gt=timezone.now() - KEPT).order_by("-pk")


def tidy() -> int:
    """Delete the copies that are too old; returns how many."""
    return DeletedObject.objects.filter(deleted_at__lte=timezone.now() - KEPT).delete()[0]
