"""API keys of a client: access profiles as the newer dialect of the management API has them."""

from typing import ClassVar

from django.db import transaction

from ostiary.directory.actor import Actor
from ostiary.directory.changes.confirmation import Saved
from ostiary.directory.changes.errors import Invalid, NotFound
from ostiary.directory.clients import access_profiles, client_defaults, clients
from ostiary.directory.models import AccessProfile
from ostiary.identity.secret import Secret

#: Access profiles of a client, above which no key is made.
MOST_KEYS = 20
ADOPTED = "The client had no defaults. It has what its access profiles have together now, and this key follows it"


class KeyInput(access_profiles.OwnInput):
    """Input for a key; what it does not have follows the client."""


class NewKeyInput(KeyInput):
    """Input for a new key, with a credential that its consumer may already have."""

    required: ClassVar[tuple[str, ...]] = ("name", "active")

    token: str | None = None
    token_sha256: str | None = None
    profile_key: str | None = None


def find(by: Actor, client_id: int, key_id: int) -> AccessProfile:
    # By its own id first: the database refuses to compare a number that is too large for one.
    client = clients.find(by, client_id)
    key = access_profiles.profiles(by, client.pk).filter(pk=key_id).first()
    if key is None:
        raise NotFound("API key")
    return key


def create(*, by: Actor, client_id: int, given: NewKeyInput) -> tuple[Saved[AccessProfile], Secret]:
    """Make a key that follows its client, and return what of it is shown once.

    Raises Invalid, NotFound, Forbidden.
    """
    given.check_complete()
    if given.has("follows_client") and not given.follows_client:
        raise Invalid({"follows_client": ["must be true for a new key"]})
    with transaction.atomic():
        # Locked: two at once would each find room for the last one.
        client = clients.locked(by, client_id)
        if client.profiles.count() >= MOST_KEYS:
            raise Invalid({"client": [f"has {MOST_KEYS} API keys, and may have no more"]})
        adopted = client_defaults.adopt(by, client)
        saved, secret = access_profiles.create(
            by=by,
            given=access_profiles.NewFollowerInput.of(
                **{**given.sent(), "client_id": client.pk, "follows_client": True}
            ),
        )
    warnings = (ADOPTED, *saved.warnings) if adopted else saved.warnings
    return (
        Saved(value=saved.value, sequence=saved.sequence, warnings=warnings, adds=True),
        secret,
    )


def change(
    *, by: Actor, client_id: int, key_id: int, given: KeyInput, if_match: str | None = None
) -> Saved[AccessProfile]:
    """Change what was sent; `follows_client` as false lets the key keep what it has, as its own."""
    find(by, client_id, key_id)
    return access_profiles.change(
        by=by,
        profile_id=key_id,
        given=access_profiles.ProfileInput.made_of(given, **given.sent()),
        if_match=if_match,
    )
