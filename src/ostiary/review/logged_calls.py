"""Why a logged call was refused or admitted, by its request id.

What the checks saw comes from the trace that the authority kept. Without one (an admitted call, one
that the gateway refused by itself, a trace that is too old) the log and the directory say what they
can.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from django.db.models import Q

from ostiary.access import addresses, decision, traces
from ostiary.access.decision import LEASE_SECONDS
from ostiary.access.facts import CollectionId, EndpointId, Route
from ostiary.access.reasons import Reason, Rule, by_code, describe
from ostiary.access.stages import Stage
from ostiary.directory import models, states
from ostiary.directory.actor import Actor
from ostiary.directory.catalog import collections
from ostiary.directory.changes import audit_log
from ostiary.directory.changes.errors import NotFound
from ostiary.directory.clients import access_profiles
from ostiary.directory.workspace import workspace_settings
from ostiary.identity.tokens import masked
from ostiary.review import consumption, facts, hypothetical_calls
from ostiary.review.explanation import Explanation, laid_out
from ostiary.usage import request_log
from ostiary.usage.models import DecisionTrace, LoggedCall

#: Most changes since a call that are named; of more, the newest.
MOST_CHANGES = 20
#: Gateways give ids on their own: so many calls with one id are looked at.
MOST_TWINS = 50
#: Characters of a path that gateways log: of a path that long, the rest may be missing.
LOGGED_PATH = 1000


def explained(*, by: Actor, request_id: str) -> Explanation:
    """Explain a logged call; raises NotFound for one that is not there, or not for `by`."""
    call = _logged(by, request_id)
    profile = (
        models.AccessProfile.objects.select_related("client", "policy")
        .filter(pk=call.profile_id)
        .first()
    )
    reason = by_code(call.reason) if call.reason else None
    hidden = request_log.hides_collection(by, call)
    if hidden:
        reason = by_code(call.reason)
    would = by_code(call.would) if call.would else None
    trace = _trace(call)
    changes = _changes(by, call, profile, _since(call, trace))
    again = _again(call, trace, profile, by) if profile and _depends_on_directory(reason) else None
    if not (reason or would or changes) and again and _rule(again.would) is Rule.ADDRESSES:
        # Lines of admitted calls do not have it; recomputing is safe while no relevant fact changed.
        would = again.would
    decided = {step.check: step for step in traces.read(trace.steps)} if trace else {}
    if hidden:
        decided.pop(Stage.COLLECTION, None)
    meant = reason
    if _rule(reason) is Rule.PATHS:
        # The authority is told what was found, not what lies beside it: that is looked up here.
        meant = again.reason if again and again.reason is Reason.ENDPOINT_INACTIVE else reason
        decided.pop(Stage.ENDPOINT, None)
    return Explanation(
        stages=laid_out(
            decided=decided,
            failing=_failing(call, reason, traced=bool(decided)),
            reason=reason,
            watched={describe(would).stage: would} if would else {},
            inputs=lambda stage: _inputs(stage, call, profile, by),
        ),
        reason=reason,
        would=would,
        status=call.status,
        what=_what(call, meant),
        remedy=describe(meant).remedy if meant else "",
        profile=profile,
        call=call,
        sequence=trace.sequence if trace else None,
        changes=changes,
        now=again,
    )


def _rule(reason: Reason | None) -> Rule | None:
    return describe(reason).rule if reason else None


def _depends_on_directory(reason: Reason | None) -> bool:
    """Whether re-deciding makes sense: a refusal caused by the request itself cannot be replayed."""
    return reason is None or not describe(reason).is_of_the_call


def _logged(by: Actor, request_id: str) -> LoggedCall:
    if not request_id.isprintable():
        raise NotFound("call")
    calls = LoggedCall.objects.filter(request_id=request_id).order_by("-at_ms")[:MOST_TWINS]
    for call in calls:
        if _sees(by, call):
            return call
    raise NotFound("call")


def _sees(by: Actor, call: LoggedCall) -> bool:
    """A call is its profile's; one that nobody is known to have made is the admins'.

    One whose token fits several profiles is also for those who see the collection.
    """
    if by.admin:
        return True
    if not call.profile_id and call.reason == describe(Reason.AMBIGUOUS_CREDENTIAL).code:
        return models.Collection.objects.visible_to(by).filter(pk=call.collection_id).exists()
    visible = models.AccessProfile.objects.visible_to(by)
    return bool(call.profile_id) and visible.filter(pk=call.profile_id).exists()


def _trace(call: LoggedCall) -> DecisionTrace | None:
    """What the authority saw; it is older than the call if a held refusal was given again."""
    number = str(call.details.get("trace", ""))
    if not number.isdecimal() or number == "0":
        return None
    found = DecisionTrace.objects.filter(number=int(number), profile_id=call.profile_id)
    return found.order_by("-at_ms").first()


def _failing(call: LoggedCall, reason: Reason | None, *, traced: bool) -> Stage | None:
    if reason is None:
        return None
    if reason is Reason.ADDRESS_UNPARSABLE and traced:
        return Stage.ADDRESS
    if reason is Reason.OVERLOADED and call.details.get("ceiling"):
        return Stage.RATE  # the address or the project had too many calls open
    if reason is Reason.OVERLOADED and call.credential_id:
        return Stage.ANSWER  # it had a lease: what was busy lies behind the gateway
    return describe(reason).stage


def _since(call: LoggedCall, trace: DecisionTrace | None) -> datetime:
    """The moment up to which changes were part of the decision."""
    change = models.Change.objects.filter(pk=trace.sequence).first() if trace else None
    if change is not None:
        return change.at
    return datetime.fromtimestamp((trace.at_ms if trace else call.at_ms) / 1000, UTC)


def _changes(
    by: Actor, call: LoggedCall, profile: models.AccessProfile | None, since: datetime
) -> tuple[models.AuditEvent, ...]:
    """Events of whatever the decision rested on, as far as `by` may see them."""
    client_id = profile.client_id if profile else call.client_id
    policy_id = profile.policy_id if profile else None
    concerned = {
        "profile": call.profile_id,
        "client": client_id,
        "policy": policy_id,
        "collection": call.collection_id,
        "endpoint": call.endpoint_id,
    }
    any_of = Q(pk__in=[])
    for kind, number in concerned.items():
        if number:
            any_of |= Q(target_kind=kind, target_id=number)
    return tuple(audit_log.events(by).filter(any_of, at__gt=since)[:MOST_CHANGES])


def _what(call: LoggedCall, reason: Reason | None) -> str:
    if reason is not None:
        return describe(reason).meaning
    if call.status < 0:
        return "The call was admitted, and the consumer went away before it was answered."
    return f"The call was admitted, and answered with {call.status}."


def _inputs(
    stage: Stage, call: LoggedCall, profile: models.AccessProfile | None, by: Actor
) -> Mapping[str, str]:
    """What log and directory know of a stage."""
    match stage:
        case Stage.CALLER:
            return _caller(call)
        case Stage.REQUEST:
            return _names(call, "dropped")
        case Stage.PRESENTED:
            return _names(call, "credentials", "carried", "dropped", "length")
        case Stage.PATH:
            return {"path": str(call.details["path"])} if call.details.get("path") else {}
        case Stage.CREDENTIAL:
            return _credential(call)
        case Stage.ADDRESS:
            return _address(call, profile)
        case Stage.COLLECTION:
            return _collection(call, by)
        case Stage.ENDPOINT:
            return _endpoint(call, profile, by)
        case Stage.QUOTA | Stage.RATE:
            return _limit(stage, call, profile)
        case Stage.ANSWER:
            return _answer(call, by)
        case _:
            return {}


#: Details of a line, and how Explain calls them.
_TOLD = {
    "credentials": "credentials presented",
    "carried": "they came in",
    "dropped": "headers dropped for their spelling",
    "length": "characters of the credential",
}


def _names(call: LoggedCall, *details: str) -> Mapping[str, str]:
    """What a line says of the headers of a refused call: names and numbers, never values."""
    return {_TOLD[name]: str(call.details[name]) for name in details if name in call.details}


def _collection(call: LoggedCall, by: Actor) -> Mapping[str, str]:
    """The collection, named to those who see it: a profile may span projects."""
    collection = models.Collection.objects.filter(pk=call.collection_id).first()
    if collection is None:
        return {}
    seen = models.Collection.objects.visible_to(by).filter(pk=collection.pk).exists()
    return {"collection": collection.name if seen else collections.HIDDEN}


def _path(call: LoggedCall) -> str | None:
    """The normal form of a call's path; nothing: it is not known, or not to its end."""
    path = str(call.details.get("path", ""))
    return facts.normal(path) if len(path) < LOGGED_PATH else None


