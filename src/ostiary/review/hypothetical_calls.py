"""What a hypothetical or logged call would get now."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from ostiary.access.addresses import Address, parse_address
from ostiary.access.decision import Allow, Deny, Step, StepOutcome, decide, explain
from ostiary.access.facts import Facts, Route
from ostiary.access.methods import AuthMethod
from ostiary.access.paths import METHODS
from ostiary.access.reasons import Reason, describe
from ostiary.access.stages import Stage
from ostiary.directory import models
from ostiary.directory.actor import Actor
from ostiary.directory.changes import fields
from ostiary.directory.clients import access_profiles
from ostiary.identity.signed_tokens import LONGEST
from ostiary.review import consumption, facts, pasted_tokens
from ostiary.review.explanation import Explanation, laid_out
from ostiary.review.pasted_tokens import Pasted

LONGEST_PATH = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeUp:
    """A hypothetical call, as typed."""

    profile_id: int
    method: object = "GET"
    path: object = ""
    address: object = ""
    #: A signed token that the call would present; empty: a good one.
    token: object = ""


def explained(*, by: Actor, made_up: MadeUp) -> Explanation:
    """The verdict on a hypothetical call; raises NotFound, and Invalid for a malformed call."""
    profile = access_profiles.find(by, made_up.profile_id)
    problems = fields.Problems()
    method = fields.choice(problems, "method", made_up.method, METHODS)
    raw = fields.text(problems, "path", made_up.path, maximum=LONGEST_PATH)
    # Where no list asks for it, it does not matter.
    asked = access_profiles.has_lists(profile)
    token = fields.text(problems, "token", made_up.token, maximum=LONGEST, required=False)
    text = fields.text(problems, "ip", made_up.address, maximum=45, required=asked)
    address = parse_address(text)
    if text and address is None:
        problems.add("ip", "isn't an IPv4 or IPv6 address")
    problems.raise_if_any()
    # The query is not looked at, here as at the gateway.
    path = facts.normal(raw)
    if path is None:
        return _malformed(profile, raw)
    called = facts.called(profile, method, path, by)
    now = int(datetime.now(UTC).timestamp())
    proof = pasted_tokens.judged(profile, token, now) if token else None
    weight = called.endpoint.weight if called.endpoint else 1
    found = decided(profile, called.route, address, path=path, proof=proof, weight=weight)
    if found.reason is None and called.has_dots(path):
        return _malformed(profile, raw)
    return found


def _malformed(profile: models.AccessProfile, raw: str) -> Explanation:
    reason = Reason.MALFORMED_PATH
    row = describe(reason)
    return Explanation(
        stages=laid_out(
            decided={}, failing=row.stage, reason=reason, watched={},
            inputs=lambda stage: {"path": raw} if stage is Stage.PATH else {},
        ),
        reason=reason, would=None, status=row.status, what=row.meaning,
        remedy=row.remedy, profile=profile,
    )  # fmt: skip


def decided(
    profile: models.AccessProfile,
    route: Route,
    address: Address | None,
    *,
    path: str = "",
    credential: models.Credential | None = None,
    proof: Pasted | None = None,
    weight: int = 1,
) -> Explanation:
    """Decide about a call of a profile now, and add its limits' state; `weight` is the endpoint's."""
    at = int(datetime.now(UTC).timestamp())
    credential = proof.credential if proof else credential or newest(profile)
    found = Facts(
        now=at,
        address=address,
        presented=True,
        method=AuthMethod(profile.auth_type),
        known=facts.known(credential, profile) if credential else None,
        route=route,
        problem=proof.problem if proof else "",
        proved_until=proof.until if proof else None,
    )
    verdict = decide(found)
    if route.usage:
        # To read what is used counts in no limit.
        weight = 0
    allowed = isinstance(verdict, Allow)
    counted = consumption.consumed(facts.profile(profile, at), at, weight) if allowed else ()
    reached = [limit for limit in counted if limit.reached]
    enforced = reached if not (profile.policy and profile.policy.watched) else []
    reason = verdict.reason if isinstance(verdict, Deny) else None
    if reason is None and enforced:
        reason = enforced[0].reason
    would = None if reason else _would(verdict, [limit.reason for limit in reached])
    shown = {limit.stage: consumption.shown(counted, limit.stage) for limit in counted}
    shown[Stage.CALLER] = {"address": str(address) if address else "none"}
    shown[Stage.PATH] = {"path": path} if path else {}
    return Explanation(
        stages=laid_out(
            decided={step.check: _seen(step, proof) for step in explain(found)},
            failing=enforced[0].stage if enforced else None,
            reason=reason,
            watched={limit.stage: limit.reason for limit in reached} if not enforced else {},
            inputs=lambda stage: shown.get(stage, {}),
        ),
        reason=reason,
        would=would,
        status=describe(reason).status if reason else 0,
        what=describe(reason).meaning if reason else _admitted(would),
        remedy=describe(reason).remedy if reason else "",
        profile=profile,
    )


def _seen(step: Step, proof: Pasted | None) -> Step:
    """A step with what a pasted token showed there."""
    if proof is None or step.outcome is StepOutcome.NOT_REACHED:
        return step
    more: Mapping[str, str] = {}
    if step.check == Stage.KNOWN:
        more = proof.named
    elif step.check == Stage.PROOF and not proof.signed:
        more = {
            "signature": "not judged here, nor the provider's own issuer: the authority alone has its keys"
        }
    return replace(step, inputs=(*step.inputs, *more.items()))


def _would(verdict: Allow | Deny, limits: list[Reason]) -> Reason | None:
    if isinstance(verdict, Allow) and verdict.would:
        return verdict.would
    return limits[0] if limits else None


def _admitted(would: Reason | None) -> str:
    if would is None:
        return "The call would be admitted."
    what = describe(would).meaning
    return f"The call would be admitted, only because a rule is watched and not enforced. {what}"


def newest(profile: models.AccessProfile) -> models.Credential | None:
    """The credential that a profile's consumer should be using; of dead ones the last."""
    found = models.Credential.objects.filter(profile=profile, trial=False).order_by("-pk")
    return found.filter(revoked_at=None).first() or found.first()
