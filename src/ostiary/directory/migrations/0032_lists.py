"""Lists of very many: the latest use of profiles, networks of their lists, indexes, and saved filters."""

from collections.abc import Iterator
from typing import Any

import django.db.models.deletion
from django.apps.registry import Apps
from django.conf import settings
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.models import Max, OuterRef, Subquery

from ostiary.access import addresses


def _fill(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    profiles = apps.get_model("directory", "AccessProfile").objects
    credentials = apps.get_model("directory", "Credential").objects
    uses = (
        credentials.filter(profile=OuterRef("pk"), trial=False)
        .order_by()
        .values("profile")
        .annotate(latest=Max("last_used_at"))
        .values("latest")
    )
    profiles.update(last_used_at=Subquery(uses))
    networks: Any = apps.get_model("directory", "ListedNetwork")
    listed = profiles.exclude(allow_list=[], deny_list=[]).values_list(
        "pk", "allow_list", "deny_list"
    )

    def rows() -> Iterator[Any]:
        for pk, allowed, denied in listed.iterator():
            for network in sorted({*_networks(allowed), *_networks(denied)}):
                yield networks(profile_id=pk, network=network)

    networks.objects.bulk_create(rows(), batch_size=500)


def _networks(entries: object) -> set[str]:
    try:
        return {str(network) for network in addresses.stored_networks(entries)}
    except addresses.BrokenList:
        return set()  # Such a profile is refused every call, and its page says so.


class Migration(migrations.Migration):
    dependencies = [
        ("directory", "0031_form_pages"),
    ]

    operations = [
        migrations.CreateModel(
            name="ListedNetwork",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("network", models.CharField(db_index=True, max_length=43)),
                (
                    "profile",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="listed_networks",
                        to="directory.accessprofile",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="SavedFilter",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("table", models.CharField(max_length=32)),
                ("name", models.CharField(max_length=64)),
                ("query", models.CharField(max_length=1000)),
                (
                    "member",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="saved_filters",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
        ),
        migrations.AddConstraint(
            model_name="savedfilter",
            constraint=models.UniqueConstraint(
                fields=("member", "table", "name"), name="one_filter_per_name"
            ),
        ),
        migrations.AddField(
            model_name="accessprofile",
            name="last_used_at",
            field=models.DateTimeField(db_index=True, null=True),
        ),
        migrations.AlterField(
            model_name="accessprofile",
            name="expires_at",
            field=models.DateTimeField(db_index=True, null=True),
        ),
        migrations.AddIndex(
            model_name="accessprofile",
            index=models.Index(fields=["name"], name="directory_a_name_6e1ff3_idx"),
        ),
        migrations.RunPython(_fill, migrations.RunPython.noop),
    ]
