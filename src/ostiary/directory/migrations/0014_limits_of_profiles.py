from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("directory", "0013_public_address"),
    ]

    operations = [
        migrations.AddField(
            model_name="accessprofile",
            name="limit_resets",
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name="accessprofile",
            name="raised_limits",
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name="accessprofile",
            name="raised_until",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="endpoint",
            name="weight",
            field=models.PositiveIntegerField(default=1),
        ),
    ]
