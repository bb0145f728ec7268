"""Trying an endpoint: a test call with a short-lived credential of a profile, revoked after the call.

No secret of a consumer is kept that could be used instead; docs/decisions/0008 has the reasons.
"""

from dataclasses import dataclass
from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from ostiary.access.methods import AuthMethod
from ostiary.directory.actor import Actor, Role
from ostiary.directory.catalog import endpoints
from ostiary.directory.changes import audit_log, feed
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.changes.permission import require
from ostiary.directory.clients import credentials, token_rules
from ostiary.directory.models import AccessProfile, Credential, Endpoint
from ostiary.directory.workspace import public_urls, signing_keys
from ostiary.identity import access_tokens
from ostiary.identity.secret import Secret

#: How long the credential works if nobody cuts it off; an endpoint may take up to four minutes to
#: answer, but it is admitted at once.
SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A call that may be made now. `credential_id` is empty if the owner brought a credential."""

    endpoint: Endpoint
    secret: Secret
    credential_id: int | None = None


def begin(
    *, by: Actor, endpoint_id: int, profile_id: int | None = None, pasted: Secret | None = None
) -> Trial:
    """Let an editor call an endpoint, as a profile or with a credential that was pasted.

    A profile needs an editor of its client's project too. Raises Invalid, NotFound, Forbidden.
    """
    with transaction.atomic():
        endpoint = endpoints.find(by, endpoint_id)
        require(by, Role.EDITOR, endpoint.collection.project_id)
        if pasted is not None:
            _record(by, endpoint, None)
            return Trial(endpoint=endpoint, secret=pasted)
        if profile_id is None:
            raise Invalid({"profile": ["can't be blank, unless a credential is pasted"]})
        profile = credentials.locked_profile(by, profile_id)
        if AuthMethod(profile.auth_type) in token_rules.SIGNED:
            message = "has tokens that somebody else signs; paste one of them"
            raise Invalid({"profile": [message]})
        now = timezone.now()
        # Of a process that died before it could cut its own off.
        Credential.objects.filter(profile=profile, trial=True, expires_at__lt=now).delete()
        until = now + timedelta(seconds=SECONDS)
        credential, secret = credentials.add_trial(profile, expires_at=until)
        _record(by, endpoint, profile)
    if profile.auth_type == AuthMethod.OAUTH2:
        secret = access_tokens.issue(
            signing_keys.signing(),
            issuer=public_urls.gateway_url(),
            client_id=secret.reveal(),
            now=int(now.timestamp()),
            lifetime=SECONDS,
        ).token
    return Trial(endpoint=endpoint, secret=secret, credential_id=credential.pk)


def end(trial: Trial) -> Saved[None]:
    """Cut a trial's credential off; repeating is safe."""
    with transaction.atomic():
        found = Credential.objects.filter(pk=trial.credential_id or 0, trial=True).first()
        if found is None:
            return Saved(value=None, sequence=0)
        found.delete()
        sequence = feed.announce(feed.Kind.PROFILE, found.profile_id)
    return Saved(value=None, sequence=sequence)


def _record(by: Actor, endpoint: Endpoint, profile: AccessProfile | None) -> None:
    audit_log.record(
        by,
        "endpoint.try",
        target_kind="endpoint",
        target_id=endpoint.pk,
        target_name=endpoint.name,
        project_id=endpoint.collection.project_id,
        after={"profile_id": profile.pk} if profile else {"credential": "pasted"},
    )
