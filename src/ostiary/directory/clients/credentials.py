"""Credentials: tokens issued, imported, refreshed and revoked. Only digests are stored."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from ostiary import settings
from ostiary.access.decision import LEASE_SECONDS
from ostiary.access.methods import AuthMethod
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import audit_log, etags, feed, fields
from ostiary.directory.changes.confirmation import Saved, unchanged
from ostiary.directory.changes.errors import Invalid, NotFound
from ostiary.directory.changes.permission import require
from ostiary.directory.clients import token_rules
from ostiary.directory.models import AccessProfile, Credential
from ostiary.directory.webhooks import events
from ostiary.identity import tokens
from ostiary.identity.sealing import KeyRing
from ostiary.identity.secret import Secret

LONGEST_OVERLAP = 30 * 86_400


def credentials(by: Actor) -> QuerySet[Credential]:
    """The credentials of every access profile that `by` sees, also those that have ended."""
    return Credential.objects.visible_to(by).filter(trial=False)


def find(by: Actor, credential_id: int) -> Credential:
    """One of them, with its profile and client; raises NotFound."""
    found = credentials(by).select_related("profile__client").filter(pk=credential_id).first()
    if found is None:
        raise NotFound("credential")
    return found


def alive(profile: AccessProfile) -> QuerySet[Credential]:
    """The credentials that may still be used, the newest first."""
    return working(timezone.now()).filter(profile=profile).order_by("-pk")


def working(now: datetime) -> QuerySet[Credential]:
    """Every credential that may be used at `now`."""
    return (
        Credential.objects.filter(trial=False, revoked_at=None)
        .filter(Q(overlap_until=None) | Q(overlap_until__gt=now))
        .filter(Q(expires_at=None) | Q(expires_at__gt=now))
    )


def find_alive(profile: AccessProfile, credential_id: int) -> Credential:
    """A credential of a profile that may still be used; raises NotFound."""
    found = alive(profile).filter(pk=credential_id).first()
    if found is None:
        raise NotFound("credential")
    return found


def check_first(
    profile: AccessProfile,
    problems: fields.Problems,
    *,
    token: object = None,
    digest: object = None,
    profile_key: object = None,
) -> None:
    """Note what is wrong with a first credential, as far as that can be seen before it is made."""
    method = AuthMethod(profile.auth_type)
    if method is not AuthMethod.TOKEN and not (token is None and digest is None):
        problems.add("token" if digest is None else "token_sha256", _for_tokens(method))
    elif digest is not None:
        parsed = tokens.parse_digest(digest) if isinstance(digest, str) else None
        if parsed is None:
            problems.add("token_sha256", _NO_DIGEST)
        elif Credential.objects.filter(fingerprint=parsed).exists():
            problems.add("token_sha256", _TAKEN)
    if profile_key is not None and method not in token_rules.SIGNED:
        problems.add("profile_key", f"is for JWT and OpenID Connect, not for {method}")


_NO_DIGEST = "must be 64 hex characters"
_TAKEN = "belongs to another access profile already"


def _for_tokens(method: AuthMethod) -> str:
    return f"is for auth tokens, not for {method}"


def add_first(
    profile: AccessProfile,
    problems: fields.Problems,
    *,
    token: object = None,
    digest: object = None,
    profile_key: object = None,
) -> Secret:
    """Make the first credential of a new profile; returns the secret, which is shown once."""
    method = AuthMethod(profile.auth_type)
    if method is not AuthMethod.TOKEN and not (token is None and digest is None):
        problems.add("token", _for_tokens(method))
    if method in token_rules.SIGNED:
        _add_key(profile, problems, profile_key)
        return Secret("")
    if profile_key is not None:
        problems.add("profile_key", f"is for JWT and OpenID Connect, not for {method}")
    if method is AuthMethod.OAUTH2:
        return add_client(profile)
    if token is None and digest is None:
        return add_issued(profile)
    add_imported(profile, problems, token=token, digest=digest)
    return Secret("")


def add_client(profile: AccessProfile) -> Secret:
    """Issue an OAuth 2.0 client id and secret, and return the secret."""
    client_id, secret = tokens.issue_client_id(), tokens.issue_client_secret()
    Credential.objects.create(
        profile=profile,
        fingerprint=tokens.client_fingerprint(client_id),
        public_id=client_id,
        secret_fingerprint=tokens.fingerprint(secret.reveal()),
        prefix=tokens.prefix_of(client_id),
        last_four=tokens.last_four(client_id),
    )
    return secret


def _add_key(profile: AccessProfile, problems: fields.Problems, given: object) -> None:
    """The profile key that signed tokens carry: the given one, or a new one."""
    key = tokens.issue_profile_key()
    if given is not None:
        key = fields.text(problems, "profile_key", given)
    other = key_holder(profile, keys=[key])
    if other is not None:
        problems.add(
            "profile_key", f"belongs to the access profile {other.name} of this project already"
        )
    Credential.objects.create(
        profile=profile,
        fingerprint=tokens.key_fingerprint(profile.pk, key),
        public_id=key,
        imported=given is not None,
    )


def key_holder(
    profile: AccessProfile, *, keys: Sequence[str] = (), secret: str = ""
) -> AccessProfile | None:
    """Another profile of the project that tokens of the same consumers would fit, if there is one.

    One key may belong to several profiles where key, issuer or audience tell their tokens apart. Of
    other projects nothing is told: there, whoever grants the collection decides. `keys` are those of
    a profile that has none yet; `secret` is an HMAC secret that is not sealed yet.
    """
    own = keys or list(
        Credential.objects.filter(profile=profile, revoked_at=None).values_list(
            "public_id", flat=True
        )
    )
    others = AccessProfile.objects.filter(
        client__project_id=profile.client.project_id, custom_claim=profile.custom_claim,
        auth_type=profile.auth_type, credentials__public_id__in=own,
        credentials__revoked_at=None,
    ).exclude(pk=profile.pk)  # fmt: skip
    for other in others.order_by("pk").distinct():
        if token_rules.overlap(profile, other, secret):
            return other
    return None


def add_issued(profile: AccessProfile, *, expires_at: datetime | None = None) -> Secret:
    """Issue a token for a profile, in the caller's transaction; the only time it is seen."""
    ring = KeyRing.load(settings.current().data / "keyring.json")
    token = tokens.issue_token(ring.issue_key)
    _store(profile, tokens.fingerprint(token.reveal()), token, expires_at)
    return token


