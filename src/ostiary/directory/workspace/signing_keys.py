"""Keys that sign access tokens: made at the first start, rotated without an outage, sealed."""

from datetime import UTC, datetime, timedelta

from django.db import transaction
from django.utils import timezone

from ostiary import settings
from ostiary.directory.actor import SYSTEM, Actor
from ostiary.directory.changes import audit_log, etags, feed
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import NotFound
from ostiary.directory.changes.permission import require_admin
from ostiary.directory.models import RevokedToken, SigningKey
from ostiary.identity import access_tokens, tokens
from ostiary.identity.sealing import KeyRing

#: A key signs so long, then the next start makes another.
ROTATE_AFTER = timedelta(days=90)


def context(kid: str) -> str:
    """Where a private key is sealed to."""
    return f"signing_key:{kid}:sealed"


def ensure() -> None:
    """Make the first key, and another one when the newest is old."""
    newest = SigningKey.objects.filter(retired_at=None).order_by("-pk").first()
    if newest is None or newest.created_at < timezone.now() - ROTATE_AFTER:
        _rotate(SYSTEM)


def rotate(*, by: Actor) -> Saved[SigningKey]:
    """Sign with a new key from now on; what the old one signed verifies until it expires."""
    require_admin(by)
    return _rotate(by)


def _rotate(by: Actor) -> Saved[SigningKey]:
    now = timezone.now()
    kid, public, private = access_tokens.new_key()
    ring = KeyRing.load(settings.current().data / "keyring.json")
    with transaction.atomic():
        gone = now - timedelta(seconds=access_tokens.RETIRED_SECONDS)
        SigningKey.objects.filter(retired_at__lt=gone).delete()
        RevokedToken.objects.filter(expires_at__lt=now).delete()
        SigningKey.objects.filter(retired_at=None).update(retired_at=now)
        key = SigningKey.objects.create(
            kid=kid, public=dict(public), sealed=ring.seal(private.reveal(), context(kid))
        )
        audit_log.record(
            by, "signing_key.rotate", target_kind="signing_key", target_id=key.pk, target_name=kid
        )
        sequence = feed.announce(feed.Kind.SETTINGS, 0)
    return Saved(value=key, sequence=sequence)


def published() -> list[SigningKey]:
    """The keys that verify, the newest first."""
    limit = timezone.now() - timedelta(seconds=access_tokens.RETIRED_SECONDS)
    return list(SigningKey.objects.exclude(retired_at__lt=limit).order_by("-pk"))


def find(by: Actor, kid: str) -> SigningKey:
    """A key that verifies, by its id; for workspace admins. Raises NotFound."""
    require_admin(by)
    found = [key for key in published() if key.kid == kid]
    if not found:
        raise NotFound("signing key")
    return found[0]


def version(key: SigningKey) -> str:
    """The key's ETag: it has no version but that it signs, or no longer does."""
    return etags.of_value((key.kid, key.retired_at))


def signing() -> access_tokens.SigningKeyPair:
    """The key that signs now."""
    newest = SigningKey.objects.filter(retired_at=None).latest("pk")
    ring = KeyRing.load(settings.current().data / "keyring.json")
    return access_tokens.load_key(newest.kid, ring.open(newest.sealed, context(newest.kid)))


def revoke_token(*, profile_id: int, token_id: str, expires_at: int) -> int:
    """Revoke one access token; the sequence after which it is dead at the gateway."""
    until = datetime.fromtimestamp(expires_at, tz=UTC)
    with transaction.atomic():
        RevokedToken.objects.get_or_create(
            fingerprint=tokens.fingerprint(token_id), defaults={"expires_at": until}
        )
        return feed.announce(feed.Kind.PROFILE, profile_id)
