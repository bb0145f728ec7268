"""Usage as a Django app."""

from django.apps import AppConfig


class UsageConfig(AppConfig):
    name = "ostiary.usage"
    label = "usage"
