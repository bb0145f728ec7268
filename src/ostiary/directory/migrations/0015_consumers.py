from typing import Any

from django.db import migrations, models


def keep_tokens_without_exp(apps: Any, schema_editor: Any) -> None:
    """Profiles that exist go on taking tokens without `exp`; new ones do not."""
    profiles = apps.get_model("directory", "AccessProfile").objects
    for profile in profiles.filter(auth_type__in=["jwt", "oidc"]).only("proof").iterator():
        if "exp" not in profile.proof.get("required", []):
            profile.proof["without_exp"] = True
            profiles.filter(pk=profile.pk).update(proof=profile.proof)


class Migration(migrations.Migration):
    dependencies = [
        ("directory", "0014_limits_of_profiles"),
    ]

    operations = [
        migrations.AddField(
            model_name="collection",
            name="cors_credentials",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="collection",
            name="cors_exposed_headers",
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name="collection",
            name="cors_max_age",
            field=models.PositiveIntegerField(default=600),
        ),
        migrations.AddField(
            model_name="collection",
            name="leave_authorization",
            field=models.BooleanField(default=False),
        ),
        migrations.AddField(
            model_name="collection",
            name="credential_places",
            field=models.JSONField(default=None, null=True),
        ),
        migrations.RunPython(keep_tokens_without_exp, migrations.RunPython.noop),
    ]
