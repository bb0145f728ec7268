"""The control process's application: console, management API and static files."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ostiary.settings_django")  # noqa: TID251 - Django's own

from django.core.asgi import get_asgi_application

application = get_asgi_application()