def _endpoint(
    call: LoggedCall, profile: models.AccessProfile | None, by: Actor
) -> Mapping[str, str]:
    """The endpoint; where none was found, what lies at that path now."""
    endpoint = models.Endpoint.objects.filter(pk=call.endpoint_id).first()
    if endpoint is not None:
        seen = models.Endpoint.objects.visible_to(by).filter(pk=endpoint.pk).exists()
        return {"endpoint": f"{endpoint.method} {endpoint.path}" if seen else collections.HIDDEN}
    path = _path(call)
    if profile is None or path is None:
        return {}
    route = facts.called(profile, call.method, path, by).route
    return {
        "path": path,
        "method": call.method,
        "inactive endpoint there now": "yes" if route.inactive else "no",
        "methods of the path now": ", ".join(route.allow) or "none",
    }


def _caller(call: LoggedCall) -> Mapping[str, str]:
    """The address, and how it came about."""
    forwarded, line = call.details.get("forwarded"), call.details.get("line")
    address = {"address": call.address or "none"}
    if theirs := call.details.get("caller_request_id"):
        address["request id of the proxy"] = str(theirs)
    if not forwarded and not line:
        return address | {"taken from": "the peer of the connection"}
    told = {"peer": str(call.details.get("peer") or "none")}
    if line:
        told["PROXY protocol"] = str(line)
    if forwarded:
        told["X-Forwarded-For"] = str(forwarded)
    if unread := call.details.get("unread"):
        told["not understood"] = (
            "the peer isn't a trusted proxy, so its PROXY protocol header is ignored"
            if unread == "line"
            else str(unread)
        )
    taken = (
        "X-Forwarded-For, from the right as far as the addresses are trusted"
        if forwarded
        else "the line of the PROXY protocol"
    )
    trusted = ", ".join(workspace_settings.read().trusted_proxies) or "none"
    return address | {"taken from": taken, **told, "trusted proxies now": trusted}


