"""A backup of what runs is restored elsewhere, and calls work there; a wrong one changes nothing."""

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.postgres import cluster
from tests.stage import OSTIARY, Stage, Upstream, running

pytestmark = [pytest.mark.gateway, pytest.mark.postgres, pytest.mark.slow]

ENV = {k: v for k, v in os.environ.items() if not k.startswith("OSTIARY_")}  # noqa: TID251 - the environment of what it starts


def command(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*OSTIARY, *words], env={**ENV, **(env or {})}, capture_output=True, text=True, check=False
    )


def refused(*words: str, env: dict[str, str] | None = None) -> str:
    done = command(*words, env=env)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def done(*words: str, env: dict[str, str] | None = None) -> str:
    result = command(*words, env=env)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.close()


@pytest.fixture(scope="module")
def secret(shared_stage: Stage, upstream: Upstream) -> str:
    things = shared_stage.a_collection(upstream, name="Kept", handle="kept-v1")
    return str(shared_stage.a_profile(things)["secret"])


@pytest.fixture(scope="module")
def backup(shared_stage: Stage, secret: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (shared_stage.data / "recipes").mkdir(exist_ok=True)
    (shared_stage.data / "recipes" / "kept.py").write_text('"""No recipe."""\n')
    path = tmp_path_factory.mktemp("backup") / "backup.tar.gz"
    done("backup", "--data", str(shared_stage.data), str(path))
    (shared_stage.data / "recipes" / "kept.py").unlink()
    return path


def test_a_backup_of_what_runs_is_restored_elsewhere_and_calls_work(
    shared_stage: Stage, backup: Path, secret: str, tmp_path: Path
) -> None:
    data = tmp_path / "restored"
    done("restore", "--data", str(data), str(backup))
    assert backup.stat().st_mode & 0o777 == 0o600
    assert data.stat().st_mode & 0o777 == 0o700
    files = [each for each in data.rglob("*") if each.is_file()]
    assert {each.stat().st_mode & 0o777 for each in files} == {0o600}
    assert {each.name for each in files} >= {"keyring.json", "ostiary.sqlite3", "kept.py"}
    assert [each.name for each in tmp_path.iterdir()] == ["restored"]
    with running(data) as restored:
        assert restored.call("/kept-v1/things", secret).status == 200
        restored.token = shared_stage.token
        handles = [each["handle"] for each in restored.done("GET", "api_collections")]
        assert "kept-v1" in handles
        assert handles == [each["handle"] for each in shared_stage.done("GET", "api_collections")]


def test_nothing_is_overwritten(shared_stage: Stage, backup: Path, tmp_path: Path) -> None:
    before = backup.read_bytes()
    said = refused("backup", "--data", str(shared_stage.data), str(backup))
    assert said == f"ostiary: {backup} exists already; name a new file.\n"
    assert backup.read_bytes() == before
    (tmp_path / "mine").write_text("kept")
    said = refused("restore", "--data", str(tmp_path), str(backup))
    assert "is not empty; name a new folder with --data" in said
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]
    # Recipes that belong elsewhere are looked at before anything is filled.
    words = ("restore", "--data", str(tmp_path / "new"), "--recipes", str(tmp_path), str(backup))
    assert f"{tmp_path} is not empty; move its files away. Nothing was changed." in refused(*words)
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]
    # What runs is such a folder, too.
    assert "is not empty" in refused("restore", "--data", str(shared_stage.data), str(backup))


def test_a_backup_without_keys_needs_them_to_be_restored(
    shared_stage: Stage, secret: str, tmp_path: Path
) -> None:
    path, data = tmp_path / "backup.tar.gz", tmp_path / "restored"
    done("backup", "--data", str(shared_stage.data), "--without-keys", str(path))
    with tarfile.open(path) as archive:
        assert "keyring.json" not in archive.getnames()
    said = refused("restore", "--data", str(data), str(path))
    assert "has no key ring; name its file with --keys" in said
    keys = shared_stage.data / "keyring.json"
    done("restore", "--data", str(data), "--keys", str(keys), str(path))
    assert (data / "keyring.json").read_bytes() == keys.read_bytes()


