from typing import Any

import django.db.models.deletion
from django.db import migrations, models
from django.utils import timezone

#: What becomes of a token whose right has ended, as an audit event says it.
WIDENED = (
    "it has no project, and may have had one that was deleted: until this upgrade that let it into every "
    "project"
)
MADE_BY = "{email}, who made it, {lost}"


def settle_scopes(apps: Any, editor: object) -> None:
    """Say of each token without projects whether it is for all of them; revoke it where that is unsure.

    A project that was deleted went from the scope of its tokens, and a token without projects counted
    everywhere. A token that never had a project is known by its events: it was made, and no project has
    been deleted since.
    """
    tokens = apps.get_model("directory", "ManagementToken").objects
    events = apps.get_model("directory", "AuditEvent").objects
    for token in tokens.filter(admin=False, projects=None):
        made = events.filter(action="token.create", target_id=token.pk).order_by("pk").first()
        sure = made and not events.filter(action="project.delete", pk__gt=made.pk).exists()
        tokens.filter(pk=token.pk).update(everywhere=True)
        if not sure and token.revoked_at is None:
            _revoke(tokens, events, token, WIDENED)
    for token in tokens.filter(revoked_at=None, created_by__isnull=False).select_related(
        "created_by"
    ):
        maker = token.created_by
        if not (maker.admin and maker.is_active):
            lost = "is no workspace admin any more" if maker.is_active else "was deactivated"
            _revoke(tokens, events, token, MADE_BY.format(email=maker.email, lost=lost))


def _revoke(tokens: Any, events: Any, token: Any, why: str) -> None:
    tokens.filter(pk=token.pk).update(revoked_at=timezone.now(), everywhere=False)
    events.create(
        actor_kind="system",
        actor_name="Ostiary",
        action="token.revoke",
        target_kind="token",
        target_id=token.pk,
        target_name=token.name,
        after={"admin": token.admin, "role": token.role, "why": why},
    )


class Migration(migrations.Migration):
    dependencies = [
        ("directory", "0009_policy_windows"),
    ]

    operations = [
        migrations.AddField(
            model_name="managementtoken",
            name="everywhere",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="managementtoken",
            name="made_by",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="descendants",
                to="directory.managementtoken",
            ),
        ),
        migrations.RunPython(settle_scopes, migrations.RunPython.noop),
    ]
