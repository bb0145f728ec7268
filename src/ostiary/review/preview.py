"""Preview: the effect that a change of a profile or policy would have had on logged calls.

The change is checked by the very use case that would save it. Both sides, as it is and as it would
be, are replayed over the same calls, so that only what the change does is shown.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from django.db.models import Q, QuerySet

from ostiary.access import limits
from ostiary.access.addresses import parse_address
from ostiary.access.reasons import Reason, by_code
from ostiary.directory import models
from ostiary.directory.actor import SYSTEM, Actor
from ostiary.directory.changes.errors import Invalid
from ostiary.directory.clients import access_profiles, client_defaults, policies, profile_bulk
from ostiary.review import facts
from ostiary.review.replay import Difference, Recorded, Terms, differences
from ostiary.usage import queries
from ostiary.usage.models import LoggedCall

DEFAULT_DAYS = 7
#: Lines of the log that are replayed: of more, the newest.
MOST_LINES = 50_000
#: Profiles of a policy whose calls are replayed: of more, those with the most lines.
MOST_REPLAYED = 2_000
#: Profiles of a policy that are named, those with most differences first.
MOST_PROFILES = 50
#: Examples of each kind that are shown for a profile.
MOST_EXAMPLES = 5
#: Profiles whose counted calls are summed, and how many are at once.
MOST_COUNTED, COUNTED_AT_ONCE = 10_000, 500
#: Profiles whose quotas are begun with what was used before the first replayed call.
MOST_BEGUN = 500


class ReplayLine(NamedTuple):
    """What of a logged call is replayed and shown; there are many, so no instance of a model."""

    at_ms: int
    request_id: str
    reason: int
    method: str
    collection_id: int
    endpoint_id: int
    profile_id: int
    address: str
    latency_ms: int
    stands_for: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One recorded call with another result. `reason`: why it is refused, then or now."""

    call: ReplayLine
    calls: int
    reason: Reason | None
    #: The endpoint as method and path; empty: there was none, it is gone or not to be seen.
    endpoint: str = ""

    @property
    def at(self) -> datetime:
        return datetime.fromtimestamp(self.call.at_ms / 1000, UTC)