def add_trial(profile: AccessProfile, *, expires_at: datetime) -> tuple[Credential, Secret]:
    """Issue a credential for one call of an owner's own: a token, or the client id of one.

    It is in nobody's hands, so it does not count among the two that may be alive.
    """
    oauth = profile.auth_type == AuthMethod.OAUTH2
    if oauth:
        client_id = tokens.issue_client_id()
        secret, fingerprint = Secret(client_id), tokens.client_fingerprint(client_id)
    else:
        ring = KeyRing.load(settings.current().data / "keyring.json")
        secret = tokens.issue_token(ring.issue_key)
        fingerprint = tokens.fingerprint(secret.reveal())
    credential = Credential.objects.create(
        profile=profile,
        fingerprint=fingerprint,
        public_id=secret.reveal() if oauth else "",
        trial=True,
        expires_at=expires_at,
    )
    return credential, secret


def add_imported(
    profile: AccessProfile,
    problems: fields.Problems,
    *,
    token: object,
    digest: object,
    expires_at: datetime | None = None,
) -> None:
    """Take over a token that consumers hold already, given as it is or as its SHA-256."""
    shown = Secret("")
    if token is not None and digest is not None:
        problems.add("token", "give the token or its SHA-256, not both")
        return
    if token is not None:
        problem = tokens.problem_with_import(token) if isinstance(token, str) else "must be a text"
        if problem:
            problems.add("token", problem)
            return
        shown, fingerprint = Secret(str(token)), tokens.fingerprint(str(token))
    else:
        parsed = tokens.parse_digest(digest) if isinstance(digest, str) else None
        if parsed is None:
            problems.add("token_sha256", _NO_DIGEST)
            return
        fingerprint = parsed
    try:
        with transaction.atomic():
            _store(profile, fingerprint, shown, expires_at, imported=True)
    except IntegrityError:
        problems.add("token", _TAKEN)


def _store(
    profile: AccessProfile,
    fingerprint: bytes,
    shown: Secret,
    expires_at: datetime | None,
    *,
    imported: bool = False,
) -> Credential:
    text = shown.reveal()
    # An imported token may be short: then its ends say too much of it.
    ends = bool(text) and (not imported or len(text) >= 32)
    return Credential.objects.create(
        profile=profile,
        fingerprint=fingerprint,
        prefix=tokens.prefix_of(text) if ends else "",
        last_four=tokens.last_four(text) if ends else "",
        imported=imported,
        expires_at=expires_at,
    )


