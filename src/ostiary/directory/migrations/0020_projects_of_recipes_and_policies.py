from typing import Any

import django.db.models.deletion
from django.db import migrations, models


def settle_owners(apps: Any, editor: object) -> None:
    """A recipe that endpoints of one project alone run becomes that project's; the others are shared.

    So its editors start and stop it as before, and those of other projects do not.
    """
    recipes = apps.get_model("directory", "Recipe").objects
    events = apps.get_model("directory", "AuditEvent").objects
    for recipe in recipes.order_by("pk"):
        projects = set(recipe.endpoints.values_list("collection__project_id", flat=True))
        if len(projects) != 1:
            continue
        (project_id,) = projects
        recipes.filter(pk=recipe.pk).update(project_id=project_id, shared=False)
        events.create(
            actor_kind="system",
            actor_name="Ostiary",
            action="recipe.change",
            target_kind="recipe",
            target_id=recipe.pk,
            target_name=recipe.name,
            project_id=project_id,
            before={"project_id": None, "shared": True},
            after={"project_id": project_id, "shared": False},
        )


class Migration(migrations.Migration):
    # PostgreSQL takes no constraint in the transaction that has changed the table's rows.
    atomic = False

    dependencies = [
        ("directory", "0019_kept_answers"),
    ]

    operations = [
        migrations.AddField(
            model_name="recipe",
            name="project",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="recipes",
                to="directory.project",
            ),
        ),
        migrations.AddField(
            model_name="recipe",
            name="shared",
            field=models.BooleanField(default=True),
        ),
        migrations.AddField(
            model_name="policy",
            name="project",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="policies",
                to="directory.project",
            ),
        ),
        migrations.AlterField(
            model_name="policy",
            name="name",
            field=models.CharField(max_length=255),
        ),
        migrations.RunPython(settle_owners, migrations.RunPython.noop, atomic=True),
        migrations.AddConstraint(
            model_name="recipe",
            constraint=models.CheckConstraint(
                condition=models.Q(("project", None), ("shared", False), _connector="OR"),
                name="recipe_of_one_or_all",
            ),
        ),
        migrations.AddConstraint(
            model_name="policy",
            constraint=models.UniqueConstraint(
                fields=("project", "name"), name="policy_in_project"
            ),
        ),
        migrations.AddConstraint(
            model_name="policy",
            constraint=models.UniqueConstraint(
                condition=models.Q(("project", None)), fields=("name",), name="policy_of_workspace"
            ),
        ),
    ]