@dataclass(slots=True, kw_only=True)
class Effect:
    """What the change does to one profile."""

    profile: models.AccessProfile
    calls: int = 0
    newly_refused: int = 0
    newly_allowed: int = 0
    #: Would be refused, were the changed rules enforced and not only watched.
    would_refuse: int = 0
    refused_for: Counter[Reason] = field(default_factory=Counter)
    refused_examples: list[Example] = field(default_factory=list)
    allowed_examples: list[Example] = field(default_factory=list)
    would_examples: list[Example] = field(default_factory=list)

    @property
    def matters(self) -> int:
        return self.newly_refused + self.newly_allowed + self.would_refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a change would have done between two moments."""

    start: datetime
    end: datetime
    #: From when on calls were asked about. `start` is later where the log begins later, or was not read as far.
    asked: datetime
    #: Calls of these profiles that were counted since `asked`, whether logged or not; empty: not known.
    counted: int | None = None
    #: Every profile with a difference, the largest first; at most MOST_PROFILES.
    effects: tuple[Effect, ...] = ()
    #: Calls that were replayed, by their weight.
    calls: int = 0
    #: Profiles that the change concerns and that called.
    profiles: int = 0
    #: Profiles that would see calls refused, or that fare otherwise at all.
    refused_profiles: int = 0
    newly_refused: int = 0
    newly_allowed: int = 0
    would_refuse: int = 0
    #: There were more lines than are replayed: it begins at `start` all the same, later than asked.
    truncated: bool = False
    #: Profiles that called, and whose calls are not replayed: those with the fewest.
    left_out: int = 0
    #: Some lines stand for several calls: figures of limits are estimates then.
    sampled: bool = False
    #: Sentences that the save would show.
    warnings: tuple[str, ...] = ()
    #: Nothing that calls depend on is changed.
    idle: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayRange:
    """The time whose calls are replayed; empty: the last seven days."""

    start: datetime | None = None
    end: datetime | None = None

    def settled(self) -> tuple[datetime, datetime]:
        """Both ends; raises Invalid if there is nothing between them."""
        now = datetime.now(UTC)
        end = min(_in_utc("to", self.end) or now, now)
        try:
            start = _in_utc("from", self.start) or end - timedelta(days=DEFAULT_DAYS)
        except OverflowError:
            raise Invalid({"to": ["is too long ago"]}) from None
        if start >= end:
            raise Invalid({"from": ["must be before the end"]})
        return start, end


def _in_utc(name: str, moment: datetime | None) -> datetime | None:
    """A moment in UTC; raises Invalid for one that no date in UTC can say."""
    if moment is None:
        return None
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise Invalid({name: ["is too far from today"]}) from None


def of_profile(
    *,
    by: Actor,
    profile_id: int,
    given: access_profiles.ProfileInput,
    within: ReplayRange | None = None,
) -> Preview:
    """What a change of a profile would have done; raises as the change itself does."""
    start, end = (within or ReplayRange()).settled()
    row = access_profiles.find(by, profile_id)
    drafted = access_profiles.draft(by=by, profile_id=profile_id, given=given)
    held = frozenset(row.collections.values_list("pk", flat=True))
    before, stays = Terms(profile=facts.profile(row), collections=held), facts.list_ids(row)
    after = Terms(
        profile=facts.profile(
            drafted.profile,
            lists=(
                stays[0] if drafted.allowed_lists is None else drafted.allowed_lists,
                stays[1] if drafted.denied_lists is None else drafted.denied_lists,
            ),
        ),
        collections=held if drafted.collections is None else drafted.collections,
    )
    sides: Both = {row.pk: (row, before, after)}
    concerned = models.AccessProfile.objects.filter(pk=profile_id)
    found = _replay(by, concerned, start, end, lambda _: sides)
    return replace(found, warnings=drafted.warnings, idle=before == after)


def of_policy(
    *, by: Actor, policy_id: int, given: policies.PolicyInput, within: ReplayRange | None = None
) -> Preview:
    """What a change of a policy would have done to the profiles that have it."""
    start, end = (within or ReplayRange()).settled()
    row = policies.find(by, policy_id)
    drafted = policies.draft(by=by, policy_id=policy_id, given=given)
    users = models.AccessProfile.objects.filter(policy_id=policy_id)

    def terms(ids: Iterable[int]) -> "Both":
        found: Both = {}
        chosen = users.filter(pk__in=list(ids)).select_related("client", "policy")
        for profile in chosen.prefetch_related("collections"):
            held = frozenset(c.pk for c in profile.collections.all())
            before = Terms(profile=facts.profile(profile), collections=held)
            after = replace(
                before.profile,
                rates=facts.rates(drafted.policy),
                quota=facts.quota(drafted.policy),
                limits_watched=drafted.policy.watched,
            )
            found[profile.pk] = (profile, before, replace(before, profile=after))
        return found

    found = _replay(by, users, start, end, terms)
    return replace(found, warnings=drafted.warnings, idle=_same_limits(row, drafted.policy))


def of_defaults(
    *,
    by: Actor,
    client_id: int,
    given: client_defaults.WithDefaultsInput,
    within: ReplayRange | None = None,
) -> Preview:
    """What a change of a client's defaults would have done to the profiles that follow it."""
    start, end = (within or ReplayRange()).settled()
    drafted = client_defaults.draft(by=by, client_id=client_id, given=given)
    followers = client_defaults.followers(client_id)

    def terms(ids: Iterable[int]) -> "Both":
        found: Both = {}
        chosen = followers.filter(pk__in=list(ids)).select_related("client", "policy")
        for profile in chosen.prefetch_related("collections"):
            held = frozenset(c.pk for c in profile.collections.all())
            before = Terms(profile=facts.profile(profile), collections=held)
            if drafted.defaults is not None:
                client_defaults.put_on(profile, drafted.defaults)
            after = Terms(profile=facts.profile(profile), collections=drafted.collections)
            found[profile.pk] = (profile, before, after)
        return found

    found = _replay(by, followers, start, end, terms)
    return replace(found, warnings=drafted.warnings, idle=drafted.idle)


def of_many(
    *,
    by: Actor,
    given: profile_bulk.BulkInput,
    within: ReplayRange | None = None,
) -> tuple[Preview, list[profile_bulk.BulkDraft]]:
    """What one change of many profiles would have done, and what it would save of each.

    Those that cannot be changed like this are not replayed.
    """
    start, end = (within or ReplayRange()).settled()
    drafts = profile_bulk.draft(by=by, given=given)
    changed = {each.profile.pk: each for each in drafts if each.is_changed and not each.problems}

    def terms(ids: Iterable[int]) -> "Both":
        found: Both = {}
        chosen = models.AccessProfile.objects.filter(pk__in=list(ids))
        chosen = chosen.select_related("client", "policy")
        for row in chosen.prefetch_related("allowed_lists", "denied_lists"):
            each, lists = changed[row.pk], facts.list_ids(row)
            before = Terms(profile=facts.profile(row, lists=lists), collections=each.held)
            after = Terms(
                profile=facts.profile(each.profile, lists=lists),
                collections=each.collections,
                credentials_revoked=bool(each.revoked),
            )
            found[row.pk] = (row, before, after)
        return found

    if not changed:
        return Preview(start=start, asked=start, end=end, idle=True), drafts
    concerned = models.AccessProfile.objects.filter(pk__in=list(changed))
    return _replay(by, concerned, start, end, terms), drafts