def refresh(
    *, by: Actor, profile_id: int, overlap_seconds: int = 0, if_match: str | None = None
) -> tuple[Saved[AccessProfile], Secret]:
    """Issue a new token, or client id and secret; the old works on for `overlap_seconds`, or not.

    At most two are alive: an older overlap ends at once. Raises Invalid for a profile whose
    method has no token.
    """
    with transaction.atomic():
        profile = locked_profile(by, profile_id)
        etags.check(profile, if_match)
        if AuthMethod(profile.auth_type) in token_rules.SIGNED:
            raise Invalid({"auth_type": ["this method has no secret to refresh"]})
        if not 0 <= overlap_seconds <= LONGEST_OVERLAP:
            raise Invalid({"overlap_seconds": [f"must be from 0 to {LONGEST_OVERLAP}"]})
        _retire(profile, overlap_seconds)
        oauth = profile.auth_type == AuthMethod.OAUTH2
        secret = add_client(profile) if oauth else add_issued(profile, expires_at=None)
        overlap = {"overlap_seconds": overlap_seconds}
        refreshed = events.EventType.CREDENTIAL_REFRESHED
        events.of_credentials(refreshed, profile, lambda: alive(profile)[:1], by, **overlap)
        sequence = _announced(by, "profile.refresh", profile, after=overlap)
    unconfirmed = _unconfirmed(profile.updated_at, overlap_seconds)
    return Saved(value=profile, sequence=sequence, unconfirmed=unconfirmed), secret


def _unconfirmed(at: datetime, overlap_seconds: int) -> str:
    """What holds of a refresh that no gateway has confirmed: a lease from before it ends by itself."""
    ends = at + timedelta(seconds=max(LEASE_SECONDS, overlap_seconds))
    until = ends.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    when = "" if overlap_seconds else "when the gateway confirms, "
    return (
        "Saved, not yet in force: the gateway has not confirmed it. The new credential is shown "
        f"this once. The old one ends {when}at the latest at {until}."
    )


def _retire(profile: AccessProfile, overlap_seconds: int) -> None:
    now = timezone.now()
    newest = alive(profile).filter(overlap_until=None).first()
    old = Credential.objects.filter(profile=profile, trial=False, revoked_at=None)
    if overlap_seconds and newest is not None:
        old = old.exclude(pk=newest.pk)
        newest.overlap_until = now + timedelta(seconds=overlap_seconds)
        newest.save(update_fields=["overlap_until"])
    old.update(revoked_at=now)


def cut_off(
    *, by: Actor, profile_id: int, credential_id: int, if_match: str | None = None
) -> Saved[AccessProfile]:
    """Revoke one credential now; repeating is safe. Raises NotFound."""
    with transaction.atomic():
        profile = locked_profile(by, profile_id)
        etags.check(profile, if_match)
        credential = Credential.objects.filter(profile=profile, pk=credential_id).first()
        if credential is None:
            raise NotFound("credential")
        if credential.revoked_at is not None:
            return unchanged(profile, profile.epoch)
        credential.revoked_at = timezone.now()
        credential.save(update_fields=["revoked_at"])
        revoked = events.EventType.CREDENTIAL_REVOKED
        events.of_credentials(revoked, profile, lambda: [credential], by)
        after = {"credential_id": credential_id}
        sequence = _announced(by, "credential.cut_off", profile, after=after)
    return Saved(value=profile, sequence=sequence)


def locked_profile(by: Actor, profile_id: int) -> AccessProfile:
    """The profile, locked for a change by an editor; raises NotFound, Forbidden."""
    visible = AccessProfile.objects.visible_to(by)
    profile = visible.select_for_update().filter(pk=profile_id).first()
    if profile is None:
        raise NotFound("access profile")
    require(by, Role.EDITOR, profile.client.project_id)
    return profile


def _announced(by: Actor, action: str, profile: AccessProfile, after: Mapping[str, object]) -> int:
    audit_log.record(
        by,
        action,
        target_kind="profile",
        target_id=profile.pk,
        target_name=profile.name,
        project_id=profile.client.project_id,
        after=after,
    )
    profile.epoch = feed.announce(feed.Kind.PROFILE, profile.pk)
    profile.save(update_fields=["epoch", "updated_at"])
    return profile.epoch
