"""What every test stands on: a data folder of its own, chosen before Django reads its settings."""

import os
import tempfile

# pytest-django looks for this name after the first conftest; workers inherit both.
os.environ.setdefault("OSTIARY_DATA", tempfile.mkdtemp(prefix="ostiary-tests-"))  # noqa: TID251
os.environ["DJANGO_SETTINGS_MODULE"] = "ostiary.settings_django"  # noqa: TID251

import django  # noqa: E402 - after the settings are named

# A conftest of a folder that is named on the command line is read before pytest-django sets up.
django.setup()