#: What of a policy decides.
_LIMITS = (
    "rate_limit", "rate_interval", "more_rates", "quota_limit", "quota_interval", "watched",
)  # fmt: skip


def _same_limits(one: models.Policy, other: models.Policy) -> bool:
    return all(getattr(one, name) == getattr(other, name) for name in _LIMITS)


#: A profile with its terms as they are and as they would be, by its id.
Both = dict[int, tuple[models.AccessProfile, Terms, Terms]]


def _replay(
    by: Actor,
    concerned: QuerySet[models.AccessProfile],
    asked: datetime,
    end: datetime,
    terms: Callable[[Iterable[int]], Both],
) -> Preview:
    start = max(asked, _log_begins() or asked)
    numbers = list(concerned.values_list("pk", flat=True)[: MOST_COUNTED + 1])
    among = Q(profile_id__in=concerned.values("pk"))
    lines, truncated = _lines(among, start, end)
    if truncated:
        start = datetime.fromtimestamp(lines[0].at_ms / 1000, UTC)
    calls: dict[int, list[ReplayLine]] = {}
    for line in sorted(lines, key=_came):
        calls.setdefault(line.profile_id, []).append(line)
    busiest = sorted(calls, key=lambda number: -len(calls[number]))[:MOST_REPLAYED]
    both = terms(busiest)
    first = int(start.timestamp())
    begun = _begun(both.values(), first)
    units = _units(busiest, calls)
    effects = [
        _effect(
            units,
            row,
            calls[number],
            _with(before, begun, number, first),
            _with(after, begun, number, first),
        )
        for number, (row, before, after) in both.items()
        if number in calls
    ]
    shown = sorted((e for e in effects if e.matters), key=lambda e: -e.matters)[:MOST_PROFILES]
    _name_endpoints(by, shown)
    replayed = sum(effect.calls for effect in effects)
    return Preview(
        start=start,
        asked=asked,
        end=end,
        counted=_counted(numbers, asked, end, replayed),
        effects=tuple(shown),
        calls=replayed,
        profiles=len(effects),
        refused_profiles=sum(1 for effect in effects if effect.newly_refused),
        newly_refused=sum(effect.newly_refused for effect in effects),
        newly_allowed=sum(effect.newly_allowed for effect in effects),
        would_refuse=sum(effect.would_refuse for effect in effects),
        truncated=truncated,
        left_out=max(0, len(calls) - MOST_REPLAYED),
        sampled=any(line.stands_for > 1 for line in lines),
    )


def _came(line: ReplayLine) -> int:
    """When a call came; it is logged when it ends."""
    return line.at_ms - line.latency_ms


def _lines(concerned: Q, start: datetime, end: datetime) -> tuple[list[ReplayLine], bool]:
    """The newest lines of the range, and whether there are more."""
    found = LoggedCall.objects.filter(
        concerned,
        at_ms__gte=int(start.timestamp() * 1000),
        at_ms__lt=int(end.timestamp() * 1000),
    ).order_by("-at_ms")
    newest = found.values_list(*ReplayLine._fields)[: MOST_LINES + 1]
    lines = [ReplayLine(*row) for row in newest.iterator(chunk_size=5_000)]
    return lines[:MOST_LINES][::-1], len(lines) > MOST_LINES


def _log_begins() -> datetime | None:
    """When the oldest call of the log was: of a busy gateway, later than a week ago."""
    oldest = LoggedCall.objects.order_by("at_ms").values_list("at_ms", flat=True).first()
    return None if oldest is None else datetime.fromtimestamp(oldest / 1000, UTC)


def _counted(numbers: Sequence[int], start: datetime, end: datetime, logged: int) -> int | None:
    """All calls of profiles in a range, by their counters; at least those that are in the log."""
    if len(numbers) > MOST_COUNTED:
        return None
    asker = queries.Asker(SYSTEM, int(datetime.now(UTC).timestamp()))
    asked = queries.UsageQuestion(start=int(start.timestamp()), end=int(end.timestamp()) + 1)
    total = 0
    for first in range(0, len(numbers), COUNTED_AT_ONCE):
        some = numbers[first : first + COUNTED_AT_ONCE]
        try:
            found = queries.rows(
                asker, replace(asked, by=(queries.By.PROFILE,)), only={queries.By.PROFILE: some}
            )
        except Invalid:
            # The range is older than counts are kept.
            return None
        total += sum(row.calls for row in found)
    # Counters are pushed a little later than lines are written.
    return max(total, logged)


