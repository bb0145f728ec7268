"""`/api/recipes`: recipes in the runner's folder, started or stopped."""

from typing import Annotated, Any, ClassVar, TypeVar

from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema

from ostiary import settings
from ostiary.api import lists
from ostiary.api.answers import (
    ERRORS,
    ChangeBody,
    RevokedAnswer,
    Time,
    actor,
    change,
    if_match,
    revoked,
    versioned,
)
from ostiary.directory import states
from ostiary.directory.catalog import recipes
from ostiary.directory.models import Recipe
from ostiary.directory.states import StateCode
from ostiary.recipes import control

router = Router(tags=["Recipes"])
M = TypeVar("M", bound=Model)


class RecipeOut(Schema):
    id: int
    name: str
    project_id: int | None
    shared: bool
    version: str
    description: str
    file: str
    running: bool
    effective_state: StateCode
    error: str | None
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    created_at: Time
    updated_at: Time


def _shown(recipe: Recipe) -> dict[str, Any]:
    return {
        "id": recipe.pk,
        "name": recipe.name,
        "project_id": recipe.project_id,
        "shared": recipe.shared,
        "version": recipe.version,
        "description": recipe.description,
        "file": recipe.file,
        "running": recipe.started and recipe.present,
        "effective_state": states.of_recipe(recipe).code,
        "error": recipe.error or None,
        "input_schema": recipe.input_schema,
        "output_schema": recipe.output_schema,
        "created_at": recipe.created_at,
        "updated_at": recipe.updated_at,
    }


@change(RecipeOut, _shown)
class RecipeChange(ChangeBody, recipes.RecipeInput):
    """A recipe's owner: a project, or `shared` by all projects, or with neither only admins.

    Omitted fields keep their values, but that one of the two takes the other away.
    """


def _learn() -> None:
    control.refresh(settings.current().run / "recipes-control.sock")


class RecipeQuery(lists.DatedQuery):
    conditions: ClassVar = staticmethod(states.recipe_conditions)
    searched: ClassVar[tuple[str, ...]] = ("name", "description", "file")

    project_id: lists.IdFilter = None
    shared: lists.FlagFilter = None
    running: lists.FlagFilter = None
    effective_state: Annotated[str | None, lists.among(states.recipe_conditions)] = None
    name: lists.TextFilter = None

    def filtered(self, found: QuerySet[M], name: str, value: object) -> QuerySet[M]:
        if name != "running":
            return super().filtered(found, name, value)
        running = Q(started=True, present=True)
        return found.filter(running if value else ~running)


@router.get("/recipes", response={200: list[RecipeOut], **ERRORS})
def list_recipes(request: HttpRequest, query: Query[RecipeQuery], response: HttpResponse) -> Any:
    _learn()
    found = lists.bare(request, response, recipes.recipes(actor(request)), query)
    return [_shown(recipe) for recipe in found]


@router.get("/recipes/{int:recipe_id}", response={200: RecipeOut, **ERRORS})
def show_recipe(request: HttpRequest, recipe_id: int, response: HttpResponse) -> Any:
    _learn()
    recipe = recipes.find(actor(request), recipe_id)
    versioned(response, recipe)
    return _shown(recipe)


@router.put("/recipes/{int:recipe_id}", response={200: RecipeOut, **ERRORS})
def change_recipe(
    request: HttpRequest, recipe_id: int, payload: RecipeChange, response: HttpResponse
) -> Any:
    """Give a recipe to a project, or share it; for workspace admins."""
    recipe = recipes.assign(
        by=actor(request),
        recipe_id=recipe_id,
        given=payload,
        if_match=if_match(request),
    )
    versioned(response, recipe)
    return _shown(recipe)


def _switch(request: HttpRequest, recipe_id: int, *, started: bool) -> Any:
    return revoked(
        recipes.switch(
            by=actor(request), recipe_id=recipe_id, started=started, if_match=if_match(request)
        )
    )


@router.put("/recipes/{int:recipe_id}/start", response={200: RevokedAnswer, **ERRORS})
def start_recipe(request: HttpRequest, recipe_id: int) -> Any:
    return _switch(request, recipe_id, started=True)


@router.put("/recipes/{int:recipe_id}/stop", response={200: RevokedAnswer, **ERRORS})
def stop_recipe(request: HttpRequest, recipe_id: int) -> Any:
    """Stop a recipe: when this answers, its endpoints answer 404."""
    return _switch(request, recipe_id, started=False)
