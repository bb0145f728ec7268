"""The effective state of what owners manage: whether it works now, and why not.

What refuses calls is asked of `access.decision`, which decides on calls. Lists are filtered by the same
states in SQL; a test compares both over every combination of what they depend on.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, assert_never

from django.db.models import Q

from ostiary.access import decision, facts
from ostiary.access.methods import AuthMethod
from ostiary.access.reasons import Reason
from ostiary.directory.changes import progress, unpublished_objects
from ostiary.directory.models import (
    AccessProfile,
    Client,
    Connection,
    Credential,
    Endpoint,
    ManagementToken,
    Policy,
    Recipe,
)

#: An end that is nearer is shown in place of "Active"; webhooks send their event as early by default.
SOON: Final = timedelta(days=7)


class StateCode(enum.StrEnum):
    """Every effective state. Of those that hold at once, one is shown: see `of_client` and the others."""

    NOT_IN_FORCE = "not_in_force"
    REFUSED_BY_GATEWAY = "refused_by_gateway"
    REVOKED = "revoked"
    REPLACED = "replaced"
    EXPIRED = "expired"
    CLIENT_INACTIVE = "client_inactive"
    MEMBER_INACTIVE = "member_inactive"
    PROFILE_INACTIVE = "profile_inactive"
    PROFILE_EXPIRED = "profile_expired"
    INACTIVE = "inactive"
    RECIPE_INACTIVE = "recipe_inactive"
    FILE_MISSING = "file_missing"
    EARLIER_VERSION = "earlier_version"
    OVERLAP = "overlap"
    EXPIRES_SOON = "expires_soon"
    REPORT_ONLY = "report_only"
    ACTIVE = "active"


#: What each one is called where no time belongs to it, such as in filters.
NAMES: Final[Mapping[StateCode, str]] = {
    StateCode.NOT_IN_FORCE: "Not in force yet",
    StateCode.REFUSED_BY_GATEWAY: "Refused by the gateway",
    StateCode.REVOKED: "Revoked",
    StateCode.REPLACED: "Replaced",
    StateCode.EXPIRED: "Expired",
    StateCode.CLIENT_INACTIVE: "Client inactive",
    StateCode.MEMBER_INACTIVE: "Member inactive",
    StateCode.PROFILE_INACTIVE: "Profile inactive",
    StateCode.PROFILE_EXPIRED: "Profile expired",
    StateCode.INACTIVE: "Inactive",
    StateCode.RECIPE_INACTIVE: "Recipe inactive",
    StateCode.FILE_MISSING: "File missing",
    StateCode.EARLIER_VERSION: "Earlier version runs",
    StateCode.OVERLAP: "Overlap",
    StateCode.EXPIRES_SOON: "Expires soon",
    StateCode.REPORT_ONLY: "Report-only",
    StateCode.ACTIVE: "Active",
}


class Badge(enum.StrEnum):
    """How a state looks: good, off on purpose, refused, or to be looked at."""

    ON = "on"
    OFF = "off"
    BAD = "bad"
    WATCHED = "watched"


_BADGES: Final[Mapping[StateCode, Badge]] = {
    StateCode.NOT_IN_FORCE: Badge.WATCHED,
    StateCode.REFUSED_BY_GATEWAY: Badge.BAD,
    StateCode.REVOKED: Badge.OFF,
    StateCode.REPLACED: Badge.OFF,
    StateCode.EXPIRED: Badge.BAD,
    StateCode.CLIENT_INACTIVE: Badge.OFF,
    StateCode.MEMBER_INACTIVE: Badge.OFF,
    StateCode.PROFILE_INACTIVE: Badge.OFF,
    StateCode.PROFILE_EXPIRED: Badge.BAD,
    StateCode.INACTIVE: Badge.OFF,
    StateCode.RECIPE_INACTIVE: Badge.OFF,
    StateCode.FILE_MISSING: Badge.BAD,
    StateCode.EARLIER_VERSION: Badge.BAD,
    StateCode.OVERLAP: Badge.WATCHED,
    StateCode.EXPIRES_SOON: Badge.WATCHED,
    StateCode.REPORT_ONLY: Badge.WATCHED,
    StateCode.ACTIVE: Badge.ON,
}


def works(code: StateCode) -> bool:
    """Whether what is in this state does what it is for."""
    return _BADGES[code] in {Badge.ON, Badge.WATCHED}


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectiveState:
    code: StateCode
    #: In words, with the time that belongs to it.
    text: str
    #: Since when it holds, and until when; empty: not known, or no end.
    since: datetime | None = None
    until: datetime | None = None
    #: A sentence: why the gateway refuses it, or what is only reported.
    detail: str = ""

    @property
    def badge(self) -> Badge:
        return _BADGES[self.code]

    @property
    def works(self) -> bool:
        """Whether it does what it is for, as far as this object alone decides."""
        return works(self.code)


def seconds(moment: datetime | None) -> int | None:
    """Unix seconds, as the authority's statements cut them."""
    return None if moment is None else int(moment.timestamp())


