from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("directory", "0009_policy_windows"),
    ]

    operations = [
        migrations.AddField(
            model_name="collection",
            name="encoded_slashes",
            field=models.BooleanField(default=False),
        ),
    ]
