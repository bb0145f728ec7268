"""Hand-over links: the owner sends a link, and whoever holds it sees the credential, once.

The secret is sealed under the link's own key, which only the link has. Until it is opened, neither the
database with our key ring nor an owner can read it; afterwards it is deleted.
"""

import enum
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from ostiary.access.methods import AuthMethod
from ostiary.directory.actor import Actor
from ostiary.directory.changes import audit_log, etags
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import InUse, Invalid, NotFound
from ostiary.directory.clients import access_profiles, credentials, token_rules
from ostiary.directory.models import AccessProfile, Credential, Handover
from ostiary.directory.webhooks import events
from ostiary.directory.workspace import public_urls
from ostiary.identity import handover_keys, tokens
from ostiary.identity.secret import Secret

#: For how long a link can be opened, in seconds.
LEAST, USUAL, LONGEST = 300, 3 * 86_400, 30 * 86_400
#: For how long the old credential works beside the new one, unless it is said.
OVERLAP = 86_400
#: Links of one profile that can be opened at the same time.
MOST_WAITING = 10


class HandoverState(enum.StrEnum):
    WAITING = "waiting"
    OPENED = "opened"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeHandover:
    """A new link, with the address that is shown this once."""

    handover: Handover
    url: Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedHandover:
    """What the one who opened a link sees."""

    profile: AccessProfile
    credential: Credential
    secret: Secret


def state(handover: Handover, now: datetime | None = None) -> HandoverState:
    """What has become of a link. One whose credential is revoked counts as withdrawn."""
    if handover.opened_at is not None:
        return HandoverState.OPENED
    if handover.withdrawn_at is not None or handover.credential.revoked_at is not None:
        return HandoverState.WITHDRAWN
    over = handover.expires_at <= (now or timezone.now())
    return HandoverState.EXPIRED if over else HandoverState.WAITING


def handovers(by: Actor, profile_id: int) -> QuerySet[Handover]:
    """The links of a profile, the newest first; raises NotFound."""
    profile = access_profiles.find(by, profile_id)
    return Handover.objects.filter(profile=profile).select_related("credential").order_by("-pk")


def find(by: Actor, handover_id: int) -> Handover:
    visible: QuerySet[Handover] = Handover.objects.visible_to(by)
    found = visible.filter(pk=handover_id).select_related("credential", "profile__client").first()
    if found is None:
        raise NotFound("hand-over link")
    return found


def has_secret(profile: AccessProfile) -> bool:
    """Whether consumers of a profile hold a secret that Ostiary knows."""
    match AuthMethod(profile.auth_type):
        case AuthMethod.TOKEN | AuthMethod.OAUTH2:
            return True
        case AuthMethod.JWT:
            return bool(profile.proof.get("method") == "hmac")
        case AuthMethod.OIDC:
            return False


def create(
    *,
    by: Actor,
    profile_id: int,
    valid_seconds: int = USUAL,
    overlap_seconds: int = OVERLAP,
    secret: str | None = None,
    if_match: str | None = None,
) -> Saved[MadeHandover]:
    """Make a link for the secret that the caller holds, or for a new one in its place.

    A new one is issued as by `credentials.refresh`; the secret of HMAC is replaced at once, since a
    profile has one. Raises Invalid, NotFound, Forbidden, InUse.
    """
    with transaction.atomic():
        profile = credentials.locked_profile(by, profile_id)
        etags.check(profile, if_match)
        _check(profile, valid_seconds, overlap_seconds)
        Handover.objects.filter(profile=profile, expires_at__lte=timezone.now()).update(sealed="")
        if secret is not None:
            credential, sequence = _holder_of(profile, secret), 0
            plain = Secret(secret)
        else:
            plain, sequence = _issue(by, profile, overlap_seconds)
            credential = credentials.alive(profile)[0]
        key = tokens.issue_handover_key()
        made = Handover.objects.create(
            profile=profile,
            credential=credential,
            fingerprint=handover_keys.fingerprint(key.reveal()),
            sealed=handover_keys.seal(json.dumps({"secret": plain.reveal()}), key),
            made_by=by.name[:255],
            expires_at=timezone.now() + timedelta(seconds=valid_seconds),
        )
        _record(by, "create", made, after={"expires_at": made.expires_at.isoformat()})
    url = Secret(public_urls.handover_link(key))
    return Saved(value=MadeHandover(handover=made, url=url), sequence=sequence)


def _check(profile: AccessProfile, valid_seconds: int, overlap_seconds: int) -> None:
    if not has_secret(profile):
        raise Invalid({"auth_type": ["this method has no secret to hand over"]})
    if not LEAST <= valid_seconds <= LONGEST:
        raise Invalid({"valid_seconds": [f"must be from {LEAST} to {LONGEST}"]})
    if not 0 <= overlap_seconds <= credentials.LONGEST_OVERLAP:
        raise Invalid({"overlap_seconds": [f"must be from 0 to {credentials.LONGEST_OVERLAP}"]})
    if _waiting().filter(profile=profile).count() >= MOST_WAITING:
        raise InUse(f"The access profile has {MOST_WAITING} hand-over links that nobody opened")