def client_facts(row: Client) -> facts.Client:
    """A client as decisions see it."""
    return facts.Client(
        id=facts.ClientId(row.pk),
        active=row.active,
        inactive_until=seconds(row.inactive_until),
    )


def credential_facts(row: Credential) -> facts.Credential:
    """A credential as decisions see it."""
    return facts.Credential(
        id=facts.CredentialId(row.pk),
        revoked_at=seconds(row.revoked_at),
        expires_at=seconds(row.expires_at),
        overlap_until=seconds(row.overlap_until),
    )


def _profile_facts(row: AccessProfile) -> facts.Profile:
    """A profile as far as its own state depends on it: without addresses and limits."""
    return facts.Profile(
        id=facts.ProfileId(row.pk),
        active=row.active,
        inactive_until=seconds(row.inactive_until),
        method=AuthMethod(row.auth_type),
        expires_at=seconds(row.expires_at),
    )


def _now(now: datetime | None) -> datetime:
    return datetime.now(UTC) if now is None else now


def _state(
    code: StateCode,
    *,
    text: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    detail: str = "",
) -> EffectiveState:
    return EffectiveState(
        code=code, text=text or NAMES[code], since=since, until=until, detail=detail
    )


_ACTIVE = _state(StateCode.ACTIVE)


def _behind(epoch: int, reached: int | None) -> bool:
    return reached is not None and epoch > reached


_NOT_IN_FORCE = _state(
    StateCode.NOT_IN_FORCE,
    detail="Saved; the gateway has not confirmed the last change yet, and goes by what was before.",
)


def _until_words(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%-d %B %Y, %H:%M} UTC"


def _left(until: datetime, now: datetime) -> str:
    """How long it is until then, in the largest unit: never more than is left."""
    left = max(int((until - now).total_seconds()), 0)
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if left >= size:
            count = left // size
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return "less than a minute"


def _inactive(code: StateCode, row: Client | AccessProfile) -> EffectiveState:
    until = row.inactive_until
    text = f"{NAMES[code]} until {_until_words(until)}" if until else ""
    return _state(code, text=text, until=until)


def _expiring(until: datetime | None, now: datetime) -> EffectiveState | None:
    if until is None or until > now + SOON:
        return None
    return _state(StateCode.EXPIRES_SOON, text=f"Expires in {_left(until, now)}", until=until)


def of_client(row: Client, now: datetime | None = None) -> EffectiveState:
    """The state of a client."""
    at = int(_now(now).timestamp())
    if _behind(row.epoch, progress.followed(row.epoch)):
        return _NOT_IN_FORCE
    if decision.refused_client(client_facts(row), at) is not None:
        return _inactive(StateCode.INACTIVE, row)
    return _ACTIVE


