"""Configuration that is kept in files: its sets, what belongs to them, and plans."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("directory", "0029_specifications"),
    ]

    operations = [
        migrations.CreateModel(
            name="ConfigurationPlan",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("content", models.JSONField()),
                ("options", models.JSONField(default=dict)),
                ("digest", models.CharField(max_length=64)),
                ("described", models.JSONField()),
                ("made_by", models.CharField(max_length=255)),
                ("created_at", models.DateTimeField(auto_now_add=True, db_index=True)),
                ("applied_at", models.DateTimeField(null=True)),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="configuration_plans",
                        to="directory.project",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ConfigurationSet",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=64)),
                ("applied_at", models.DateTimeField(null=True)),
                ("commit", models.CharField(blank=True, default="", max_length=100)),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="configuration_sets",
                        to="directory.project",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ManagedObject",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("kind", models.CharField(max_length=32)),
                ("object_id", models.IntegerField()),
                ("key", models.CharField(max_length=700)),
                ("applied", models.JSONField(default=dict)),
                ("fingerprints", models.JSONField(default=dict)),
                ("rotated", models.PositiveIntegerField(default=0)),
                ("protected", models.BooleanField(default=False)),
                (
                    "set",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="objects_of",
                        to="directory.configurationset",
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="configurationset",
            constraint=models.UniqueConstraint(
                fields=("project", "name"), name="configuration_set_in_project"
            ),
        ),
        migrations.AddConstraint(
            model_name="managedobject",
            constraint=models.UniqueConstraint(
                fields=("kind", "object_id"), name="managed_by_one_set"
            ),
        ),
    ]
