"""Settings of the workspace that an admin may change while it runs."""

from django.db import models


class Setting(models.Model):
    name = models.CharField(max_length=64, primary_key=True)
    value = models.JSONField()
    updated_at = models.DateTimeField(auto_now=True)
