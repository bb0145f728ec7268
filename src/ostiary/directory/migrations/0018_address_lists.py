import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("directory", "0017_import_report"),
    ]

    operations = [
        migrations.CreateModel(
            name="AddressList",
            fields=[
                (
                    "id",
                    models.AutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=255)),
                ("description", models.TextField(blank=True, default="")),
                ("text", models.TextField()),
                ("packed", models.TextField()),
                ("entries", models.PositiveIntegerField()),
                ("epoch", models.BigIntegerField(default=0)),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                (
                    "project",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="address_lists",
                        to="directory.project",
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="accessprofile",
            name="allowed_lists",
            field=models.ManyToManyField(related_name="allowing", to="directory.addresslist"),
        ),
        migrations.AddField(
            model_name="accessprofile",
            name="denied_lists",
            field=models.ManyToManyField(related_name="denying", to="directory.addresslist"),
        ),
        migrations.AddConstraint(
            model_name="addresslist",
            constraint=models.UniqueConstraint(
                fields=("project", "name"), name="address_list_in_project"
            ),
        ),
    ]
