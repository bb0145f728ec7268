"""Advice for least privilege, from what was really used; each piece with its evidence and a change.

A workspace may have 100,000 profiles: every question reads a bounded number of rows, by their order,
and says so where it stopped.
"""

import enum
import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Count, QuerySet, Sum
from django.utils import timezone

from ostiary.access import decision
from ostiary.access.addresses import parse_address
from ostiary.access.methods import AuthMethod
from ostiary.access.reasons import REASONS, Rule
from ostiary.directory import models
from ostiary.directory.actor import Actor
from ostiary.directory.catalog import collections
from ostiary.directory.clients import access_profiles
from ostiary.identity.tokens import masked
from ostiary.review import facts
from ostiary.usage import queries
from ostiary.usage.models import LoggedCall

#: What was used is looked at so far back.
DAYS = 30
#: A credential of this age ought to be replaced.
ROTATION_DAYS = 180
#: So many days without a refusal, and a watched rule can be enforced.
WATCHED_DAYS = 7
#: Pieces of advice of one kind that are given.
MOST_OF_A_KIND = 20
#: Profiles, and lines of the log, that one question looks at.
MOST_PROFILES = 1_000
#: Profiles whose collections are compared with what they called.
MOST_ASKED = 500
MOST_LINES = 50_000
_LIMIT_CODES = [row.code for row in REASONS.values() if row.rule is Rule.LIMITS]
#: From so few addresses a list of them can be kept by hand.
FEW_ADDRESSES = 10
#: A list is much too large if it holds so many addresses for each that was seen.
MUCH_LARGER = 256
#: With fewer calls than this, nothing is said of where a profile calls from.
ENOUGH_CALLS = 20


class AdviceKind(enum.StrEnum):
    """In the order in which advice is given: what is most dangerous first."""

    OVERLAP_BUSY = "old_credential_still_used"
    UNUSED = "credential_never_used"
    OLD = "credential_not_rotated"
    OPEN = "every_address_allowed"
    WIDE = "allow_list_too_wide"
    NOT_CALLED = "collection_never_called"
    UNLIMITED = "no_policy"
    ENFORCEABLE = "watched_rule_refuses_nothing"


