from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("directory", "0008_sign_in"),
    ]

    operations = [
        migrations.AddField(
            model_name="policy",
            name="more_rates",
            field=models.JSONField(default=list),
        ),
        # Consumers of policies that exist may read the older headers: those go on.
        migrations.AddField(
            model_name="policy",
            name="legacy_headers",
            field=models.BooleanField(default=True),
        ),
        migrations.AlterField(
            model_name="policy",
            name="legacy_headers",
            field=models.BooleanField(default=False),
        ),
    ]
