"""Management tokens can be rotated with an overlap, and have a version for If-Match."""

import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("directory", "0023_tables_without_use"),
    ]

    operations = [
        migrations.AddField(
            model_name="managementtoken",
            name="previous_fingerprint",
            field=models.BinaryField(max_length=32, null=True, unique=True),
        ),
        migrations.AddField(
            model_name="managementtoken",
            name="previous_until",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="managementtoken",
            name="updated_at",
            field=models.DateTimeField(auto_now=True, default=django.utils.timezone.now),
            preserve_default=False,
        ),
    ]
