"""What every workspace has from its first start."""

from django.db import transaction

from ostiary.directory import audit, feed, signing_keys
from ostiary.directory.actor import SYSTEM
from ostiary.directory.models import Change, Project
from ostiary.directory.permission import HOME


def ensure() -> None:
    """Make the feed's first row, the project *Home* and a key to sign with, once."""
    with transaction.atomic():
        if not Change.objects.exists():
            feed.announce(feed.Kind.SETTINGS, 0)
        if not Project.objects.exists():
            home = Project.objects.create(name=HOME, description="Where everything starts")
            audit.record(
                SYSTEM,
                "project.create",
                target_kind="project",
                target_id=home.pk,
                target_name=HOME,
                project_id=home.pk,
            )
        signing_keys.ensure()


def home() -> Project:
    """The project *Home*, or if it was renamed the oldest one."""
    return Project.objects.filter(name=HOME).first() or Project.objects.order_by("pk")[0]