def _credential(call: LoggedCall) -> Mapping[str, str]:
    found = models.Credential.objects.filter(pk=call.credential_id).first()
    if found is None:
        return {}
    shown = found.public_id or (masked(found.prefix, found.last_four) if found.prefix else "")
    return {
        "credential": shown or f"imported, number {found.pk}",
        "decided": f"then, or up to {LEASE_SECONDS} seconds before and spent from the lease",
    }


def _address(call: LoggedCall, profile: models.AccessProfile | None) -> Mapping[str, str]:
    """The lists as they are now: what they were is kept in traces alone."""
    if profile is None or not access_profiles.has_lists(profile):
        return {}
    seen = facts.profile(profile)
    denied = [*profile.deny_list, *map(str, seen.denied_lists)]
    allowed = [*profile.allow_list, *map(str, seen.allowed_lists)]
    shown = {
        "address": call.address or "none",
        "denied now": _list(denied),
        "allowed now": _list(allowed),
    }
    near = decision.nearest_allowed(seen, addresses.parse_address(call.address))
    return shown | ({"nearest allowed now": str(near)} if near else {})


def _list(entries: list[str]) -> str:
    more = f" and {len(entries) - 20:,} more" if len(entries) > 20 else ""
    return (", ".join(entries[:20]) or "none") + more


def _limit(
    stage: Stage, call: LoggedCall, profile: models.AccessProfile | None
) -> Mapping[str, str]:
    """The counter as it was logged, else the limit as the policy has it now."""
    if stage is Stage.RATE and call.details.get("ceiling"):
        return {"ceiling": f"open calls of one {call.details['ceiling']}"}
    reason = Reason.QUOTA_EXCEEDED if stage is Stage.QUOTA else Reason.RATE_LIMITED
    at = (call.at_ms - call.latency_ms) // 1000
    if describe(reason).code == call.reason:
        logged = consumption.logged(stage, call.details, at)
        if logged:
            return logged
    if profile is None:
        return {}
    counted = consumption.limits_of(facts.profile(profile, at), at)
    return consumption.shown(counted, stage) or {"limit": "none now"}


def _answer(call: LoggedCall, by: Actor) -> Mapping[str, str]:
    shown = {
        "status": str(call.status) if call.status > 0 else "none was sent",
        "milliseconds": f"{call.latency_ms:,}",
    }
    collection = (
        models.Collection.objects.visible_to(by)
        .select_related("connection")
        .filter(pk=call.collection_id)
        .first()
    )
    if collection is not None and collection.connection is not None:
        shown["connection"] = collection.connection.name
    return shown


def _again(
    call: LoggedCall, trace: DecisionTrace | None, profile: models.AccessProfile, by: Actor
) -> Explanation | None:
    """The same call now, as far as the log says what it was; nothing: it does not say enough."""
    path = _path(call)
    endpoint = models.Endpoint.objects.filter(pk=call.endpoint_id).select_related("recipe").first()
    if path is not None:
        route = facts.called(profile, call.method, path, by).route
    elif endpoint is not None:
        there = states.is_there(endpoint)
        route = Route(
            collection=CollectionId(endpoint.collection_id),
            granted=profile.collections.filter(pk=endpoint.collection_id).exists(),
            endpoint=EndpointId(endpoint.pk) if there else None,
            inactive=not there,
        )
    else:
        return None
    # The line of a refused call does not have the credential, but the trace does.
    used = call.credential_id or (trace.credential_id if trace else 0)
    credential = models.Credential.objects.filter(pk=used).first()
    address = addresses.parse_address(call.address)
    endpoint = models.Endpoint.objects.filter(pk=call.endpoint_id).first()
    weight = endpoint.weight if endpoint else 1
    return hypothetical_calls.decided(
        profile, route, address, path=path or "", credential=credential, weight=weight
    )