def _begun(
    both: Iterable[tuple[models.AccessProfile, Terms, Terms]], start: int
) -> Mapping[tuple[int, int], int]:
    """What quotas had seen before `start` of the periods that it lies in, as it was counted.

    By profile and start of the period.
    """
    wanted: dict[int, set[int]] = {}
    for row, *sides in both:
        for side in sides:
            since = _period(side, start)
            if since is not None and since < start:
                wanted.setdefault(since, set()).add(row.pk)
    found: dict[tuple[int, int], int] = {}
    for since, numbers in wanted.items():
        question = queries.UsageQuestion(
            start=since,
            end=start,
            by=(queries.By.PROFILE,),
            filters={queries.By.PROFILE: frozenset(sorted(numbers)[:MOST_BEGUN])},
        )
        for counted in queries.rows(
            queries.Asker(SYSTEM, int(datetime.now(UTC).timestamp())), question
        ):
            found[counted.key[0], since] = counted.calls - counted.refused
    return found


def _period(terms: Terms, at: int) -> int | None:
    quota = terms.profile.quota
    if quota is None:
        return None
    return limits.period(quota.period, at, terms.profile.policy_since).start


def _with(terms: Terms, begun: Mapping[tuple[int, int], int], number: int, start: int) -> Terms:
    since = _period(terms, start)
    calls = begun.get((number, since), 0) if since is not None else 0
    return replace(terms, used={since: calls}) if since is not None and calls else terms


def _units(busiest: Sequence[int], calls: Mapping[int, Sequence[ReplayLine]]) -> Mapping[int, int]:
    """What calls of endpoints count in limits, of those that do not count 1."""
    called = {line.endpoint_id for number in busiest for line in calls[number]}
    weighed = models.Endpoint.objects.exclude(weight=1).values_list("pk", "weight")
    return {pk: weight for pk, weight in weighed.iterator() if pk in called}


def _effect(
    units: Mapping[int, int],
    row: models.AccessProfile,
    lines: Sequence[ReplayLine],
    before: Terms,
    after: Terms,
) -> Effect:
    effect = Effect(profile=row, calls=sum(line.stands_for for line in lines))
    recorded = [_recorded(line, units) for line in lines]
    for each in differences(recorded, before, after):
        _add(effect, lines[each.index], each)
    return effect


def _add(effect: Effect, line: ReplayLine, each: Difference) -> None:
    if each.newly_refused and each.after.reason:
        effect.newly_refused += each.newly_refused
        effect.refused_for[each.after.reason] += each.newly_refused
        _keep(effect.refused_examples, line, each.newly_refused, each.after.reason)
    if each.newly_allowed:
        effect.newly_allowed += each.newly_allowed
        _keep(effect.allowed_examples, line, each.newly_allowed, each.before.reason)
    if each.after.would:
        effect.would_refuse += each.after.would
        _keep(effect.would_examples, line, each.after.would, each.after.would_for)


def _keep(examples: list[Example], line: ReplayLine, calls: int, reason: Reason | None) -> None:
    """The newest few, from as many addresses as there are."""
    example = Example(call=line, calls=calls, reason=reason)
    same = next((i for i, e in enumerate(examples) if e.call.address == line.address), None)
    if same is not None:
        examples[same] = example
    elif len(examples) < MOST_EXAMPLES:
        examples.append(example)


def _recorded(line: ReplayLine, units: Mapping[int, int]) -> Recorded:
    return Recorded(
        at=_came(line) // 1000,
        address=parse_address(line.address),
        collection=line.collection_id,
        endpoint=line.endpoint_id,
        reason=by_code(line.reason) if line.reason else None,
        weight=max(1, line.stands_for),
        units=units.get(line.endpoint_id, 1),
    )


def _name_endpoints(by: Actor, effects: Sequence[Effect]) -> None:
    """Name the endpoints that `by` sees: a profile may span projects."""
    lists = [
        examples
        for effect in effects
        for examples in (effect.refused_examples, effect.allowed_examples, effect.would_examples)
    ]
    wanted = {example.call.endpoint_id for examples in lists for example in examples}
    names = {
        endpoint.pk: f"{endpoint.method} /{endpoint.collection.handle}{endpoint.path}"
        for endpoint in models.Endpoint.objects.visible_to(by)
        .select_related("collection")
        .filter(pk__in=wanted)
    }
    for examples in lists:
        examples[:] = [
            replace(each, endpoint=names.get(each.call.endpoint_id, "")) for each in examples
        ]
