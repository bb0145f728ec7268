from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("directory", "0012_encoded_slashes"),
    ]

    operations = [
        migrations.AddField(
            model_name="connection",
            name="public_address",
            field=models.CharField(
                choices=[
                    ("none", "None"),
                    ("x_forwarded", "X Forwarded"),
                    ("forwarded", "Forwarded"),
                    ("host", "Host"),
                ],
                default="x_forwarded",
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="connection",
            name="translate_urls",
            field=models.BooleanField(default=True),
        ),
    ]
