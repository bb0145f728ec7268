"""Sets of files: who applied them last, and what was changed beside them since."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("directory", "0038_deleted_objects"),
    ]

    operations = [
        migrations.AddField(
            "configurationset",
            "applied_by",
            models.CharField(blank=True, default="", max_length=255),
        ),
        migrations.AddField("configurationset", "drift", models.JSONField(default=list)),
        migrations.AddField("configurationset", "drifted", models.PositiveIntegerField(default=0)),
        migrations.AddField(
            "configurationset", "compared_event", models.BigIntegerField(default=0)
        ),
        migrations.AddField("configurationset", "compared_at", models.DateTimeField(null=True)),
    ]
