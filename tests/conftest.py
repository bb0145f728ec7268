"""What every test stands on: a data folder of its own, chosen before Django reads its settings."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

PREFIX = "ostiary-pytest-"

# pytest-django looks for this name after the first conftest; workers inherit both.
if "OSTIARY_DATA" not in os.environ:  # noqa: TID251
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        # Of tests that were killed: the name tells whose it was.
        if not Path("/proc", left.name.removeprefix(PREFIX).partition("-")[0]).exists():
            shutil.rmtree(left, ignore_errors=True)
    folder = tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["OSTIARY_DATA"] = folder  # noqa: TID251
os.environ["DJANGO_SETTINGS_MODULE"] = "ostiary.settings_django"  # noqa: TID251

import django  # noqa: E402 - after the settings are named

# A conftest of a folder that is named on the command line is read before pytest-django sets up.
django.setup()
