"""Answers to calls with an `Idempotency-Key`, kept for a day."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("directory", "0028_rotated_tokens")]

    operations = [
        migrations.CreateModel(
            name="StoredAnswer",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.CharField(max_length=255)),
                ("request", models.CharField(max_length=64)),
                ("status", models.PositiveSmallIntegerField(default=0)),
                ("etag", models.CharField(blank=True, default="", max_length=64)),
                ("body", models.TextField(blank=True, default="")),
                ("sequence", models.BigIntegerField(default=0)),
                ("revokes", models.BooleanField(default=False)),
                ("created_at", models.DateTimeField(db_index=True)),
                (
                    "token",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="stored_answers",
                        to="directory.managementtoken",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("token", "key"), name="one_answer_per_key")
                ],
            },
        ),
    ]
