"""Opening the directory of a data folder: Django set up on it, its errors made sentences."""

import contextlib
from collections.abc import Iterator

from ostiary import settings as environment
from ostiary.cli.failure import Failure
from ostiary.settings import Settings

KEY_RING = "keyring.json"


def set_up_django() -> None:
    """Load Django with our settings, which read the key ring; takes a third of a second.

    Raises Failure.
    """
    environment.adopt(DJANGO_SETTINGS_MODULE="ostiary.settings_django")
    import django

    from ostiary.identity.sealing import SealingError

    try:
        django.setup()
    except SealingError as error:
        raise Failure(f"{str(error).rstrip('.')}.") from error


@contextlib.contextmanager
def sentences() -> Iterator[None]:
    """Turn what can go wrong with database, keys and input into a Failure."""
    from django.core.exceptions import ImproperlyConfigured
    from django.db import DatabaseError, InterfaceError

    from ostiary.directory.changes.errors import Forbidden, InUse, Invalid, NotFound
    from ostiary.identity.sealing import SealingError

    try:
        yield
    except (DatabaseError, InterfaceError, ImproperlyConfigured) as error:
        said = str(error).strip().partition("\n")[0].rstrip(".")
        raise Failure(f"The database cannot be used: {said}.") from error
    except Invalid as error:
        said = "; ".join(f"{name} {why}" for name, all_ in error.errors.items() for why in all_)
        raise Failure(f"{said}.") from error
    except (Forbidden, InUse, NotFound, SealingError) as error:
        raise Failure(f"{str(error).rstrip('.')}.") from error


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[None]:
    """The directory that lies in the data folder; raises Failure if none does."""
    if not (settings.data / KEY_RING).exists():
        raise Failure(
            f"There is no Ostiary in {settings.data}; name its folder with --data, or run"
            " `ostiary up` there first."
        )
    set_up_django()
    from ostiary.directory import database

    with sentences():
        database.queue_writers()
        yield
