from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("directory", "0020_projects_of_recipes_and_policies"),
    ]

    operations = [
        migrations.AddField(
            model_name="folder",
            name="quotas",
            field=models.JSONField(default=dict),
        ),
    ]
