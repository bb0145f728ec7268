"""The one filter of what a member or token may see: rows of the projects it has a role in."""

from typing import ClassVar, Self, TypeVar

from django.db import models

from ostiary.directory.actor import Actor

M = TypeVar("M", bound=models.Model)


class ScopedQuerySet(models.QuerySet[M]):
    """Rows that belong to a project, directly or through `scope`."""

    #: The look-up path from the model to its project's id.
    scope: ClassVar[str] = "project_id"

    def visible_to(self, actor: Actor) -> Self:
        """Only rows of projects that `actor` may see; the rest does not exist for it."""
        if actor.sees_all:
            return self
        return self.filter(**{f"{self.scope}__in": actor.project_ids})


class CollectionScopedQuerySet(ScopedQuerySet[M]):
    scope = "collection__project_id"


class ClientScopedQuerySet(ScopedQuerySet[M]):
    scope = "client__project_id"


class ProfileScopedQuerySet(ScopedQuerySet[M]):
    scope = "profile__client__project_id"