def _issue(by: Actor, profile: AccessProfile, overlap_seconds: int) -> tuple[Secret, int]:
    if profile.auth_type != AuthMethod.JWT:
        saved, secret = credentials.refresh(
            by=by, profile_id=profile.pk, overlap_seconds=overlap_seconds
        )
        return secret, saved.sequence
    secret = Secret(secrets.token_urlsafe(48))
    given = access_profiles.ProfileInput.of(jwt_secret=secret.reveal())
    return secret, access_profiles.change(by=by, profile_id=profile.pk, given=given).sequence


def _holder_of(profile: AccessProfile, secret: str) -> Credential:
    """The credential that a secret belongs to; raises Invalid if it is none of the profile's."""
    alive = credentials.alive(profile)
    match AuthMethod(profile.auth_type):
        case AuthMethod.TOKEN:
            found = alive.filter(fingerprint=tokens.fingerprint(secret)).first()
        case AuthMethod.OAUTH2:
            found = alive.filter(secret_fingerprint=tokens.fingerprint(secret)).first()
        case _:
            fits = Secret(secret) == Secret(token_rules.hmac_secret(profile))
            found = alive.first() if fits else None
    if found is None:
        raise Invalid({"secret": ["isn't a secret of this access profile that works"]})
    return found


def withdraw(*, by: Actor, handover_id: int) -> Handover:
    """Make a link show nothing; repeating is safe. Raises InUse for one that was opened."""
    with transaction.atomic():
        found = find(by, handover_id)
        credentials.locked_profile(by, found.profile_id)
        waiting = Handover.objects.filter(pk=found.pk, opened_at=None, withdrawn_at=None)
        if waiting.update(withdrawn_at=timezone.now(), sealed=""):
            _record(by, "withdraw", found)
        found.refresh_from_db()
        if found.opened_at is not None:
            raise InUse("The link was opened: revoke its credential instead")
    return found


def open_link(key: str, *, address: str) -> OpenedHandover | None:
    """Show the credential of a link, this once; nothing where there is nothing to show, whatever the cause."""
    with transaction.atomic():
        found = _of(key, _waiting())
        content = handover_keys.opened(found.sealed, key) if found else None
        if found is None or content is None:
            return None
        secret = Secret(str(json.loads(content.reveal())["secret"]))
        if not _still_works(found, secret):
            return None
        # Of two at the same moment, one changes the row.
        opened = Handover.objects.filter(pk=found.pk, opened_at=None, withdrawn_at=None)
        if not opened.update(opened_at=timezone.now(), opened_from=address[:64], sealed=""):
            return None
        found.opened_from = address[:64]
        holder = Actor(kind="system", id=None, name="Holder of a hand-over link", address=address)
        _record(holder, "open", found)
        events.of_handover(found)
    return OpenedHandover(profile=found.profile, credential=found.credential, secret=secret)


def opened_profile(key: str) -> AccessProfile | None:
    """The profile of a link that was opened and has not expired: its holder may read its documents."""
    opened = Handover.objects.filter(expires_at__gt=timezone.now(), withdrawn_at=None)
    found = _of(key, opened.exclude(opened_at=None).filter(_alive()))
    return found.profile if found else None


def _of(key: str, among: QuerySet[Handover]) -> Handover | None:
    related = among.select_related("credential", "profile__client", "profile__policy")
    return related.filter(fingerprint=handover_keys.fingerprint(key)).first()


def _alive() -> Q:
    now = timezone.now()
    return (
        Q(credential__revoked_at=None)
        & (Q(credential__overlap_until=None) | Q(credential__overlap_until__gt=now))
        & (Q(credential__expires_at=None) | Q(credential__expires_at__gt=now))
    )


def _waiting() -> QuerySet[Handover]:
    now = timezone.now()
    unopened = Handover.objects.filter(opened_at=None, withdrawn_at=None, expires_at__gt=now)
    return unopened.filter(_alive())


def _still_works(handover: Handover, secret: Secret) -> bool:
    """A profile's HMAC secret may have been replaced since."""
    profile = handover.profile
    if profile.auth_type != AuthMethod.JWT:
        return True
    return secret == Secret(token_rules.hmac_secret(profile))


def _record(
    by: Actor, verb: str, handover: Handover, after: Mapping[str, object] | None = None
) -> None:
    profile = handover.profile
    audit_log.record(
        by,
        f"handover.{verb}",
        target_kind="profile",
        target_id=profile.pk,
        target_name=profile.name,
        project_id=profile.client.project_id,
        after={
            "handover_id": handover.pk,
            "credential_id": handover.credential_id,
            **(after or {}),
        },
    )
