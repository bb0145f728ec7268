"""Two editors at once: no write is lost, no error comes of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow]

#: A process of its own, on a database file of its own: threads do not share a test's transaction.
PROGRAM = """
import sys, threading
import django
django.setup()
from django.core.management import call_command
from django.db import connection
from ostiary import settings
from ostiary.identity.sealing import KeyRing
KeyRing.load_or_create(settings.current().data / "keyring.json")
call_command("migrate", verbosity=0)
from ostiary.directory.catalog import collections, connections
from ostiary.directory.clients import access_profiles, clients, credentials, handovers
from ostiary.directory.workspace import setup
from ostiary.directory.actor import SYSTEM
from ostiary.directory.models import AccessProfile, AuditEvent, Change, Credential
setup.ensure()
link = connections.create(by=SYSTEM,
    given=connections.ConnectionInput(name="U", base_urls=["http://10.0.0.1"])).value
things = collections.create(by=SYSTEM,
    given=collections.CollectionInput(name="T", connection_id=link.pk)).value.collection
client = clients.create(by=SYSTEM, given=clients.ClientInput(name="C"))
saved, _ = access_profiles.create(by=SYSTEM,
    given=access_profiles.NewProfileInput(client_id=client.pk, auth_type="token", name="P", collection_ids=[things.pk]))
profile = saved.value.pk
problems, sequences = [], []
def refresh():
    for _ in range(10):
        done, _ = credentials.refresh(by=SYSTEM, profile_id=profile)
        sequences.append(done.sequence)
def switch():
    for number in range(10):
        sequences.append(access_profiles.switch(by=SYSTEM, profile_id=profile,
            active=bool(number % 2)).sequence)
def rename():
    for number in range(10):
        given = access_profiles.ProfileInput(name=f"N{number}")
        sequences.append(access_profiles.change(by=SYSTEM, profile_id=profile, given=given).sequence)
made = []
def create():
    for _ in range(5):
        given = collections.CollectionInput(name="Same")
        saved = collections.create(by=SYSTEM, given=given)
        made.append(saved.value.collection.handle)
def guarded(work):
    def run():
        try:
            work()
        except Exception as error:
            problems.append(repr(error))
        finally:
            connection.close()
    return run
before = Change.objects.count()
threads = [threading.Thread(target=guarded(w)) for w in (refresh, refresh, switch, rename, create, create, create)]
[t.start() for t in threads]
[t.join() for t in threads]
assert not problems, problems
assert len(set(sequences)) == len(sequences) == 40
assert Change.objects.count() == before + 55
# Each found a free handle.
assert set(made) == {"same-v1", *(f"same-v1-{number}" for number in range(2, 16))}
alive = Credential.objects.filter(profile_id=profile, revoked_at=None).count()
row = AccessProfile.objects.get(pk=profile)
assert alive == 1, alive
assert (row.name, row.active) == ("N9", True), (row.name, row.active)
assert row.epoch == max(sequences)
# Of many who open a link at the same moment, one sees the secret.
key = handovers.create(by=SYSTEM, profile_id=profile).value.url.reveal().partition("#")[2]
seen, start = [], threading.Barrier(6)
def look():
    start.wait()
    seen.append(handovers.open_link(key, address="192.0.2.1"))
threads = [threading.Thread(target=guarded(look)) for _ in range(6)]
[t.start() for t in threads]
[t.join() for t in threads]
assert not problems, problems
assert len(seen) == 6 and sum(each is not None for each in seen) == 1, seen
print("fine")
"""


def test_no_write_is_lost_among_threads(tmp_path: Path) -> None:
    env = {
        **os.environ,  # noqa: TID251 - for a child
        "OSTIARY_DATA": str(tmp_path),
        "DJANGO_SETTINGS_MODULE": "ostiary.settings_django",
    }
    env.pop("OSTIARY_DATABASE_URL", None)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "fine", done.stderr[-3000:]
