"""Recipes as the directory knows them: found by the runner, started or stopped by an owner."""

from django.db import models


class Recipe(models.Model):
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