def of_profile(row: AccessProfile, now: datetime | None = None) -> EffectiveState:
    """The state of a profile that was read with its client and policy."""
    moment = _now(now)
    at = int(moment.timestamp())
    epoch = max(row.epoch, row.client.epoch)
    if _behind(epoch, progress.followed(epoch)):
        return _NOT_IN_FORCE
    if decision.refused_client(client_facts(row.client), at) is not None:
        return _inactive(StateCode.CLIENT_INACTIVE, row.client)
    match decision.refused_profile(_profile_facts(row), at):
        case Reason.PROFILE_INACTIVE:
            return _inactive(StateCode.INACTIVE, row)
        case Reason.PROFILE_EXPIRED:
            return _state(StateCode.EXPIRED, since=row.expires_at)
    return _expiring(row.expires_at, moment) or _reported(row) or _ACTIVE


def _reported(row: AccessProfile) -> EffectiveState | None:
    """What of a profile is only reported, if anything is."""
    limits = row.policy is not None and row.policy.watched
    what = [
        name
        for name, holds in (("address lists", row.addresses_watched), ("limits", limits))
        if holds
    ]
    if not what:
        return None
    detail = (
        f"Its {' and '.join(what)} refuse nothing: what they would refuse is counted and logged."
    )
    return _state(StateCode.REPORT_ONLY, detail=detail)


def of_credential(row: Credential, now: datetime | None = None) -> EffectiveState:
    """The state of a credential that was read with its profile and client."""
    moment, profile = _now(now), row.profile
    at = int(moment.timestamp())
    epoch = max(profile.epoch, profile.client.epoch)
    if _behind(epoch, progress.followed(epoch)):
        return _NOT_IN_FORCE
    match decision.refused_credential(credential_facts(row), at):
        case Reason.REVOKED_CREDENTIAL if row.revoked_at is not None:
            return _state(StateCode.REVOKED, since=row.revoked_at)
        case Reason.REVOKED_CREDENTIAL:
            return _state(StateCode.REPLACED, since=row.overlap_until)
        case Reason.EXPIRED_CREDENTIAL:
            return _state(StateCode.EXPIRED, since=row.expires_at)
    if decision.refused_client(client_facts(profile.client), at) is not None:
        return _inactive(StateCode.CLIENT_INACTIVE, profile.client)
    match decision.refused_profile(_profile_facts(profile), at):
        case Reason.PROFILE_INACTIVE:
            return _inactive(StateCode.PROFILE_INACTIVE, profile)
        case Reason.PROFILE_EXPIRED:
            return _state(StateCode.PROFILE_EXPIRED, since=profile.expires_at)
    return _overlap(row.overlap_until) or _expiring(row.expires_at, moment) or _ACTIVE


def _overlap(until: datetime | None) -> EffectiveState | None:
    if until is None:
        return None
    text = f"Overlap until {_until_words(until)}"
    return _state(StateCode.OVERLAP, text=text, until=until)


#: Management tokens whose maker may still do what they do: they work for members who are active admins.
MAKER_MAY: Final = Q(created_by=None) | Q(created_by__is_active=True, created_by__admin=True)


def of_token(row: ManagementToken, now: datetime | None = None) -> EffectiveState:
    """The state of a management token that was read with its member."""
    moment = _now(now)
    if row.revoked_at is not None:
        return _state(StateCode.REVOKED, since=row.revoked_at)
    if row.expires_at is not None and row.expires_at <= moment:
        return _state(StateCode.EXPIRED, since=row.expires_at)
    maker = row.created_by
    if maker is not None and not (maker.is_active and maker.admin):
        detail = "The member who made it is inactive, or isn't an admin any more."
        return _state(StateCode.MEMBER_INACTIVE, detail=detail)
    overlap = row.previous_until
    if overlap is not None and overlap > moment:
        text = f"Overlap until {_until_words(overlap)}"
        detail = "The secret before the last rotation works until then."
        return _state(StateCode.OVERLAP, text=text, until=overlap, detail=detail)
    return _expiring(row.expires_at, moment) or _ACTIVE


