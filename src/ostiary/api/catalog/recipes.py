"""`/api/recipes`: recipes in the runner's folder, started or stopped."""

from typing import Any

from django.http import HttpRequest
from ninja import Query, Router, Schema

from ostiary import settings
from ostiary.api.answers import ERRORS, Id, Paging, Strict, Success, Time, actor, in_force, page
from ostiary.directory.catalog import recipes
from ostiary.directory.models import Recipe
from ostiary.recipes import control

router = Router(tags=["Recipes"])


class RecipeIn(Strict):
    """A recipe's owner: a project, or `shared` by all projects, or with neither only admins."""

    project_id: Id | None = None
    shared: bool = False


class RecipeOut(Schema):
    id: int
    name: str
    project_id: int | None
    shared: bool
    version: str
    description: str
    file: str
    running: bool
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
        "error": recipe.error or None,
        "input_schema": recipe.input_schema,
        "output_schema": recipe.output_schema,
        "created_at": recipe.created_at,
        "updated_at": recipe.updated_at,
    }


def _learn() -> None:
    control.refresh(settings.current().run / "recipes-control.sock")


@router.get("/recipes", response={200: list[RecipeOut], **ERRORS})
def list_recipes(request: HttpRequest, paging: Query[Paging]) -> Any:
    _learn()
    return [_shown(recipe) for recipe in page(recipes.recipes(actor(request)), paging)]


@router.get("/recipes/{int:recipe_id}", response={200: RecipeOut, **ERRORS})
def show_recipe(request: HttpRequest, recipe_id: int) -> Any:
    _learn()
    return _shown(recipes.find(actor(request), recipe_id))


@router.put("/recipes/{int:recipe_id}", response={200: RecipeOut, **ERRORS})
def change_recipe(request: HttpRequest, recipe_id: int, payload: RecipeIn) -> Any:
    """Give a recipe to a project, or share it; for workspace admins."""
    recipe = recipes.assign(
        by=actor(request),
        recipe_id=recipe_id,
        project_id=payload.project_id,
        shared=payload.shared,
    )
    return _shown(recipe)


@router.put("/recipes/{int:recipe_id}/start", response={200: Success, **ERRORS})
def start_recipe(request: HttpRequest, recipe_id: int) -> Any:
    in_force(recipes.switch(by=actor(request), recipe_id=recipe_id, started=True))
    return {"success": True}


@router.put("/recipes/{int:recipe_id}/stop", response={200: Success, **ERRORS})
def stop_recipe(request: HttpRequest, recipe_id: int) -> Any:
    in_force(recipes.switch(by=actor(request), recipe_id=recipe_id, started=False))
    return {"success": True}
