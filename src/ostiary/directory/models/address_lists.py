"""Lists of addresses that profiles of a project share."""

from typing import ClassVar

from django.db import models

from ostiary.directory.models.projects import Project
from ostiary.directory.models.scoped import ScopedQuerySet


class AddressList(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="address_lists")
    name = models.CharField(max_length=255)
    #: The owner's own name for it, unique by kind and project; empty: none.
    key = models.CharField(max_length=64, null=True)  # noqa: DJ001 - NULLs are not unique
    labels = models.JSONField(default=dict)
    description = models.TextField(blank=True, default="")
    #: What the owner typed, with comments; each entry is valid.
    text = models.TextField()
    #: The same for decisions, as `access.addresses.NamedList` reads it.
    packed = models.TextField()
    entries = models.PositiveIntegerField()
    epoch = models.BigIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[models.Manager["AddressList"]] = ScopedQuerySet["AddressList"].as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="address_list_in_project"),
            models.UniqueConstraint(fields=["project", "key"], name="address_list_key"),
        ]
