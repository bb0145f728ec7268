"""`/api/recipes`: what the runner found, started or stopped."""

from typing import Any

from django.http import HttpRequest
from ninja import Query, Router, Schema

from ostiary import settings
from ostiary.api.answers import ERRORS, Paging, Success, Time, actor, in_force, page
from ostiary.directory import recipes
from ostiary.directory.models import Recipe
from ostiary.recipes import control

router = Router(tags=["Recipes"])


class RecipeOut(Schema):
    id: int
    name: str
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
    return [_shown(recipe) for recipe in page(recipes.recipes(), paging)]


@router.get("/recipes/{int:recipe_id}", response={200: RecipeOut, **ERRORS})
def show_recipe(request: HttpRequest, recipe_id: int) -> Any:
    _learn()
    return _shown(recipes.find(recipe_id))


@router.put("/recipes/{int:recipe_id}/start", response={200: Success, **ERRORS})
def start_recipe(request: HttpRequest, recipe_id: int) -> Any:
    in_force(recipes.switch(by=actor(request), recipe_id=recipe_id, started=True))
    return {"success": True}


@router.put("/recipes/{int:recipe_id}/stop", response={200: Success, **ERRORS})
def stop_recipe(request: HttpRequest, recipe_id: int) -> Any:
    in_force(recipes.switch(by=actor(request), recipe_id=recipe_id, started=False))
    return {"success": True}
