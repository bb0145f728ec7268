"""Recipes as owners see them: what the runner found, and whether it may run."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from django.db import transaction
from django.db.models import QuerySet

from ostiary.directory import audit, feed
from ostiary.directory.actor import Actor, Role
from ostiary.directory.enforcement import Saved
from ostiary.directory.errors import Forbidden, NotFound
from ostiary.directory.models import Recipe

#: A recipe's name: the gateway says it to the runner.
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A recipe as the runner reports it."""

    name: str
    version: str = ""
    description: str = ""
    file: str = ""
    error: str = ""
    input_schema: Mapping[str, object] = field(default_factory=dict)
    output_schema: Mapping[str, object] = field(default_factory=dict)


def recipes() -> QuerySet[Recipe]:
    """Every recipe that the folder has, or that an endpoint still names."""
    return Recipe.objects.order_by("pk")


def find(recipe_id: int) -> Recipe:
    recipe = Recipe.objects.filter(pk=recipe_id).first()
    if recipe is None:
        raise NotFound("recipe")
    return recipe


def learn(found: Iterable[Found]) -> None:
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
                Recipe.objects.filter(pk=recipe.pk).update(**values)
                if came_or_went:
                    feed.announce(feed.Kind.RECIPE, recipe.pk)


def _values(item: Found) -> dict[str, object]:
    return {
        "version": item.version[:32],
        "description": item.description,
        "file": item.file[:255],
        "error": item.error,
        "input_schema": dict(item.input_schema),
        "output_schema": dict(item.output_schema),
        "present": True,
    }


def switch(*, by: Actor, recipe_id: int, started: bool) -> Saved[Recipe]:
    """Start or stop a recipe; a stopped one answers 404. Repeating does nothing more."""
    if not (by.admin or any(role.rank >= Role.EDITOR.rank for role in by.roles.values())
            or (by.everywhere and by.everywhere.rank >= Role.EDITOR.rank)):  # fmt: skip
        raise Forbidden("This needs the role editor in a project")
    with transaction.atomic():
        recipe = Recipe.objects.select_for_update().filter(pk=recipe_id).first()
        if recipe is None:
            raise NotFound("recipe")
        if recipe.started == started:
            return Saved(value=recipe, sequence=0)
        recipe.started = started
        recipe.save(update_fields=["started", "updated_at"])
        audit.record(
            by,
            "recipe.start" if started else "recipe.stop",
            target_kind="recipe",
            target_id=recipe.pk,
            target_name=recipe.name,
        )
        sequence = feed.announce(feed.Kind.RECIPE, recipe.pk)
    return Saved(value=recipe, sequence=sequence)
