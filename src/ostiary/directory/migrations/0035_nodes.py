"""Nodes: the machines that run parts, as each reports itself."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("directory", "0034_off_until"),
    ]

    operations = [
        migrations.CreateModel(
            name="NodeReport",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=63)),
                ("role", models.CharField(max_length=16)),
                ("instance", models.CharField(max_length=32)),
                ("release", models.CharField(max_length=32)),
                ("recipes", models.CharField(blank=True, default="", max_length=64)),
                ("fence_seconds", models.PositiveIntegerField(default=0)),
                ("confirmed", models.BigIntegerField(default=0)),
                ("published", models.BigIntegerField(default=0)),
                ("streams", models.JSONField(default=list)),
                ("started_at", models.DateTimeField()),
                ("seen_at", models.DateTimeField()),
                ("draining", models.BooleanField(default=False)),
                ("stopped_at", models.DateTimeField(null=True)),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("name", "role"), name="one_node_per_role")
                ],
            },
        ),
    ]
