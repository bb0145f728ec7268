"""What was deleted and can be put back."""

from typing import ClassVar

from django.db import models

from ostiary.directory.models.scoped import ScopedQuerySet


class DeletedObject(models.Model):
    """One deleted object with all that went with it, but for secrets."""

    #: As in `directory.restoring.KINDS`.
    kind = models.CharField(max_length=16)
    #: It has this id again when it is put back.
    object_id = models.IntegerField()
    name = models.CharField(max_length=255)
    #: Not a foreign key: the project may be deleted meanwhile. Empty: the workspace's own.
    project_id = models.IntegerField(null=True, db_index=True)
    #: What went with it, as numbers by their names.
    takes = models.JSONField(default=dict)
    #: Its rows as Django's serializer writes them, the object itself first.
    content = models.TextField()
    deleted_by = models.CharField(max_length=255)
    deleted_at = models.DateTimeField(auto_now_add=True, db_index=True)

    objects: ClassVar[models.Manager["DeletedObject"]] = ScopedQuerySet[
        "DeletedObject"
    ].as_manager()
