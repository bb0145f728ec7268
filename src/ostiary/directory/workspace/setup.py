"""The initial content of every workspace."""

from django.db import transaction

from ostiary.directory.actor import SYSTEM
from ostiary.directory.changes import audit_log, feed
from ostiary.directory.models import Change, Project
from ostiary.directory.workspace import signing_keys

#: What the first project is called until somebody renames it.
HOME = "Home"


def ensure() -> None:
    """Make the feed's first row, the project *Home* and a key to sign with, once."""
    with transaction.atomic():
        if not Change.objects.exists():
            feed.announce(feed.Kind.SETTINGS, 0)
        if not Project.objects.exists():
            home = Project.objects.create(
                name=HOME, home=True, description="Where everything starts"
            )
            audit_log.record(
                SYSTEM,
                "project.create",
                target_kind="project",
                target_id=home.pk,
                target_name=HOME,
                project_id=home.pk,
            )
        signing_keys.ensure()


def home() -> Project:
    """The project *Home*, whatever it is called now."""
    return Project.objects.get(home=True)