def is_there(row: Endpoint) -> bool:
    """Whether calls can reach an endpoint: it is active, and so is the recipe behind it."""
    recipe = row.recipe
    return row.active and (recipe is None or (recipe.started and recipe.present))


def of_endpoint(row: Endpoint) -> EffectiveState:
    """The state of an endpoint that was read with its collection and recipe."""
    collection = row.collection
    if _behind(collection.epoch, progress.published(collection.epoch)):
        return _NOT_IN_FORCE
    problem = (
        unpublished_objects.reason(unpublished_objects.ENDPOINT, row.pk)
        or unpublished_objects.reason(unpublished_objects.COLLECTION, collection.pk)
        or (
            unpublished_objects.reason(unpublished_objects.CONNECTION, collection.connection_id)
            if collection.connection_id
            else ""
        )
    )
    if problem:
        return _refused(problem)
    if not row.active:
        return _state(StateCode.INACTIVE)
    return _ACTIVE if is_there(row) else _state(StateCode.RECIPE_INACTIVE)


def of_connection(row: Connection) -> EffectiveState:
    """The state of a connection."""
    if _behind(row.epoch, progress.published(row.epoch)):
        return _NOT_IN_FORCE
    problem = unpublished_objects.reason(unpublished_objects.CONNECTION, row.pk)
    return _refused(problem) if problem else _ACTIVE


def _refused(problem: str) -> EffectiveState:
    return _state(StateCode.REFUSED_BY_GATEWAY, detail=problem)


def of_recipe(row: Recipe) -> EffectiveState:
    """The state of a recipe."""
    if not row.present:
        return _state(StateCode.FILE_MISSING)
    if not row.started:
        return _state(StateCode.INACTIVE)
    if row.error:
        return _state(StateCode.EARLIER_VERSION, detail=row.error)
    return _ACTIVE


Stated = Client | AccessProfile | Credential | ManagementToken | Endpoint | Connection | Recipe


def of(row: Stated) -> EffectiveState:
    """The state of a row, now."""
    match row:
        case Client():
            return of_client(row)
        case AccessProfile():
            return of_profile(row)
        case Credential():
            return of_credential(row)
        case ManagementToken():
            return of_token(row)
        case Endpoint():
            return of_endpoint(row)
        case Connection():
            return of_connection(row)
        case Recipe():
            return of_recipe(row)
        case _:
            assert_never(row)


#: Conditions for the rows of each state; together they are all rows, and no row is in two.
Conditions = Mapping[StateCode, Q]


def _in_turn(ordered: Mapping[StateCode, Q]) -> Conditions:
    """Each condition, where none before it holds; what is left is active."""
    found: dict[StateCode, Q] = {}
    before = Q()
    for code, condition in ordered.items():
        found[code] = condition & ~before if before else condition
        before = before | condition if before else condition
    found[StateCode.ACTIVE] = ~before
    return found


def _over(column: str, now: datetime) -> Q:
    """An end that is over, by the second as decisions see it."""
    return Q(**{f"{column}__lt": now.replace(microsecond=0) + timedelta(seconds=1)})


def _soon(column: str, now: datetime) -> Q:
    return Q(**{f"{column}__lte": now + SOON})


def _off(prefix: str, now: datetime) -> Q:
    ended = Q(**{f"{prefix}inactive_until__isnull": False}) & _over(f"{prefix}inactive_until", now)
    return Q(**{f"{prefix}active": False}) & ~ended


def _unfollowed(*prefixes: str) -> Q:
    """Whether the gateway does not follow a client or profile yet."""
    reached = progress.followed(0)
    behind = Q(pk__in=())
    for prefix in prefixes if reached is not None else ():
        if prefix.endswith("client__"):
            ahead = Client.objects.filter(epoch__gt=reached)
            behind |= Q(**{f"{prefix.removesuffix('__')}__in": ahead.values("pk")})
        else:
            behind |= Q(**{f"{prefix}epoch__gt": reached})
    return behind


