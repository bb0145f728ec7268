"""Two tables that nothing has ever written: nodes of gateways, and answers to repeat."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("directory", "0022_http_versions")]

    operations = [
        migrations.DeleteModel(name="GatewayNode"),
        migrations.DeleteModel(name="IdempotentAnswer"),
    ]
