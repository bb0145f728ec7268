"""Removing the demo: one press on the Overview, and a question with its numbers."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from ostiary.console.frame.questions import ConsequenceQuestion, counted, unanswered
from ostiary.console.frame.saving import in_force
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor
from ostiary.directory.changes.errors import InUse
from ostiary.samples import demo_removal

#: Kinds in the order and the words of the question.
_WORDS = {
    "client": "client",
    "profile": "access profile",
    "collection": "API collection",
    "endpoint": "endpoint",
    "connection": "connection",
}


@page
@require_POST
def remove(request: HttpRequest, by: Actor) -> HttpResponse:
    home = reverse("home")
    if answer := unanswered(request, lambda: _question(by), back=home):
        return answer
    try:
        saved = demo_removal.remove(by=by)
    except InUse as error:
        messages.error(request, f"{error}.")
        return redirect(home)
    if in_force(request, saved):
        messages.success(request, " ".join(("The demo was removed.", *saved.value.stays)))
    return redirect(home)


def _question(by: Actor) -> ConsequenceQuestion:
    plan = demo_removal.planned(by)
    numbers = [counted(plan.count(kind), word) for kind, word in _WORDS.items()]
    numbers.append(counted(plan.count("policy"), "policy", "policies"))
    return ConsequenceQuestion(
        title="Remove the demo?",
        sentences=(
            f"This deletes {', '.join(numbers[:-1])} and {numbers[-1]}, with their credentials.",
            f"It also deletes their usage: {counted(plan.calls, 'logged request')} and what was counted.",
            *plan.stays,
            (
                "You keep your account and everything that you created. The sample Python functions"
                " stay in the recipes folder."
            ),
        ),
        verb="Remove the demo",
    )
