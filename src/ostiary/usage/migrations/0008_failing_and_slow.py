from django.db import migrations, models
from django.db.models import Q

# The migration needs the lookups that its conditions name.
import ostiary.usage.models


class Migration(migrations.Migration):
    dependencies = [
        ("usage", "0007_counter_baselines"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="loggedcall",
            index=models.Index(
                fields=["at_ms"], name="logged_failing", condition=Q(status__failing=True)
            ),
        ),
        migrations.AddIndex(
            model_name="loggedcall",
            index=models.Index(
                fields=["at_ms"], name="logged_slow", condition=Q(latency_ms__slow=True)
            ),
        ),
    ]
