from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("directory", "0036_list_indexes"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["target_kind", "target_id", "id"], name="event_target"),
        ),
        migrations.AddIndex(
            model_name="auditevent",
            index=models.Index(fields=["actor_kind", "actor_id", "id"], name="event_actor"),
        ),
    ]
