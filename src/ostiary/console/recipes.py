"""Recipes: what the runner found, started or stopped, and how their calls went."""

import contextlib
from datetime import UTC, datetime
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST, require_safe

from ostiary import settings
from ostiary.console import live
from ostiary.console.saving import in_force
from ostiary.console.viewer import page
from ostiary.directory import recipes
from ostiary.directory.actor import Actor
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
    known = list(recipes.recipes())
    context: dict[str, object] = {"recipes": known, "jobs": jobs, "may_change": by.admin}
    states = [(recipe.version, recipe.present, recipe.error) for recipe in known]
    return live.render(request, "console/recipes.html", context, states, jobs[:1])


@page
@require_POST
def switch(request: HttpRequest, by: Actor, recipe_id: int) -> HttpResponse:
    started = request.POST.get("started") == "1"
    saved = recipes.switch(by=by, recipe_id=recipe_id, started=started)
    if in_force(request, saved):
        state = "started" if started else "stopped: its endpoints answer 404"
        messages.success(request, f"The recipe {saved.value.name} is {state}.")
    return redirect("recipes")
