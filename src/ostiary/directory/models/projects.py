"""Projects, their folders, and properties. A project *is* a top-level folder, with its id."""

from typing import ClassVar, Self

from django.db import models
from django.db.models import Q

from ostiary.directory.actor import Actor


class FolderQuerySet(models.QuerySet["Folder"]):
    def visible_to(self, actor: Actor) -> Self:
        """Folders of projects that `actor` may see; a project's own folder counts as in it."""
        if actor.sees_all:
            return self
        return self.filter(Q(project_id__in=actor.project_ids) | Q(pk__in=actor.project_ids))


class Folder(models.Model):
    name = models.CharField(max_length=255)
    #: The owner's own name for it, unique by kind and project; empty: none.
    key = models.CharField(max_length=64, null=True)  # noqa: DJ001 - NULLs are not unique
    labels = models.JSONField(default=dict)
    description = models.TextField(blank=True, default="")
    parent = models.ForeignKey("self", null=True, on_delete=models.CASCADE, related_name="children")
    #: The top-level folder it lies in; empty for that folder itself.
    project = models.ForeignKey(
        "Project", null=True, on_delete=models.CASCADE, related_name="folders"
    )
    #: Whether this is *Home*, the project of assets for which none is named.
    home = models.BooleanField(default=False)
    #: Of a project, the most that it may hold and ask, by `project_quotas.NAMES`; without: no bound.
    quotas = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar[models.Manager["Folder"]] = FolderQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["parent", "name"], name="folder_name_in_parent"),
            models.UniqueConstraint(fields=["name"], condition=Q(parent=None), name="project_name"),
            models.UniqueConstraint(fields=["project", "key"], name="folder_key"),
            models.UniqueConstraint(fields=["key"], condition=Q(project=None), name="project_key"),
            models.UniqueConstraint(fields=["home"], condition=Q(home=True), name="one_home"),
            models.CheckConstraint(
                condition=Q(home=False) | Q(parent=None), name="home_is_a_project"
            ),
            models.CheckConstraint(
                condition=Q(parent=None, project=None)
                | Q(parent__isnull=False, project__isnull=False),
                name="folder_in_project",
            ),
        ]

    @property
    def root_id(self) -> int:
        """The id of the project that this folder is, or lies in."""
        return self.project_id or self.pk


class ProjectManager(models.Manager["Project"]):
    def get_queryset(self) -> models.QuerySet["Project"]:
        return super().get_queryset().filter(parent=None)


class Project(Folder):
    """A top-level folder of assets with members; who has no access to it sees nothing of it."""

    objects: ClassVar[ProjectManager] = ProjectManager()  # type: ignore[assignment]  # the stubs have one kind

    class Meta:
        proxy = True


class Property(models.Model):
    """A named text value of a project, or (without one) of the whole workspace."""

    project = models.ForeignKey(
        Project, null=True, on_delete=models.CASCADE, related_name="properties"
    )
    name = models.CharField(max_length=100)
    value = models.CharField(max_length=1024, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="property_in_project"),
            models.UniqueConstraint(
                fields=["name"], condition=Q(project=None), name="property_of_workspace"
            ),
        ]
