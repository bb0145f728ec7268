"""Switches on what was off until a moment that is over.

Calls pass from that moment on, whoever runs this and when: the decision reads the moment. This makes
lists, audit log and webhooks say so too.
"""

from contextlib import suppress
from datetime import datetime

from ostiary.directory.changes.errors import NotFound
from ostiary.directory.clients import access_profiles, clients, pauses


def bring_back(now: datetime) -> int:
    """Switch on what is due; returns how many there were."""
    client_ids, profile_ids = pauses.due(now)
    # What was deleted meanwhile stays away.
    for client_id in client_ids:
        with suppress(NotFound):
            clients.come_back(client_id, now)
    for profile_id in profile_ids:
        with suppress(NotFound):
            access_profiles.come_back(profile_id, now)
    return len(client_ids) + len(profile_ids)
