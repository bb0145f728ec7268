"""Recipes: the runner's recipes, started or stopped, and their recent jobs."""

import contextlib
from datetime import UTC, datetime
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from ostiary import settings
from ostiary.console.frame import live
from ostiary.console.frame.listing import number_of
from ostiary.console.frame.questions import (
    ConsequenceQuestion,
    counted,
    made_at,
    say_done,
    unanswered,
)
from ostiary.console.frame.saving import in_force
from ostiary.console.sign_in.viewer import page
from ostiary.directory.actor import Actor
from ostiary.directory.catalog import recipes
from ostiary.directory.changes.errors import Forbidden, Refused
from ostiary.directory.projects import projects
from ostiary.recipes import control

MOST_JOBS = 50


@page
@require_safe
def listing(request: HttpRequest, by: Actor) -> HttpResponse:
    path = settings.current().run / "recipes-control.sock"
    control.refresh(path)
    jobs: list[dict[str, Any]] = []
    # Jobs show what callers sent wrong, to whoever may change recipes.
    if by.admin:
        with contextlib.suppress(control.RunnerGone):
            jobs = [
                job | {"at": datetime.fromtimestamp(job["started"], UTC)}
                for job in control.jobs(path, limit=MOST_JOBS)
            ]
    known = list(recipes.recipes(by))
    context: dict[str, object] = {
        "rows": [
            {"recipe": recipe, "may_switch": recipes.may_switch(by, recipe)} for recipe in known
        ],
        "jobs": jobs,
        "admin": by.admin,
        "projects": projects.projects(by).order_by("name"),
    }
    states = [
        (recipe.version, recipe.present, recipe.error, recipe.project_id, recipe.shared)
        for recipe in known
    ]
    return live.render(request, "console/recipes.html", context, states, jobs[:1])


@page
@require_POST
def switch(request: HttpRequest, by: Actor, recipe_id: int) -> HttpResponse:
    started = request.POST.get("started") == "1"
    back = reverse("recipes")
    if not started and (answer := unanswered(request, lambda: _stopped(by, recipe_id), back=back)):
        return answer
    saved = recipes.switch(by=by, recipe_id=recipe_id, started=started)
    if in_force(request, saved):
        state = "started" if started else "stopped: its endpoints answer 404"
        undo = (request.path, "started", "0" if started else "1")
        say_done(request, f"The recipe {saved.value.name} is {state}.", undo=undo)
    return redirect(made_at(request, back))


def _stopped(by: Actor, recipe_id: int) -> ConsequenceQuestion:
    recipe = recipes.find(by, recipe_id)
    if not recipes.may_switch(by, recipe):
        raise Forbidden
    active = recipe.endpoints.filter(active=True).count()
    return ConsequenceQuestion(
        title=f"Stop the recipe {recipe.name}?",
        sentences=(f"{counted(active, 'active endpoint')} of it answer 404 then, at once.",),
        verb="Stop",
    )


@page
@require_POST
def assign(request: HttpRequest, by: Actor, recipe_id: int) -> HttpResponse:
    """Set a recipe's owner: one project, all projects, or only admins."""
    whose = request.POST.get("owner", "")
    try:
        given = recipes.RecipeInput(project_id=number_of(whose), shared=whose == "all")
        recipe = recipes.assign(by=by, recipe_id=recipe_id, given=given)
    except Refused as error:
        messages.error(request, f"{error}.")
    else:
        messages.success(request, f"The recipe {recipe.name} was changed.")
    return redirect("recipes")
