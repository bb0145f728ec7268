"""Keys and labels of the owner's own, on what owners make."""

from django.db import migrations, models
from django.db.models import Q

KEYED = ("client", "addresslist", "connection", "folder", "policy", "webhook")
#: With a name for the constraint on the key; those with a second one also exist without a project.
UNIQUE = (
    ("addresslist", "address_list_key", ""),
    ("client", "client_key", ""),
    ("connection", "connection_key", ""),
    ("folder", "folder_key", "project_key"),
    ("policy", "policy_key", "policy_key_of_workspace"),
    ("webhook", "webhook_key", "webhook_key_of_workspace"),
)


def _key(model: str, *, indexed: bool = False) -> migrations.AddField:
    field = models.CharField(max_length=64, null=True, db_index=indexed)
    return migrations.AddField(model_name=model, name="key", field=field)


class Migration(migrations.Migration):
    dependencies = [("directory", "0025_stored_answers")]

    operations = [
        *(_key(model) for model in KEYED),
        _key("accessprofile", indexed=True),
        *(
            migrations.AddField(
                model_name=model, name="labels", field=models.JSONField(default=dict)
            )
            for model in (*KEYED, "accessprofile", "collection", "endpoint")
        ),
        *(
            migrations.AddConstraint(
                model_name=model,
                constraint=models.UniqueConstraint(fields=["project", "key"], name=name),
            )
            for model, name, _ in UNIQUE
        ),
        *(
            migrations.AddConstraint(
                model_name=model,
                constraint=models.UniqueConstraint(
                    fields=["key"], condition=Q(project=None), name=name
                ),
            )
            for model, _, name in UNIQUE
            if name
        ),
    ]
