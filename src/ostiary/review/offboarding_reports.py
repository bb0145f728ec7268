"""What a client has and does, before and after it is offboarded: one row for each credential."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from ostiary.directory.actor import Actor
from ostiary.directory.catalog import collections
from ostiary.directory.clients import clients
from ostiary.directory.models import AccessProfile, Client, Credential
from ostiary.identity import tokens
from ostiary.usage import queries

#: Days of usage that are looked at.
DAYS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedCredential:
    """A credential, and what has become of it."""

    masked: str
    created_at: datetime
    last_used_at: datetime | None
    revoked_at: datetime | None
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedProfile:
    """A profile with its credentials, and its requests of the last days."""

    id: int
    name: str
    auth_type: str
    active: bool
    collections: Sequence[str]
    calls: int
    credentials: Sequence[ReportedCredential]

    @property
    def working(self) -> int:
        """How many of its credentials work."""
        return sum(each.revoked_at is None for each in self.credentials)


@dataclass(frozen=True, slots=True, kw_only=True)
class OffboardingReport:
    client: Client
    profiles: Sequence[ReportedProfile]

    @property
    def calls(self) -> int:
        return sum(each.calls for each in self.profiles)

    @property
    def working(self) -> int:
        """How many credentials work."""
        return sum(each.working for each in self.profiles)

    @property
    def active(self) -> int:
        """How many profiles are active."""
        return sum(each.active for each in self.profiles)

    @property
    def is_done(self) -> bool:
        """Whether nothing of the client can call any more."""
        return not self.client.active and not self.working and not self.active


def of_client(by: Actor, client_id: int) -> OffboardingReport:
    """The report of a client that `by` may see; raises NotFound."""
    client = clients.find(by, client_id)
    rows = AccessProfile.objects.filter(client=client).order_by("name", "pk")
    profiles = list(rows.prefetch_related("collections"))
    seen = collections.seen(by, profiles)
    calls = _calls(by, client_id)
    held: dict[int, list[ReportedCredential]] = {}
    for each in Credential.objects.filter(profile__client=client, trial=False).order_by("pk"):
        held.setdefault(each.profile_id, []).append(_reported(each))
    return OffboardingReport(
        client=client,
        profiles=[
            ReportedProfile(
                id=each.pk,
                name=each.name,
                auth_type=each.auth_type,
                active=each.active,
                collections=sorted(
                    one.name if one.pk in seen else collections.HIDDEN
                    for one in each.collections.all()
                ),
                calls=calls.get(each.pk, 0),
                credentials=held.get(each.pk, []),
            )
            for each in profiles
        ],
    )


def _reported(credential: Credential) -> ReportedCredential:
    ends = (credential.expires_at, credential.overlap_until)
    return ReportedCredential(
        masked=credential.public_id or tokens.masked(credential.prefix, credential.last_four),
        created_at=credential.created_at,
        last_used_at=credential.last_used_at,
        revoked_at=credential.revoked_at,
        expires_at=min((end for end in ends if end is not None), default=None),
    )


def _calls(by: Actor, client_id: int) -> dict[int, int]:
    """Requests of the last days by profile."""
    now = int(time.time())
    question = queries.UsageQuestion(
        start=now - DAYS * queries.DAY,
        end=now + 1,
        by=(queries.By.PROFILE,),
        filters={queries.By.CLIENT: frozenset({client_id})},
    )
    return {row.key[0]: row.calls for row in queries.rows(queries.Asker(by, now), question)}


HEADS = (
    "access_profile_id", "access_profile", "auth_type", "active", "collections",
    f"requests_{DAYS}_days", "credential", "created_at", "last_used_at", "revoked_at", "expires_at",
)  # fmt: skip


def table(report: OffboardingReport) -> list[Sequence[object]]:
    """The rows of the report as a file; a profile without credentials has one as well."""
    rows: list[Sequence[object]] = []
    for each in report.profiles:
        own = (
            each.id, each.name, each.auth_type, "yes" if each.active else "no",
            ", ".join(each.collections), each.calls,
        )  # fmt: skip
        rows += [
            (
                *own, one.masked, _time(one.created_at), _time(one.last_used_at),
                _time(one.revoked_at), _time(one.expires_at),
            )
            for one in each.credentials
        ] or [(*own, "", "", "", "", "")]  # fmt: skip
    return rows


def _time(at: datetime | None) -> str:
    return at.isoformat(timespec="seconds") if at else ""
