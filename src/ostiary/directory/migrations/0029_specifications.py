"""What collections' OpenAPI documents say of their endpoints; of earlier imports nothing was kept."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("directory", "0027_client_defaults")]

    operations = [
        migrations.CreateModel(
            name="ImportedSpecification",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("content", models.BinaryField()),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "collection",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="specification",
                        to="directory.collection",
                    ),
                ),
            ],
        ),
    ]
