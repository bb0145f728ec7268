"""Defaults of clients, and profiles that follow them. Profiles that exist keep their own settings."""

import django.db.models.deletion
from django.db import migrations, models

METHODS = [("token", "token"), ("oauth2", "oauth2"), ("jwt", "jwt"), ("oidc", "oidc")]


class Migration(migrations.Migration):
    dependencies = [("directory", "0026_keys_and_labels")]

    operations = [
        migrations.AddField(
            model_name="accessprofile",
            name="follows_client",
            field=models.BooleanField(default=False),
        ),
        migrations.CreateModel(
            name="ClientDefaults",
            fields=[
                (
                    "client",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="defaults",
                        serialize=False,
                        to="directory.client",
                    ),
                ),
                ("auth_type", models.CharField(choices=METHODS, max_length=8)),
                ("proof", models.JSONField(default=dict)),
                ("sealed_secret", models.TextField(blank=True, default="")),
                ("custom_claim", models.CharField(blank=True, default="", max_length=255)),
                (
                    "collections",
                    models.ManyToManyField(related_name="defaults", to="directory.collection"),
                ),
                (
                    "policy",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="defaults",
                        to="directory.policy",
                    ),
                ),
            ],
        ),
    ]
