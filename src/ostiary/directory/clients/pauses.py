"""Off until a moment: what such a client or profile has, and what is due to come back."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from django.utils import timezone

from ostiary.directory.changes.errors import Invalid
from ostiary.directory.models import AccessProfile, Client

#: The longest time off; what is off for longer has no need to come back by itself.
LONGEST = timedelta(days=366)
#: Rows that one look switches on.
AT_ONCE = 200


def check(*, active: bool, until: datetime | None) -> None:
    """Raise Invalid for a moment that is not one to be off until."""
    if until is None:
        return
    now = timezone.now()
    if active:
        raise Invalid({"until": ["is for what is switched off"]})
    if not now < until <= now + LONGEST:
        raise Invalid({"until": [f"must be in the next {LONGEST.days} days"]})


def shown(row: Client | AccessProfile) -> Mapping[str, object]:
    """Until when it is off, as the audit log shows it; nothing where that is not said."""
    return {} if row.inactive_until is None else {"inactive_until": row.inactive_until.isoformat()}


def due(now: datetime) -> tuple[list[int], list[int]]:
    """Ids of the clients and of the profiles whose time off is over."""
    clients = Client.objects.filter(active=False, inactive_until__lte=now)
    profiles = AccessProfile.objects.filter(active=False, inactive_until__lte=now)
    return (
        list(clients.order_by("pk").values_list("pk", flat=True)[:AT_ONCE]),
        list(profiles.order_by("pk").values_list("pk", flat=True)[:AT_ONCE]),
    )
