"""Recipes as owners see them: what the runner found, whose it is, and whether it may run.

A recipe is a project's, or shared by all projects. A new one is shared: who writes files into the
recipes folder may do everything. Shared ones are started and stopped by admins alone.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from ostiary.directory.actor import Actor, Role
from ostiary.directory.changes import audit_log, etags, feed
from ostiary.directory.changes.confirmation import Saved, unchanged
from ostiary.directory.changes.errors import Forbidden, InUse, Invalid, NotFound
from ostiary.directory.changes.inputs import Flag, IdOrNull, Input
from ostiary.directory.changes.permission import project_of, require_admin
from ostiary.directory.models import Project, Recipe

#: A recipe's name: the gateway says it to the runner.
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")


class RecipeInput(Input):
    """Whose a recipe is: a project's, or shared by all, or with neither for admins alone.

    Saying one of them takes the other back: both cannot be.
    """

    apart: ClassVar[tuple[str, ...]] = ("project_id", "shared")

    project_id: IdOrNull = None
    shared: Flag = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedRecipe:
    """A recipe as the runner reports it."""

    name: str
    version: str = ""
    description: str = ""
    file: str = ""
    error: str = ""
    input_schema: Mapping[str, object] = field(default_factory=dict)
    output_schema: Mapping[str, object] = field(default_factory=dict)


def recipes(by: Actor) -> QuerySet[Recipe]:
    """Every recipe that the folder has, or that an endpoint still names, as far as `by` sees them."""
    return Recipe.objects.visible_to(by).select_related("project").order_by("pk")


def usable_in(project_id: int) -> QuerySet[Recipe]:
    """The recipes that endpoints of a project may run."""
    return Recipe.objects.usable_in(project_id).order_by("pk")


def find(by: Actor, recipe_id: int) -> Recipe:
    recipe = recipes(by).filter(pk=recipe_id).first()
    if recipe is None:
        raise NotFound("recipe")
    return recipe


def learn(found: Iterable[ReportedRecipe]) -> None:
    """Take over what the runner found; recipes that are gone stay as absent ones.

    One whose name does not fit is left out: the runner does not load such a one either.
    """
    known = {recipe.name: recipe for recipe in Recipe.objects.all()}
    seen = {item.name: _values(item) for item in found if NAME.fullmatch(item.name)}
    absent: dict[str, dict[str, object]] = {
        name: {"present": False} for name in known if name not in seen
    }
    with transaction.atomic():
        for name, values in {**seen, **absent}.items():
            recipe = known.get(name)
            if recipe is None:
                Recipe.objects.create(name=name, **values)
            elif any(getattr(recipe, field) != value for field, value in values.items()):
                came_or_went = recipe.present != values["present"]
                changed = Recipe.objects.filter(pk=recipe.pk)
                changed.update(**values, updated_at=timezone.now())
                if came_or_went:
                    feed.announce(feed.Kind.RECIPE, recipe.pk)


def _values(item: ReportedRecipe) -> dict[str, object]:
    return {
        "version": item.version[:32],
        "description": item.description,
        "file": item.file[:255],
        "error": item.error,
        "input_schema": dict(item.input_schema),
        "output_schema": dict(item.output_schema),
        "present": True,
    }


def may_switch(by: Actor, recipe: Recipe) -> bool:
    return by.admin if recipe.project_id is None else by.may(Role.EDITOR, recipe.project_id)


def switch(
    *, by: Actor, recipe_id: int, started: bool, if_match: str | None = None
) -> Saved[Recipe]:
    """Start or stop a recipe; a stopped one answers 404. Repeating does nothing more."""
    with transaction.atomic():
        recipe = _locked(by, recipe_id)
        if not may_switch(by, recipe):
            raise Forbidden(
                "Only a workspace admin may start or stop what all projects share"
                if recipe.project_id is None
                else "This needs the role editor in the recipe's project"
            )
        etags.check(recipe, if_match)
        if recipe.started == started:
            return unchanged(recipe, feed.latest())
        recipe.started = started
        recipe.save(update_fields=["started", "updated_at"])
        audit_log.record(
            by,
            "recipe.start" if started else "recipe.stop",
            target_kind="recipe",
            target_id=recipe.pk,
            target_name=recipe.name,
            project_id=recipe.project_id,
        )
        sequence = feed.announce(feed.Kind.RECIPE, recipe.pk)
    return Saved(value=recipe, sequence=sequence)


def assign(*, by: Actor, recipe_id: int, given: RecipeInput, if_match: str | None = None) -> Recipe:
    """Give a recipe to a project, share it with all, or with neither keep it for admins.

    Raises InUse while endpoints run it that might not any more, Invalid, NotFound, Forbidden.
    """
    require_admin(by)
    with transaction.atomic():
        recipe = _locked(by, recipe_id)
        etags.check(recipe, if_match)
        given.check_fixed(recipe)
        project, shared = _owner(by, recipe, given)
        if (project and project.pk, shared) == (recipe.project_id, recipe.shared):
            return recipe
        users = recipe.endpoints.all()
        if project is not None:
            users = users.exclude(collection__project=project)
        if not shared and users.exists():
            count = users.count()
            endpoints = "1 endpoint" if count == 1 else f"{count} endpoints"
            raise InUse(f"The recipe is run by {endpoints} of other projects")
        before = _ownership(recipe)
        recipe.project, recipe.shared = project, shared
        recipe.save(update_fields=["project", "shared", "updated_at"])
        audit_log.record(
            by,
            "recipe.change",
            target_kind="recipe",
            target_id=recipe.pk,
            target_name=recipe.name,
            project_id=recipe.project_id,
            before=before,
            after=_ownership(recipe),
        )
    return recipe


def _owner(by: Actor, recipe: Recipe, given: RecipeInput) -> tuple[Project | None, bool]:
    """The project that a recipe will have, and whether all share it; raises Invalid."""
    if given.project_id is not None and given.shared:
        raise Invalid({"shared": ["must be false for a recipe that belongs to a project"]})
    project, shared = recipe.project, recipe.shared
    if given.has("shared"):
        shared = given.shared
        project = None if shared else project
    if given.has("project_id"):
        project = project_of(by, given.project_id) if given.project_id is not None else None
        shared = shared and project is None
    return project, shared


def _locked(by: Actor, recipe_id: int) -> Recipe:
    find(by, recipe_id)
    recipe = Recipe.objects.select_for_update().filter(pk=recipe_id).first()
    if recipe is None:
        raise NotFound("recipe")
    return recipe


def _ownership(recipe: Recipe) -> dict[str, object]:
    return {"project_id": recipe.project_id, "shared": recipe.shared}
