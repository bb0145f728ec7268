from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("directory", "0011_home"),
    ]

    operations = [
        migrations.AddField(
            model_name="collection",
            name="encoded_slashes",
            field=models.BooleanField(default=False),
        ),
    ]
