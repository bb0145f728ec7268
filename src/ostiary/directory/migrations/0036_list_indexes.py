"""Indexes by which lists of very many are searched and counted."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("directory", "0035_nodes"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="accessprofile",
            index=models.Index(fields=["name", "key"], name="directory_a_name_7fb580_idx"),
        ),
        migrations.AddIndex(
            model_name="accessprofile",
            index=models.Index(
                fields=["active", "expires_at", "client"], name="directory_a_active_7c32d4_idx"
            ),
        ),
        migrations.AddIndex(
            model_name="client",
            index=models.Index(fields=["name", "key"], name="directory_c_name_230913_idx"),
        ),
        migrations.AddIndex(
            model_name="client",
            index=models.Index(
                condition=models.Q(active=False), fields=["id"], name="inactive_clients"
            ),
        ),
    ]