TITLES = {
    AdviceKind.OVERLAP_BUSY: "An old credential is still used",
    AdviceKind.UNUSED: "A credential was never used",
    AdviceKind.OLD: "A credential has not been replaced for long",
    AdviceKind.OPEN: "Every address may call, though few do",
    AdviceKind.WIDE: "The allowed addresses could be far fewer",
    AdviceKind.NOT_CALLED: "A collection is granted and never called",
    AdviceKind.UNLIMITED: "No policy limits the profile",
    AdviceKind.ENFORCEABLE: "A rule that is only watched would have refused nothing",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """One piece: what was seen, and the fields of the profile (or policy) that would mend it."""

    kind: AdviceKind
    #: What was seen, in one sentence with its numbers.
    evidence: str
    profile: models.AccessProfile | None = None
    policy: models.Policy | None = None
    #: The change as the management API's PUT takes it; empty: it is not a matter of fields.
    change: Mapping[str, object] = field(default_factory=dict)

    @property
    def title(self) -> str:
        return TITLES[self.kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    advice: tuple[Advice, ...]
    #: Kinds of which there is more than is told, or more to be looked at than was.
    more: frozenset[AdviceKind] = frozenset()


def advised(*, by: Actor) -> Found:
    """Advice on the profiles that `by` may see, and for admins on policies."""
    seen = _Seen(by)
    advice: list[Advice] = []
    more: set[AdviceKind] = set()
    for kind, ask in _QUESTIONS.items():
        pieces = list(itertools.islice(ask(by, seen), MOST_OF_A_KIND + 1))
        advice += pieces[:MOST_OF_A_KIND]
        if len(pieces) > MOST_OF_A_KIND:
            more.add(kind)
    return Found(advice=tuple(advice), more=frozenset(more))


def _ago(days: int) -> datetime:
    return timezone.now() - timedelta(days=days)


class _Seen:
    """Who called from where, by the newest lines of the log of admitted calls."""

    def __init__(self, by: Actor) -> None:
        since = int(_ago(DAYS).timestamp() * 1000)
        lines = LoggedCall.objects.filter(at_ms__gte=since, reason=0).exclude(profile_id=0)
        newest = lines.order_by("-at_ms").values_list("profile_id", "address", "stands_for")
        self.addresses: dict[int, Counter[str]] = defaultdict(Counter)
        for profile_id, address, calls in newest[:MOST_LINES].iterator(chunk_size=5_000):
            self.addresses[profile_id][address] += calls
        busiest = sorted(self.addresses, key=lambda number: -self.calls(number))[:MOST_PROFILES]
        self.profiles = [
            profile
            for some in (busiest[i : i + 500] for i in range(0, len(busiest), 500))
            for profile in _profiles(by).filter(pk__in=some)
        ]
        self.profiles.sort(key=lambda profile: -self.calls(profile.pk))

    def calls(self, profile_id: int) -> int:
        return self.addresses[profile_id].total()


def _profiles(by: Actor) -> QuerySet[models.AccessProfile]:
    """Profiles that can call, with what advice looks at."""
    return access_profiles.profiles(by).filter(active=True, client__active=True)


def _credentials(by: Actor) -> QuerySet[models.Credential]:
    """Credentials that work, of profiles that can call."""
    return (
        models.Credential.objects.visible_to(by)
        .filter(revoked_at=None, trial=False, profile__active=True, profile__client__active=True)
        .exclude(overlap_until__lte=timezone.now())
        .exclude(expires_at__lte=timezone.now())
        .select_related("profile__client")
    )


def _still_used(by: Actor, _: _Seen) -> Iterator[Advice]:
    since = int(_ago(1).timestamp() * 1000)
    old = _credentials(by).exclude(overlap_until=None).filter(last_used_at__gte=_ago(1))
    for credential in old.order_by("overlap_until", "pk")[: MOST_OF_A_KIND + 1]:
        calls = LoggedCall.objects.filter(
            profile_id=credential.profile_id, credential_id=credential.pk, at_ms__gte=since
        )
        counted = calls.aggregate(
            calls=Sum("stands_for"), addresses=Count("address", distinct=True)
        )
        many = _many(counted["calls"] or 0, "logged call")
        places = _many(counted["addresses"], "address")
        ends = f"{credential.overlap_until:%-d %B, %H:%M} UTC"
        yield Advice(
            kind=AdviceKind.OVERLAP_BUSY,
            profile=credential.profile,
            evidence=f"The credential {_name(credential)} was replaced and works until {ends}: "
            f"{many} from {places} in the last day",
        )


def _never_used(by: Actor, _: _Seen) -> Iterator[Advice]:
    unused = _credentials(by).filter(last_used_at=None, created_at__lt=_ago(DAYS))
    for credential in unused.order_by("pk")[: MOST_OF_A_KIND + 1]:
        made = f"{credential.created_at:%-d %B %Y}"
        yield Advice(
            kind=AdviceKind.UNUSED,
            profile=credential.profile,
            evidence=f"The credential {_name(credential)} is of {made}, and no call has used it",
        )


def _never_rotated(by: Actor, _: _Seen) -> Iterator[Advice]:
    methods = (AuthMethod.TOKEN, AuthMethod.OAUTH2)
    old = _credentials(by).filter(
        overlap_until=None, created_at__lt=_ago(ROTATION_DAYS), profile__auth_type__in=methods
    )
    used = old.exclude(last_used_at=None).order_by("created_at", "pk")
    for credential in used[: MOST_OF_A_KIND + 1]:
        days = (timezone.now() - credential.created_at).days
        yield Advice(
            kind=AdviceKind.OLD,
            profile=credential.profile,
            evidence=f"The credential {_name(credential)} is {days:,} days old",
        )


def _open(_: Actor, seen: _Seen) -> Iterator[Advice]:
    for profile in seen.profiles:
        found = _few(seen, profile)
        if not profile.allow_list and not profile.allowed_lists.exists() and found:
            yield Advice(
                kind=AdviceKind.OPEN,
                profile=profile,
                evidence=_where(seen, profile) + "; its allow list is empty",
                change={"ip_allow_list": found},
            )


def _wide(_: Actor, seen: _Seen) -> Iterator[Advice]:
    for profile in seen.profiles:
        found = _few(seen, profile)
        if not profile.allow_list or profile.allowed_lists.exists() or not found:
            continue
        held = sum(net.num_addresses for net in facts.networks(tuple(profile.allow_list)))
        if held > MUCH_LARGER * len(found):
            yield Advice(
                kind=AdviceKind.WIDE,
                profile=profile,
                evidence=f"{_where(seen, profile)}; its allow list holds {held:,}",
                change={"ip_allow_list": found},
            )


def _few(seen: _Seen, profile: models.AccessProfile) -> list[str]:
    """The addresses that a profile calls from, if they are few enough to be listed."""
    counted = seen.addresses[profile.pk]
    addresses = sorted(text for text in counted if parse_address(text) is not None)
    enough = counted.total() >= ENOUGH_CALLS and 0 < len(addresses) <= FEW_ADDRESSES
    return addresses if enough else []


def _where(seen: _Seen, profile: models.AccessProfile) -> str:
    counted = seen.addresses[profile.pk]
    many, places = _many(counted.total(), "logged call"), _many(len(counted), "address")
    return f"All {many} of the last {DAYS} days came from {places}"


def _not_called(by: Actor, seen: _Seen) -> Iterator[Advice]:
    old = [p for p in seen.profiles if p.created_at < _ago(DAYS)][:MOST_ASKED]
    if not old:
        return
    now = int(timezone.now().timestamp())
    question = queries.UsageQuestion(
        start=now - DAYS * 86_400,
        end=now,
        by=(queries.By.PROFILE, queries.By.COLLECTION),
        filters={queries.By.PROFILE: frozenset(profile.pk for profile in old)},
    )
    called = {row.key for row in queries.rows(queries.Asker(by, now), question) if row.calls}
    seen_collections = collections.seen(by, old)
    for profile in old:
        granted = list(profile.collections.all())
        kept = [c for c in granted if (profile.pk, c.pk) in called]
        idle = [
            c.name if c.pk in seen_collections else collections.HIDDEN
            for c in granted
            if (profile.pk, c.pk) not in called
        ]
        if kept and idle:
            yield Advice(
                kind=AdviceKind.NOT_CALLED,
                profile=profile,
                evidence=f"{', '.join(idle)}: not one call in {DAYS} days, while "
                f"{_many(len(kept), 'other collection')} of it were called",
                change={"api_collection_ids": [c.pk for c in kept]},
            )


def _unlimited(_: Actor, seen: _Seen) -> Iterator[Advice]:
    for profile in seen.profiles:
        if profile.policy_id is None:
            many = _many(seen.calls(profile.pk), "logged call")
            yield Advice(
                kind=AdviceKind.UNLIMITED,
                profile=profile,
                evidence=f"{many} in {DAYS} days, and nothing would stop a million",
            )


def _enforceable(by: Actor, _: _Seen) -> Iterator[Advice]:
    since = _ago(WATCHED_DAYS)
    calls = LoggedCall.objects.filter(at_ms__gte=int(since.timestamp() * 1000))
    watched = _profiles(by).filter(addresses_watched=True, updated_at__lt=since)
    for profile in watched[:MOST_OF_A_KIND]:
        own = calls.filter(profile_id=profile.pk)
        lists = access_profiles.has_lists(profile)
        if lists and own.exists() and not _refuses(profile, own):
            yield Advice(
                kind=AdviceKind.ENFORCEABLE,
                profile=profile,
                evidence=f"Its address lists would have refused no call in {WATCHED_DAYS} days",
                change={"ip_watch_only": False},
            )
    if not by.admin:
        return
    for policy in models.Policy.objects.filter(watched=True, updated_at__lt=since)[:MOST_OF_A_KIND]:
        own = calls.filter(profile_id__in=policy.profiles.values("pk"))
        if own.exists() and not own.filter(would__in=_LIMIT_CODES).exists():
            yield Advice(
                kind=AdviceKind.ENFORCEABLE,
                policy=policy,
                evidence=f"The limits of {policy.name} would have refused no call in "
                f"{WATCHED_DAYS} days",
                change={"watch_only": False},
            )


def _refuses(profile: models.AccessProfile, calls: QuerySet[LoggedCall]) -> bool:
    """Whether a profile's lists would refuse one of the addresses that it called from."""
    seen = facts.profile(profile)
    return any(
        decision.refused_address(seen, parse_address(text)) is not None
        for text in calls.values_list("address", flat=True).distinct()[:MOST_LINES]
    )


def _name(credential: models.Credential) -> str:
    if credential.public_id or not credential.prefix:
        return credential.public_id or f"number {credential.pk} (imported)"
    return masked(credential.prefix, credential.last_four)


def _many(number: int, what: str) -> str:
    plural = {"address": "addresses"}.get(what, f"{what}s")
    return f"{number:,} {what if number == 1 else plural}"


_QUESTIONS: Mapping[AdviceKind, Callable[[Actor, _Seen], Iterator[Advice]]] = {
    AdviceKind.OVERLAP_BUSY: _still_used,
    AdviceKind.UNUSED: _never_used,
    AdviceKind.OLD: _never_rotated,
    AdviceKind.OPEN: _open,
    AdviceKind.WIDE: _wide,
    AdviceKind.NOT_CALLED: _not_called,
    AdviceKind.UNLIMITED: _unlimited,
    AdviceKind.ENFORCEABLE: _enforceable,
}