def _client_off(column: str, now: datetime) -> Q:
    """Inactive clients are few: that is quicker than to look at the client of each row."""
    return Q(**{f"{column}__in": Client.objects.filter(_off("", now)).values("pk")})


def client_conditions(now: datetime | None = None) -> Conditions:
    moment = _now(now)
    return _in_turn(
        {
            StateCode.NOT_IN_FORCE: _unfollowed(""),
            StateCode.INACTIVE: _off("", moment),
        }
    )


def profile_conditions(now: datetime | None = None) -> Conditions:
    moment = _now(now)
    return _in_turn(
        {
            StateCode.NOT_IN_FORCE: _unfollowed("", "client__"),
            StateCode.CLIENT_INACTIVE: _client_off("client", moment),
            StateCode.INACTIVE: _off("", moment),
            StateCode.EXPIRED: _over("expires_at", moment),
            StateCode.EXPIRES_SOON: _soon("expires_at", moment),
            StateCode.REPORT_ONLY: Q(addresses_watched=True)
            | Q(policy__in=Policy.objects.filter(watched=True).values("pk")),
        }
    )


def credential_conditions(now: datetime | None = None) -> Conditions:
    moment = _now(now)
    return _in_turn(
        {
            StateCode.NOT_IN_FORCE: _unfollowed("profile__", "profile__client__"),
            StateCode.REVOKED: Q(revoked_at__isnull=False),
            StateCode.REPLACED: _over("overlap_until", moment),
            StateCode.EXPIRED: _over("expires_at", moment),
            StateCode.CLIENT_INACTIVE: _client_off("profile__client", moment),
            StateCode.PROFILE_INACTIVE: _off("profile__", moment),
            StateCode.PROFILE_EXPIRED: _over("profile__expires_at", moment),
            StateCode.OVERLAP: Q(overlap_until__isnull=False),
            StateCode.EXPIRES_SOON: _soon("expires_at", moment),
        }
    )


def token_conditions(now: datetime | None = None) -> Conditions:
    moment = _now(now)
    return _in_turn(
        {
            StateCode.REVOKED: Q(revoked_at__isnull=False),
            StateCode.EXPIRED: Q(expires_at__lte=moment),
            StateCode.MEMBER_INACTIVE: ~MAKER_MAY,
            StateCode.OVERLAP: Q(previous_until__gt=moment),
            StateCode.EXPIRES_SOON: _soon("expires_at", moment),
        }
    )


def endpoint_conditions() -> Conditions:
    refused = unpublished_objects
    reached = progress.published(0)
    behind = Q(pk__in=()) if reached is None else Q(collection__epoch__gt=reached)
    return _in_turn(
        {
            StateCode.NOT_IN_FORCE: behind,
            StateCode.REFUSED_BY_GATEWAY: Q(pk__in=refused.ids(refused.ENDPOINT))
            | Q(collection_id__in=refused.ids(refused.COLLECTION))
            | Q(collection__connection_id__in=refused.ids(refused.CONNECTION)),
            StateCode.INACTIVE: Q(active=False),
            StateCode.RECIPE_INACTIVE: Q(recipe__started=False) | Q(recipe__present=False),
        }
    )


def connection_conditions() -> Conditions:
    reached = progress.published(0)
    behind = Q(pk__in=()) if reached is None else Q(epoch__gt=reached)
    refused = unpublished_objects.ids(unpublished_objects.CONNECTION)
    return _in_turn(
        {
            StateCode.NOT_IN_FORCE: behind,
            StateCode.REFUSED_BY_GATEWAY: Q(pk__in=refused),
        }
    )


def recipe_conditions() -> Conditions:
    return _in_turn(
        {
            StateCode.FILE_MISSING: Q(present=False),
            StateCode.INACTIVE: Q(started=False),
            StateCode.EARLIER_VERSION: ~Q(error=""),
        }
    )
