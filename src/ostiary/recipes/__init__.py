"""Recipes: Python functions behind endpoints. Authors need `recipe` and `Context` from here."""

from ostiary.recipes.authoring import Caller, Context, recipe

__all__ = ["Caller", "Context", "recipe"]
