from typing import Any

from django.db import migrations, models


def settle_home(apps: Any, editor: object) -> None:
    """The project that was found by its name, or if that was changed the oldest one."""
    projects = apps.get_model("directory", "Folder").objects.filter(parent=None).order_by("pk")
    home = projects.filter(name="Home").first() or projects.first()
    if home is not None:
        projects.filter(pk=home.pk).update(home=True)


class Migration(migrations.Migration):
    # PostgreSQL takes no constraint in the transaction that has changed the table's rows.
    atomic = False

    dependencies = [
        ("directory", "0010_token_scope"),
    ]

    operations = [
        migrations.AddField(
            model_name="folder",
            name="home",
            field=models.BooleanField(default=False),
        ),
        migrations.RunPython(settle_home, migrations.RunPython.noop, atomic=True),
        migrations.AddConstraint(
            model_name="folder",
            constraint=models.UniqueConstraint(
                condition=models.Q(("home", True)), fields=("home",), name="one_home"
            ),
        ),
        migrations.AddConstraint(
            model_name="folder",
            constraint=models.CheckConstraint(
                condition=models.Q(("home", False), ("parent", None), _connector="OR"),
                name="home_is_a_project",
            ),
        ),
    ]