def changed(backup: Path, path: Path, change: Callable[[str, bytes], tuple[str, bytes]]) -> Path:
    """A backup whose members went through `change`."""
    with tarfile.open(backup) as one, tarfile.open(path, "w:gz") as other:
        for member in one:
            file = one.extractfile(member)
            assert file is not None
            name, content = change(member.name, file.read())
            made = tarfile.TarInfo(name)
            made.size = len(content)
            other.addfile(made, io.BytesIO(content))
    return path


def with_manifest(**values: Any) -> Callable[[str, bytes], tuple[str, bytes]]:
    def change(name: str, content: bytes) -> tuple[str, bytes]:
        if name == "manifest.json":
            content = json.dumps({**json.loads(content), **values}).encode()
        return name, content

    return change


def test_a_wrong_or_newer_backup_is_one_sentence_and_changes_nothing(
    backup: Path, tmp_path: Path
) -> None:
    data = tmp_path / "restored"
    whole = backup.read_bytes()
    shorter, other = tmp_path / "shorter", tmp_path / "other"
    shorter.write_bytes(whole[: len(whole) // 2])
    other.write_bytes(b"SQLite format 3\0" * 100)
    damaged = [
        shorter, other,
        changed(backup, tmp_path / "1", lambda name, content: (name, content[:-1] + b"x")),
        changed(backup, tmp_path / "2",
                lambda name, content: (name.replace("recipes/", "recipes/../../"), content)),
        changed(backup, tmp_path / "3", lambda name, content: (f"/{name}", content)),
    ]  # fmt: skip
    for path in damaged:
        said = refused("restore", "--data", str(data), str(path))
        assert "is damaged or is not a backup of Ostiary. Nothing was changed." in said
    assert "There is no file" in refused("restore", "--data", str(data), str(tmp_path / "none"))
    form = changed(backup, tmp_path / "4", with_manifest(form=2, release="9.9"))
    assert "A newer Ostiary (9.9) made this" in refused("restore", "--data", str(data), str(form))
    migrations = with_manifest(release="9.9", migrations=["directory.9999_new"])
    newer = changed(backup, tmp_path / "5", migrations)
    assert "its database has directory.9999_new" in refused(
        "restore", "--data", str(data), str(newer)
    )
    url = {"OSTIARY_DATABASE_URL": "postgres://nobody@127.0.0.1:1/none"}
    said = refused("restore", "--data", str(data), str(backup), env=url)
    assert "a backup of an SQLite database; unset OSTIARY_DATABASE_URL" in said
    assert not data.exists()


def test_postgresql_is_restored_into_an_empty_database_alone(tmp_path: Path) -> None:
    with cluster() as url:
        env = {"OSTIARY_DATABASE_URL": url}
        (tmp_path / "data").mkdir(mode=0o700)
        words = ["-P", "-m", "ostiary.cli.startup.provisioning", "gateway=0", "demo=0"]
        made = {**ENV, **env, "OSTIARY_DATA": str(tmp_path / "data")}
        subprocess.run([sys.executable, *words], env=made, stdout=subprocess.DEVNULL, check=True)
        done("seed", "--data", str(tmp_path / "data"), "--profiles", "20", env=env)
        path = tmp_path / "backup.tar.gz"
        done("backup", "--data", str(tmp_path / "data"), str(path), env=env)
        data = tmp_path / "restored"
        said = refused("restore", "--data", str(data), str(path), env=env)
        assert "The database ostiary is not empty" in said
        assert not data.exists()
        import psycopg

        with psycopg.connect(url, autocommit=True) as session:
            session.execute("CREATE DATABASE another TEMPLATE template0")
        env = {"OSTIARY_DATABASE_URL": url.replace("/ostiary?", "/another?")}
        done("restore", "--data", str(data), str(path), env=env)
        assert sorted(each.name for each in data.iterdir()) == ["keyring.json"]
        with psycopg.connect(env["OSTIARY_DATABASE_URL"]) as session:
            row = session.execute("SELECT count(*) FROM directory_accessprofile").fetchone()
        assert row == (20,)
        assert (
            "its tables are those of this release"
            in command("doctor", "--data", str(data), env=env).stdout
        )
