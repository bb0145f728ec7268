"""Recipes as the directory knows them: found by the runner, started or stopped by an owner."""

from typing import ClassVar, Self

from django.db import models
from django.db.models import Q

from ostiary.directory.actor import Actor
from ostiary.directory.models.projects import Project


class RecipeQuerySet(models.QuerySet["Recipe"]):
    def visible_to(self, actor: Actor) -> Self:
        """Those that all projects share, and those of projects that `actor` may see."""
        if actor.admin:
            return self
        if actor.sees_all:
            return self.filter(Q(shared=True) | Q(project__isnull=False))
        return self.filter(Q(shared=True) | Q(project_id__in=actor.project_ids))

    def usable_in(self, project_id: int) -> Self:
        """Those that endpoints of a project may run."""
        return self.filter(Q(shared=True) | Q(project_id=project_id))


class Recipe(models.Model):
    #: Whose editors start and stop it, and whose endpoints alone run it; empty: it is for admins.
    project = models.ForeignKey(
        Project, null=True, on_delete=models.SET_NULL, related_name="recipes"
    )
    #: Endpoints of every project may run it. A flag, so that a project's deletion shares nothing.
    shared = models.BooleanField(default=True)
    name = models.CharField(max_length=100, unique=True)
    version = models.CharField(max_length=32, blank=True, default="")
    description = models.TextField(blank=True, default="")
    file = models.CharField(max_length=255, blank=True, default="")
    started = models.BooleanField(default=True)
    #: Whether the recipes folder still holds it.
    present = models.BooleanField(default=True)
    #: What is wrong with its file, if the last good version runs; empty: nothing.
    error = models.TextField(blank=True, default="")
    input_schema = models.JSONField(default=dict)
    output_schema = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[models.Manager["Recipe"]] = RecipeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(project=None) | Q(shared=False), name="recipe_of_one_or_all"
            )
        ]
