"""Migrations run forward on what the version before had written, on both databases."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.postgres import cluster

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

#: A process of its own, on a database of its own.
PROGRAM = """
import django
django.setup()
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

def at(name):
    executor = MigrationExecutor(connection)
    executor.migrate([("directory", name)])
    return executor.loader.project_state([("directory", name)]).apps

old = at("0001_initial")
project = old.get_model("directory", "Folder").objects.create(name="Home")
old.get_model("directory", "Folder").objects.create(name="Another")
client = old.get_model("directory", "Client").objects.create(project_id=project.pk, name="Acme")
profile = old.get_model("directory", "AccessProfile").objects.create(
    client=client, name="P", active_since=timezone.now(), auth_type="token",
    allow_list=["10.0.0.0/8"])
old.get_model("directory", "Credential").objects.create(
    profile=profile, fingerprint=b"x" * 32, prefix="ost_", last_four="abcd")
old.get_model("directory", "Collection").objects.create(
    project_id=project.pk, name="T", handle="t-v1", version="1", kind="proxy")
old.get_model("directory", "Policy").objects.create(
    name="Ten", rate_limit=10, rate_interval="minute")

# Recipes that one project runs, that two run, and that nobody does.
other = old.get_model("directory", "Folder").objects.get(name="Another")
for name, owners in (("one", [project]), ("two", [project, other]), ("none", [])):
    recipe = old.get_model("directory", "Recipe").objects.create(name=name)
    for number, owner in enumerate(owners):
        made = old.get_model("directory", "Collection").objects.create(
            project_id=owner.pk, name=name, handle=f"{name}-{number}", version="1", kind="recipe")
        old.get_model("directory", "Endpoint").objects.create(
            collection=made, name="E", method="GET", path="/e", shape="/e", recipe=recipe)

# Tokens with a role: with a project, made for all of them, and what may have widened into that.
tokens, events = old.get_model("directory", "ManagementToken"), old.get_model("directory", "AuditEvent")
members = old.get_model("directory", "Member")
def happened(action, pk):
    events.objects.create(actor_kind="system", actor_name="Ostiary", action=action,
                          target_kind=action.split(".")[0], target_id=pk)
def a_token(name, event=True, **more):
    made = tokens.objects.create(name=name, fingerprint=name.encode().ljust(32), prefix="ostm_",
                                 last_four="abcd", **{"role": "viewer", **more})
    if event:
        happened("token.create", made.pk)
    return made
a_token("widened")
happened("project.delete", 99)
a_token("everywhere")
a_token("scoped").projects.add(project.pk)
a_token("old", event=False)
a_token("admin", admin=True, role="")
def a_member(email, **more):
    return members.objects.create(email=email, password="!", **more)
a_token("demoted", admin=True, role="", created_by=a_member("d@example.com"))
a_token("kept", admin=True, role="", created_by=a_member("k@example.com", admin=True))
a_token("off", admin=True, role="",
        created_by=a_member("o@example.com", admin=True, is_active=False))

call_command("migrate", verbosity=0)
from ostiary.directory.models import AccessProfile, Collection, Policy, SigningKey
found = AccessProfile.objects.get()
assert (found.proof, found.sealed_secret, found.custom_claim) == ({}, "", "")
assert found.follows_client is False
assert found.allow_list == ["10.0.0.0/8"]
credential = found.credentials.get()
assert bytes(credential.fingerprint) == b"x" * 32
assert (credential.public_id, bytes(credential.secret_fingerprint)) == ("", b"")
assert Collection.objects.get(handle="t-v1").forward_claims is False
assert SigningKey.objects.count() == 0
policy = Policy.objects.get()
assert (policy.rate_limit, policy.rate_interval, policy.more_rates) == (10, "minute", [])
# Consumers may read the older headers of what exists; what is made anew has them by choice.
assert policy.legacy_headers is True
assert Policy.objects.create(name="New").legacy_headers is False
from ostiary.directory.models import Project, Recipe
home = Project.objects.get(home=True).pk
assert set(Recipe.objects.values_list("name", "project_id", "shared")) == {
    ("one", home, False), ("two", None, True), ("none", None, True)}
assert Policy.objects.get(name="Ten").project_id is None
assert list(Project.objects.filter(home=True).values_list("name", flat=True)) == ["Home"]
from ostiary.directory.models import AuditEvent, ManagementToken
found = {t.name: (t.everywhere, t.revoked_at is not None) for t in ManagementToken.objects.all()}
assert found == {
    "widened": (False, True), "everywhere": (True, False), "scoped": (False, False),
    "old": (False, True), "admin": (False, False), "demoted": (False, True),
    "kept": (False, False), "off": (False, True),
}, found
revoked = AuditEvent.objects.filter(action="token.revoke", actor_kind="system")
assert {e.target_name: "why" in e.after for e in revoked} == dict.fromkeys(
    ("widened", "old", "demoted", "off"), True)
call_command("makemigrations", check=True, dry_run=True, verbosity=0)
print(connection.vendor, "forward")
"""


def _forward(data: Path, url: str = "") -> str:
    env = {k: v for k, v in os.environ.items() if not k.startswith("OSTIARY_")}  # noqa: TID251 - the environment of what it starts
    env |= {"DJANGO_SETTINGS_MODULE": "ostiary.settings_django", "OSTIARY_DATA": str(data)}
    data.mkdir()
    # Django's settings ask for the key ring, as every process of ours does.
    ring = "from ostiary.identity.sealing import KeyRing; from pathlib import Path\n"
    ring += f"KeyRing.load_or_create(Path({str(data)!r}) / 'keyring.json')\n"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ring + PROGRAM],
        env=env | ({"OSTIARY_DATABASE_URL": url} if url else {}),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.strip()


@pytest.fixture
def url() -> Iterator[str]:
    with cluster() as url:
        yield url


def test_forward_on_sqlite(tmp_path: Path) -> None:
    assert _forward(tmp_path / "data") == "sqlite forward"


def test_forward_on_postgresql(tmp_path: Path, url: str) -> None:
    assert _forward(tmp_path / "data", url) == "postgresql forward"
