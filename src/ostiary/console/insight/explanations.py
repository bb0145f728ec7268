"""Explain: why a call was refused or admitted, by request id, or what a hypothetical call would get."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from ostiary.access.decision import Step, StepOutcome
from ostiary.access.paths import METHODS
from ostiary.access.reasons import Reason, describe
from ostiary.access.stages import STAGES, Stage
from ostiary.console.frame.choosers import PROFILES
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes.errors import Invalid, NotFound
from ostiary.review import hypothetical_calls, logged_calls
from ostiary.review.explanation import Explanation
from ostiary.usage import request_log

MARKS = {
    StepOutcome.PASSED: "passed",
    StepOutcome.FAILED: "refused",
    StepOutcome.WATCHED: "only watched",
    StepOutcome.NOT_REACHED: "not reached",
}


@page
@require_safe
def asking(request: HttpRequest, by: Actor) -> HttpResponse:
    """The search for a request id, and the form for a made-up call with its answer below."""
    request_id = request.GET.get("request_id", "").strip()
    problem = ""
    if request_id:
        if "/" not in request_id:
            return redirect("explain-call", request_id)
        problem = "isn't a request id"
    context: dict[str, Any] = {"request_id": request_id, "problem": problem}
    made_up = request.GET if "profile" in request.GET else {}
    return _asked(request, by, made_up, context)


def _asked(
    request: HttpRequest, by: Actor, made_up: Mapping[str, str], context: dict[str, Any]
) -> HttpResponse:
    errors: Mapping[str, list[str]] = {}
    if "path" in made_up:
        try:
            profile_id = PROFILES.chosen(by, "profile", made_up.get("profile", ""))
            explanation = hypothetical_calls.explained(
                by=by,
                made_up=hypothetical_calls.MadeUp(
                    profile_id=profile_id or 0,
                    method=made_up.get("method", ""),
                    path=made_up["path"],
                    address=made_up.get("ip", ""),
                ),
            )
            context |= _shown(by, explanation)
        except Invalid as error:
            errors = error.errors
        except NotFound:
            errors = {"profile": ["must be chosen"]}
    context |= {
        "call": made_up,
        "errors": errors,
        "methods": METHODS,
        "profile": PROFILES.field(by, "profile", "Access profile", made_up.get("profile", "")),
    }
    return render(request, "console/explain.html", context, status=400 if errors else 200)


@page
@require_safe
def call(request: HttpRequest, by: Actor, request_id: str) -> HttpResponse:
    """A call's explanation is its page; one that is not in the log is said here."""
    try:
        request_log.find(by, request_id)
    except NotFound:
        return explained_or_missing(request, by, request_id, None)
    return redirect("log", request_id)


def explained_or_missing(
    request: HttpRequest, by: Actor, request_id: str, named: Mapping[str, Any] | None
) -> HttpResponse:
    """The page of a call; `named` is its line of the log with names, if `by` may see that."""
    if named is None:
        context = {
            "request_id": request_id,
            "problem": "isn't in the request log, or you may not see the call. The log is "
            "kept for a while, and a call appears in it a few seconds after it ends.",
        }
        return _missing(request, by, context)
    try:
        shown = _shown(by, logged_calls.explained(by=by, request_id=request_id))
    except NotFound:
        # The log shows calls also by their client's and collection's project.
        shown = {}
    return render(request, "console/log.html", {"call": named, **shown})


def _missing(request: HttpRequest, by: Actor, context: dict[str, Any]) -> HttpResponse:
    answer = _asked(request, by, {}, context)
    answer.status_code = 404
    return answer


def _shown(by: Actor, explanation: Explanation) -> dict[str, Any]:
    decisive = {StepOutcome.FAILED, StepOutcome.WATCHED}
    passed, unreached = StepOutcome.PASSED, StepOutcome.NOT_REACHED
    steps = explanation.stages
    return {
        "explanation": explanation,
        "passed": [_stage(step) for step in steps if step.outcome is passed],
        "decisive": [_stage(step) for step in steps if step.outcome in decisive],
        "unreached": [_stage(step) for step in steps if step.outcome is unreached],
        "again": _link(explanation),
        "may_change": explanation.profile is not None
        and by.may(Role.EDITOR, explanation.profile.client.project_id),
    }


def _stage(step: Step) -> dict[str, Any]:
    return {
        "question": STAGES[step.check].question,
        "mark": MARKS[step.outcome],
        "kind": step.outcome.name.lower().replace("_", "-"),
        "inputs": step.inputs,
        "open": step.outcome in {StepOutcome.FAILED, StepOutcome.WATCHED},
    }


def _link(explanation: Explanation) -> dict[str, str]:
    """The page where the owner can change the refusing rule, and what the link says."""
    if explanation.profile is None or explanation.reason is None:
        return {}
    match describe(explanation.reason).stage:
        case Stage.ADDRESS | Stage.COLLECTION | Stage.PROOF:
            address = reverse("edit-profile", args=[explanation.profile.pk])
            return {"address": address, "label": "Edit access profile"}
        case Stage.QUOTA | Stage.RATE if explanation.profile.policy_id:
            address = reverse("edit-policy", args=[explanation.profile.policy_id])
            return {"address": address, "label": "Edit policy"}
        case _ if explanation.reason is Reason.UNKNOWN_CREDENTIAL:
            return {}
        case _:
            address = reverse("client", args=[explanation.profile.client_id])
            return {"address": address, "label": "Open client"}
