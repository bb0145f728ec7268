from django.db import connection, migrations, models, transaction
from django.db.utils import DatabaseError


def trigrams(apps: object, editor: object) -> None:
    """On PostgreSQL, parts of names are found by an index, where its extension may be had."""
    if connection.vendor != "postgresql":
        return
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    except DatabaseError:
        return
    with connection.cursor() as cursor:
        for table in ("client", "accessprofile"):
            cursor.execute(
                f"CREATE INDEX IF NOT EXISTS directory_{table}_name_trigrams"
                f" ON directory_{table} USING gin (UPPER(name::text) gin_trgm_ops)"
            )


class Migration(migrations.Migration):
    dependencies = [
        ("directory", "0006_trial_credentials"),
    ]

    operations = [
        migrations.AlterField(
            model_name="credential",
            name="prefix",
            field=models.CharField(blank=True, db_index=True, default="", max_length=16),
        ),
        migrations.AlterField(
            model_name="credential",
            name="public_id",
            field=models.CharField(blank=True, db_index=True, default="", max_length=255),
        ),
        migrations.AddIndex(
            model_name="client",
            index=models.Index(fields=["name"], name="directory_c_name_d0feb8_idx"),
        ),
        migrations.RunPython(trigrams, migrations.RunPython.noop),
    ]
