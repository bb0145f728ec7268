from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("directory", "0005_webhooks"),
    ]

    operations = [
        migrations.AddField(
            model_name="credential",
            name="trial",
            field=models.BooleanField(default=False),
        ),
    ]
