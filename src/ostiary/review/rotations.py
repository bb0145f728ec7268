"""How far a consumer has got from an old credential to the new one, by what the request log has."""

import enum
from dataclasses import dataclass
from datetime import datetime, timedelta

from ostiary.directory.clients import credentials
from ostiary.directory.models import AccessProfile, Credential
from ostiary.usage.models import LoggedCall

#: Lines of the log that are looked at, the newest.
MOST_LINES = 10_000
#: The old credential was not used for so long: its consumer has changed over.
QUIET = timedelta(hours=1)


class RotationStage(enum.StrEnum):
    #: The new credential was never used: its consumer does not have it yet.
    WAITING = "waiting"
    #: The old one is still used.
    CHANGING = "changing"
    #: The new one is used, and the old one is not any more.
    SAFE = "safe"


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialUse:
    """Use of one credential since the newer one was issued."""

    credential: Credential
    calls: int
    addresses: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """An old credential in its overlap, and the one in its place."""

    old: CredentialUse
    new: CredentialUse
    stage: RotationStage
    #: The log has more lines than were looked at: the figures are the least.
    least: bool

    @property
    def ends(self) -> datetime | None:
        """When the old one stops working by itself."""
        return self.old.credential.overlap_until


def of_profile(profile: AccessProfile, now: datetime) -> Rotation | None:
    """The rotation that is under way, if there is one."""
    alive = list(credentials.alive(profile)[:2])
    if len(alive) < 2 or alive[1].overlap_until is None:
        return None
    new, old = alive
    since = int(new.created_at.timestamp() * 1000)
    lines = LoggedCall.objects.filter(profile_id=profile.pk, at_ms__gte=since).order_by("-at_ms")
    found = list(lines.values_list("credential_id", "address", "stands_for")[:MOST_LINES])
    return Rotation(
        old=_use(old, found),
        new=_use(new, found),
        stage=_stage(old, new, now),
        least=len(found) == MOST_LINES,
    )


def _use(credential: Credential, lines: list[tuple[int, str, int]]) -> CredentialUse:
    own = [(address, calls) for id_, address, calls in lines if id_ == credential.pk]
    return CredentialUse(
        credential=credential,
        calls=sum(calls for _, calls in own),
        addresses=len({address for address, _ in own}),
    )


def _stage(old: Credential, new: Credential, now: datetime) -> RotationStage:
    if new.last_used_at is None:
        return RotationStage.WAITING
    if old.last_used_at is not None and old.last_used_at > now - QUIET:
        return RotationStage.CHANGING
    return RotationStage.SAFE
